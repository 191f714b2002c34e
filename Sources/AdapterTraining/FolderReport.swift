import Foundation

/// What a folder gave beside the pictures that a run trains on.
package struct FolderReport: Sendable, Hashable {
    /// A picture that could not be used, by its path in the folder.
    package struct Skipped: Sendable, Hashable, Codable {
        package let file, reason: String
    }

    package internal(set) var skipped: [Skipped] = []
    /// Files that are no pictures, by the ending of their names; "hidden" counts those of the system.
    package internal(set) var passedOver: [String: Int] = [:]
    /// What looks otherwise than a folder of one sub-folder per class, and what would be right.
    package internal(set) var remarks: [String] = []

    /// Files passed over, in one line; nil where there are none.
    package var passedOverLine: String? {
        let count = passedOver.values.reduce(0, +)
        guard count > 0 else { return nil }
        let kinds = passedOver.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map {
            "\($1) \($0.isEmpty ? "without an ending" : $0 == "hidden" ? $0 : "." + $0)"
        }
        return "\(count) \(count == 1 ? "file that is no picture was" : "files that are no pictures were") passed over: \(kinds.joined(separator: ", "))"
    }
}

extension PictureFolder {
    /// Names that people give to the parts of a data set.
    private static let parts: Set<String> = ["train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"]
    /// Endings of files that hold labels where folders do not.
    private static let labelEndings: Set<String> = ["mat", "csv", "tsv", "json", "jsonl", "xml", "parquet", "npy", "h5", "xlsx"]

    /// The parts of a data set, where the sub-folders are these and the classes lie below them.
    var isInParts: Bool {
        !classes.isEmpty
            && classes.allSatisfy { part in
                Self.parts.contains(part.name.lowercased()) && !part.below.isEmpty && part.files.allSatisfy { $0.removingLastComponent() != part.path }
            }
    }

    /// What a reader of the run should know before it is long.
    /// - Parameter counts: usable pictures of each class.
    func remarks(counts: [Int], loosePictures: Int) -> [String] {
        var remarks: [String] = []
        for each in classes where !(each.path.lastComponent?.isText ?? true) {
            remarks.append("the name of folder '\(each.name)' is not UTF-8; it was read as Latin-1")
        }
        if loosePictures > 0 {
            remarks.append(
                "\(loosePictures) \(loosePictures == 1 ? "picture lies" : "pictures lie") beside the class folders and \(loosePictures == 1 ? "was" : "were") not used: move each into the folder of its class"
            )
        }
        if classes.count == 1, let only = classes.first {
            var text = "one class only, '\(only.name)' (\(counts[0]) \(counts[0] == 1 ? "picture" : "pictures"))"
            let labels = loose.compactMap { Self.labelEndings.contains($0.extension?.lowercased() ?? "") ? $0.lastComponent?.shown : nil }
            if let file = labels.first {
                text += ": labels in '\(file)' are not read; put the pictures of each class into a sub-folder of its name to train classes"
            } else if let inner = only.below.first, !only.files.contains(where: { $0.removingLastComponent() == only.path }) {
                text += ": its folders, such as '\(inner)', are not classes; give --data '\(only.path.shown)' to make them so"
            } else {
                text += ": more sub-folders make more classes"
            }
            remarks.append(text)
        } else if let nested = classes.first(where: { !$0.below.isEmpty }) {
            let count = classes.reduce(0) { $0 + $1.below.count }
            remarks.append(
                "\(count) \(count == 1 ? "folder lies" : "folders lie") inside of classes, such as '\(nested.below[0])': the first level is the class, here '\(nested.name)'"
            )
        }
        for (_, names) in Dictionary(grouping: classes.map(\.name), by: { $0.lowercased() }).filter({ $1.count > 1 }).sorted(by: { $0.key < $1.key }) {
            remarks.append("\(names.map { "'\($0)'" }.joined(separator: " and ")) differ only in capitals: they are \(names.count) classes")
        }
        return remarks
    }
}
