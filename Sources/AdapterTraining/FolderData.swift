import Foundation
import ImageFiles
import Synchronization
import SystemPackage
import TensorMath

extension TrainingData {
    /// Refuses what names no data, saying what it is.
    package static func check(_ reference: String) throws {
        if let (_, path) = PublishedLayout.named(reference) { return try PictureFolder.check(path.shown) }
        guard !ArchiveFile.isNamed(FilePath(reference)) || !FileManager.default.fileExists(atPath: reference) else { return }
        try PictureFolder.check(reference)
    }

    /// Pictures as data sets are published (`Compatibility.md`, "Pictures and folders"): a folder with a sub-folder per class, as torchvision's
    /// ImageFolder has it (the first level is the class, with every picture below it, links followed; classes and files in the order of their
    /// names' bytes), the same in parts, with a metadata file, as a WebDataset, or a set of a known name. Pictures are known by content. Every
    /// image is centre-cropped to `size`.
    ///
    /// - Parameters:
    ///   - allowsEmpty: whether a class without a usable picture stays a class, untrained.
    ///   - pool: reads several at a time.
    ///   - progress: told how many files of how many were looked at.
    package static func pictures(
        _ reference: String, _ selection: DataSelection = DataSelection(), size: Int, allowsEmpty: Bool = false, pool: ThreadPool,
        progress: (_ done: Int, _ count: Int) -> Void = { _, _ in }
    ) throws -> TrainingData {
        let listing = try PictureListing(reference).taking(selection), path = listing.path.shown
        if let folder = listing.folder, folder.classes.isEmpty {
            throw TrainingError.tooFewClasses(folder: path, pictures: folder.loose.count { PictureFile($0).isPicture })
        }
        var report = listing.report, images: [RGBImage] = [], labels: [Int] = [], done = 0
        // So many at a time as keep every thread at work between two words of progress.
        try listing.forEachPart(of: 8 * pool.threadCount) { part in
            let read = Mutex<[Int: PictureFile.Content]>([:])
            pool.forEach(part.count) { index in
                let content = part[index].content(size: size)
                read.withLock { $0[index] = content }
            }
            let contents = read.withLock { $0 }
            for (index, item) in part.enumerated() {
                switch contents[index] {
                case .picture(let image):
                    images.append(image)
                    labels.append(item.picture.label)
                case .broken(let reason): report.skipped.append(FolderReport.Skipped(file: item.picture.name, reason: reason))
                case .other, nil: report.passedOver[FilePath(item.picture.name).extension?.lowercased() ?? "", default: 0] += 1
                }
            }
            done += part.count
            progress(done, listing.pictures.count)
        }
        report.skipped.sort { $0.file.utf8.lexicographicallyPrecedes($1.file.utf8) }
        let loose = listing.folder?.loose.filter { PictureFile($0).isPicture } ?? []
        for file in listing.folder?.loose ?? [] where !loose.contains(file) { report.passedOver[file.extension?.lowercased() ?? "", default: 0] += 1 }
        guard !images.isEmpty else { throw TrainingError.noImages(folder: path, first: report.skipped.first) }
        let counts = labels.reduce(into: [Int](repeating: 0, count: listing.classNames.count)) { $0[$1] += 1 }
        if selection.classes.isEmpty, let folder = listing.folder { report.remarks += folder.remarks(counts: counts, loosePictures: loose.count) }
        let empty = zip(listing.classNames, counts).filter { $1 == 0 }.map(\.0)
        if !empty.isEmpty, !allowsEmpty {
            throw TrainingError.emptyClasses(
                empty.map { name in
                    let own = listing.pictures.filter { listing.classNames[$0.label] == name }.map(\.name)
                    return TrainingError.EmptyClass(
                        name: name, skipped: report.skipped.first { own.contains($0.file) || $0.file == name || $0.file.hasPrefix(name + "/") })
                })
        }
        for name in empty { report.remarks.append("class '\(name)' has no usable picture and stays untrained") }
        var data = TrainingData(classNames: listing.classNames, size: size, images: images, labels: labels, summary: listing.layout)
        data.folder = report
        data.selection = selection
        data.layout = listing.layout
        return data
    }
}

extension PictureListing {
    /// A picture, with its bytes where it lies in an archive.
    struct Item {
        let picture: Picture
        let bytes: [UInt8]?

        func content(size: Int) -> PictureFile.Content {
            guard case .file(let path) = picture.place else { return PictureFile.content(of: bytes ?? [], named: picture.name, size: size) }
            return PictureFile(path).read(size: size)
        }
    }

    /// An archive that has been read up to a member.
    private struct OpenArchive {
        let path: FilePath
        let file: ArchiveFile
        var next = 0
    }

    /// All pictures, so many at a time, in their order; each archive is read once.
    func forEachPart(of count: Int, _ body: ([Item]) throws -> Void) throws {
        var part: [Item] = [], open: OpenArchive?
        for picture in pictures {
            var bytes: [UInt8]?
            if case .member(let path, let number) = picture.place {
                var archive = try open.flatMap { $0.path == path && $0.next <= number ? $0 : nil } ?? OpenArchive(path: path, file: ArchiveFile(path))
                while archive.next <= number, try archive.file.next() != nil { archive.next += 1 }
                bytes = try archive.file.read()
                open = archive
            }
            part.append(Item(picture: picture, bytes: bytes))
            if part.count == count {
                try body(part)
                part = []
            }
        }
        if !part.isEmpty { try body(part) }
    }
}

/// A file in a folder of pictures.
struct PictureFile {
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
        guard (try? FolderEntry(path)) != nil else { return .broken("it is not there") }
        guard isPicture else { return .other }
        return Self.decoded { () throws(ImageFileError) in try RGBImage(contentsOf: path).centreCropped(to: size) }
    }

    /// Of a picture in an archive.
    static func content(of bytes: [UInt8], named name: String, size: Int) -> Content {
        decoded { () throws(ImageFileError) in try RGBImage(bytes, named: name).centreCropped(to: size) }
    }

    private static func decoded(_ read: () throws(ImageFileError) -> RGBImage) -> Content {
        do throws(ImageFileError) {
            return .picture(try read())
        } catch {
            if case .notReadable(_, let reason) = error { return .broken(reason) }
            return .broken(error.description)
        }
    }
}
