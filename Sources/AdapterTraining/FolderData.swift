import Foundation
import ImageFiles

extension TrainingData {
    /// What a folder gave beside the images: files that could not be used, each with its reason.
    package struct FolderReport: Sendable {
        package var broken: [String] = []
    }

    /// One sub-folder per class, PNG or JPEG files in each, in name order; every image centre-cropped to `size`.
    package static func folder(_ path: String, size: Int) throws -> (TrainingData, FolderReport) {
        let files = FileManager.default
        guard let listed = try? files.contentsOfDirectory(atPath: path) else { throw TrainingError.noFolder(path) }
        let entries = listed.sorted().filter { !$0.hasPrefix(".") }
        let classes = try entries.filter { name in
            try files.attributesOfItem(atPath: URL(filePath: "\(path)/\(name)").resolvingSymlinksInPath().path)[.type] as? FileAttributeType == .typeDirectory
        }
        guard !classes.isEmpty else { throw TrainingError.tooFewClasses(folder: path) }
        var report = FolderReport()
        var images: [RGBImage] = []
        var labels: [Int] = []
        for (label, name) in classes.enumerated() {
            for file in try files.contentsOfDirectory(atPath: "\(path)/\(name)").sorted() where !file.hasPrefix(".") {
                do throws(ImageFileError) {
                    images.append(try RGBImage(contentsOf: "\(path)/\(name)/\(file)").centreCropped(to: size))
                    labels.append(label)
                } catch {
                    report.broken.append(error.description)
                }
            }
        }
        guard !images.isEmpty else { throw TrainingError.noImages(folder: path, broken: report.broken.count) }
        return (TrainingData(classNames: classes, size: size, images: images, labels: labels, summary: "folder"), report)
    }
}
