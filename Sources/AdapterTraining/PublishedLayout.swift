import Foundation
import ImageFiles
import SystemPackage

/// The layouts that the paper's eight data sets are published in, with their official splits; `--data NAME:DIR` names one. DIR is the folder
/// that the archives were unpacked in, or the one in it that they made.
enum PublishedLayout: String, CaseIterable {
    /// images/CLASS/ID.jpg; meta/train.txt and meta/test.txt list CLASS/ID.
    case food101 = "food-101"
    /// LETTER/CLASS.../sun_ID.jpg; Training_01.txt and Testing_01.txt of the partitions list paths.
    case sun397
    /// A folder of pictures, and a table for each part with the columns image_path and species.
    case df20
    /// 101_ObjectCategories/CLASS/image_0001.jpg; no split is official.
    case caltech101 = "caltech-101"
    /// images.txt, image_class_labels.txt, classes.txt and train_test_split.txt number the pictures of images/.
    case cub200 = "cub-200"
    /// train/STYLE/*.jpg and test/STYLE/*.jpg.
    case artbench10 = "artbench-10"
    /// jpg/image_00001.jpg; the labels are MATLAB files, of which tools/prepare-data makes metadata.csv.
    case flowers102 = "flowers-102"
    /// cars_train/ and cars_test/; labels as above.
    case stanfordCars = "stanford-cars"

    private typealias Named = (label: String, place: PictureListing.Place, split: DataSplit?, name: String)

    /// The layout and folder of `NAME:DIR`; nil where that is no published set's name.
    static func named(_ reference: String) -> (layout: PublishedLayout, path: FilePath)? {
        let parts = reference.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let layout = PublishedLayout(rawValue: String(parts[0])) else { return nil }
        return (layout, FilePath(String(parts[1])))
    }

    /// What tells its folder from others, and the folder that its archive makes.
    private var marks: (file: String, inside: [String]) {
        switch self {
        case .food101: ("meta/train.txt", ["food-101"])
        case .sun397: ("a", ["SUN397"])
        case .df20: ("", [])
        case .caltech101: ("101_ObjectCategories", ["caltech-101", "caltech101"])
        case .cub200: ("images.txt", ["CUB_200_2011"])
        case .artbench10: ("train", ["artbench-10-imagefolder-split"])
        case .flowers102: ("jpg", ["flowers-102"])
        case .stanfordCars: ("cars_train", ["stanford_cars", "stanford-cars"])
        }
    }

    func listing(_ path: FilePath) throws -> PictureListing {
        try PictureFolder.check(path.shown)
        let places = [path] + marks.inside.map { path.appending($0) }
        guard let root = places.first(where: { marks.file.isEmpty || exists($0.pushing(FilePath(marks.file))) }) else {
            throw TrainingError.layout(rawValue, folder: path.shown, missing: marks.file)
        }
        switch self {
        case .food101:
            return try listed(root, ["train", "test"].map { ("meta/\($0).txt", DataSplit(named: $0)) }) { line in
                (String(line.split(separator: "/")[0]), "images/\(line).jpg")
            }
        case .sun397:
            let parts = [("Training_01.txt", DataSplit.train), ("Testing_01.txt", DataSplit.test)]
            guard let folder = [root, root.appending("Partitions"), path, path.appending("Partitions")].first(where: { exists($0.appending(parts[0].0)) })
            else {
                throw TrainingError.layout(rawValue, folder: path.shown, missing: "Training_01.txt")
            }
            return try listed(root, parts.map { ($0, $1) }, in: folder) { line in
                // /a/apartment_building/outdoor/sun_x.jpg
                (line.split(separator: "/").dropFirst().dropLast().joined(separator: "-"), String(line.drop { $0 == "/" }))
            }
        case .cub200: return try birds(root)
        case .df20: return try fungi(root)
        case .caltech101:
            var listing = PictureListing(try PictureFolder(root.appending("101_ObjectCategories").shown))
            let all = listing.pictures.count, objects = listing.classNames.filter { $0 != "BACKGROUND_Google" }
            listing = try listing.taking(DataSelection(classes: objects))
            if listing.pictures.count < all {
                listing.report.remarks.append("'BACKGROUND_Google' is no class of objects: its \(all - listing.pictures.count) pictures were left out")
            }
            return listing.named(rawValue)
        case .artbench10: return try PictureListing(root.shown).named(rawValue)
        case .flowers102, .stanfordCars:
            guard let table = try PictureListing(metadataIn: root, PictureFolder(root.shown)) else {
                throw TrainingError.unprepared(rawValue, folder: root.shown)
            }
            return table.named(rawValue)
        }
    }

