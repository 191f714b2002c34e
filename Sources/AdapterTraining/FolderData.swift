import Foundation
import ImageFiles
import Synchronization
import SystemPackage
import TensorMath

extension TrainingData {
    /// Refuses a path that is no folder, naming what it is.
    package static func checkFolder(_ path: String) throws { try PictureFolder.check(path) }

    /// One sub-folder per class, as torchvision's ImageFolder has it: the first level is the class, with every picture below it, links followed;
    /// classes and files in the order of their names' bytes. Pictures are known by content. Every image is centre-cropped to `size`.
    ///
    /// - Parameters:
    ///   - allowsEmpty: whether a class without a usable picture stays a class, untrained.
    ///   - pool: reads several at a time.
    ///   - progress: told how many files of how many were looked at.
    package static func folder(
        _ path: String, size: Int, allowsEmpty: Bool = false, pool: ThreadPool, progress: (_ done: Int, _ count: Int) -> Void = { _, _ in }
    ) throws -> TrainingData {
        let folder = try PictureFolder(path)
        guard !folder.classes.isEmpty else { throw TrainingError.tooFewClasses(folder: path, pictures: folder.loose.count { PictureFile($0).isPicture }) }
        guard !folder.isInParts else { throw TrainingError.parts(folder.classes.map(\.name), folder: path) }
        var report = FolderReport()
        report.skipped = folder.skipped
        if folder.hidden > 0 { report.passedOver["hidden"] = folder.hidden }
        let files = folder.classes.enumerated().flatMap { label, each in each.files.map { (label, $0) } }
        var images: [RGBImage] = [], labels: [Int] = []
        // So many at a time as keep every thread at work between two words of progress.
        for start in stride(from: 0, to: files.count, by: 8 * pool.threadCount) {
            let part = files[start..<min(start + 8 * pool.threadCount, files.count)]
            let read = Mutex<[Int: PictureFile.Content]>([:])
            pool.forEach(part.count) { index in
                let content = PictureFile(part[part.startIndex + index].1).read(size: size)
                read.withLock { $0[index] = content }
            }
            let contents = read.withLock { $0 }
            for (index, (label, file)) in part.enumerated() {
                switch contents[index] {
                case .picture(let image):
                    images.append(image)
                    labels.append(label)
                case .broken(let reason): report.skipped.append(FolderReport.Skipped(file: folder.relative(file), reason: reason))
                case .other, nil: report.passedOver[file.extension?.lowercased() ?? "", default: 0] += 1
                }
            }
            progress(part.endIndex, files.count)
        }
        report.skipped.sort { $0.file.utf8.lexicographicallyPrecedes($1.file.utf8) }
        let loose = folder.loose.filter { PictureFile($0).isPicture }
        for file in folder.loose where !loose.contains(file) { report.passedOver[file.extension?.lowercased() ?? "", default: 0] += 1 }
        guard !images.isEmpty else { throw TrainingError.noImages(folder: path, first: report.skipped.first) }
        let counts = labels.reduce(into: [Int](repeating: 0, count: folder.classes.count)) { $0[$1] += 1 }
        report.remarks = folder.remarks(counts: counts, loosePictures: loose.count)
        let empty = zip(folder.classes, counts).filter { $1 == 0 }.map(\.0)
        if !empty.isEmpty, !allowsEmpty {
            throw TrainingError.emptyClasses(
                empty.map { each in
                    (
                        name: each.name,
                        reason: report.skipped.first { $0.file == folder.relative(each.path) || $0.file.hasPrefix(folder.relative(each.path) + "/") }
                    )
                }.map { TrainingError.EmptyClass(name: $0.name, skipped: $0.reason) })
        }
        for each in empty { report.remarks.append("class '\(each.name)' has no usable picture and stays untrained") }
        var data = TrainingData(classNames: folder.classes.map(\.name), size: size, images: images, labels: labels, summary: "folder")
        data.folder = report
        return data
    }
}

/// A file in a folder of pictures.
private struct PictureFile {
    enum Content {
        case picture(RGBImage)
        case broken(String)
        /// Beside the pictures: captions, tables, notes.
        case other
    }

    let path: FilePath

    init(_ path: FilePath) { self.path = path }

    /// Whether it is meant to be a picture, by its name or by its content.
    var isPicture: Bool {
        if let ending = path.extension?.lowercased(), PictureForm.endings.contains(ending) { return true }
        guard let form = try? PictureForm(ofFile: path) else { return false }
        if case .other = form { return false }
        return true
    }

    func read(size: Int) -> Content {
        guard isPicture else { return .other }
        do throws(ImageFileError) {
            return .picture(try RGBImage(contentsOf: path).centreCropped(to: size))
        } catch {
            if case .notReadable(_, let reason) = error { return .broken(reason) }
            return .broken(error.description)
        }
    }
}