    private func exists(_ path: FilePath) -> Bool { (try? FolderEntry(path)) != nil }

    /// Of lists of pictures, one for each part.
    private func listed(
        _ root: FilePath, _ lists: [(file: String, split: DataSplit?)], in folder: FilePath? = nil, _ read: (String) -> (label: String, file: String)
    ) throws -> PictureListing {
        let named = try lists.flatMap { list, split -> [Named] in
            try textOf((folder ?? root).pushing(FilePath(list))).split(whereSeparator: \.isNewline).map { line in
                let (label, file) = read(line.trimmingCharacters(in: .whitespaces))
                return (label, .file(root.pushing(FilePath(file))), split, file)
            }
        }
        return PictureListing(root, layout: rawValue, named)
    }

    /// Numbered tables: `1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg`, `1 1`, `1 001.Black_footed_Albatross`, `1 0`.
    private func birds(_ root: FilePath) throws -> PictureListing {
        func table(_ file: String) throws -> [(key: String, value: String)] {
            try textOf(root.appending(file)).split(whereSeparator: \.isNewline).compactMap { line in
                let parts = line.split(separator: " ", maxSplits: 1)
                return parts.count == 2 ? (String(parts[0]), parts[1].trimmingCharacters(in: .whitespaces)) : nil
            }
        }
        let labels = Dictionary(try table("image_class_labels.txt").map { ($0, $1) }, uniquingKeysWith: { first, _ in first })
        let isTraining = Dictionary(try table("train_test_split.txt").map { ($0, $1 == "1") }, uniquingKeysWith: { first, _ in first })
        let classes = try table("classes.txt"), names = Dictionary(classes.map { ($0, $1) }, uniquingKeysWith: { first, _ in first })
        let named = try table("images.txt").compactMap { number, file -> Named? in
            guard let label = labels[number].flatMap({ names[$0] }) else { return nil }
            return (label, .file(root.appending("images").pushing(FilePath(file))), isTraining[number].map { $0 ? .train : .test }, file)
        }
        return PictureListing(root, layout: rawValue, classes: classes.map(\.value), named)
    }

    /// `DF20-train_metadata_PROD-2.csv` and `DF20-public_test_metadata_PROD-2.csv`, of DF20M likewise; pictures in a folder beside them.
    private func fungi(_ root: FilePath) throws -> PictureListing {
        let folder = try PictureFolder(root.shown)
        let tables = folder.loose.compactMap { file -> (FilePath, DataSplit)? in
            guard file.extension == "csv", let name = file.lastComponent?.shown, name.contains("metadata") else { return nil }
            return name.contains("train") ? (file, .train) : name.contains("test") ? (file, .test) : nil
        }
        guard !tables.isEmpty else { throw TrainingError.layout(rawValue, folder: root.shown, missing: "DF20-train_metadata_PROD-2.csv") }
        let places = [root] + folder.classes.map(\.path)
        let named = try tables.flatMap { file, split -> [Named] in
            try MetadataFile.table(textOf(file), file).map { row in
                guard let picture = row["image_path"], let label = row["species"].flatMap({ $0.isEmpty ? nil : $0 }) ?? row["class_id"] else {
                    throw TrainingError.metadata(file.shown, reason: "it has no columns image_path and species")
                }
                let place = places.first { exists($0.pushing(FilePath(picture))) } ?? root
                return (label, .file(place.pushing(FilePath(picture))), split, picture)
            }
        }
        return PictureListing(root, layout: rawValue, named)
    }
}

extension PictureListing {
    /// The same under the name of a published layout.
    fileprivate func named(_ layout: String) -> PictureListing {
        var listing = PictureListing(path, layout: layout)
        (listing.classNames, listing.pictures, listing.report, listing.folder) = (classNames, pictures, report, folder)
        return listing
    }
}
