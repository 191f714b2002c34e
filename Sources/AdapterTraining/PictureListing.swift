import AdapterFormat
import Foundation
import ImageFiles
import SystemPackage
import TensorMath

/// The parts that published data sets come in.
package enum DataSplit: String, Sendable, Codable, CaseIterable {
    case train, validation, test

    /// Of the names that people give to them; nil of any other.
    package init?(named name: String) {
        switch name.lowercased() {
        case "train", "training", "trn": self = .train
        case "val", "valid", "validation", "dev": self = .validation
        case "test", "testing", "eval", "tst": self = .test
        default: return nil
        }
    }
}

/// What is taken of a data set.
package struct DataSelection: Sendable, Hashable {
    /// nil takes `train` of a set that comes in parts.
    package var split: DataSplit?
    /// Class names; empty takes all.
    package var classes: [String] = []
    /// Pictures of each class at most, chosen by the seed.
    package var perClass: Int?
    package var seed: UInt64 = 0

    package init(split: DataSplit? = nil, classes: [String] = [], perClass: Int? = nil, seed: UInt64 = 0) {
        (self.split, self.classes, self.perClass, self.seed) = (split, classes, perClass, seed)
    }

    /// - Parameter taken: as a run recorded it.
    package init(_ taken: DataTaken) {
        self.init(split: taken.split.flatMap { DataSplit(rawValue: $0) }, classes: taken.classes ?? [], perClass: taken.perClass, seed: taken.seed)
    }

    package var taken: DataTaken {
        DataTaken(split: split?.rawValue, classes: classes.isEmpty ? nil : classes, perClass: perClass, seed: seed)
    }
}

/// The labelled pictures of a data set as its own files list them, before any is read.
struct PictureListing {
    struct Picture {
        var label: Int
        let place: Place
        let split: DataSplit?
        /// As the data set names it.
        let name: String
    }

    enum Place {
        case file(FilePath)
        /// By its number among the regular files of an archive.
        case member(FilePath, Int)
    }

    /// The folder or file.
    let path: FilePath
    /// How the set is laid out, as `data.json` names it.
    let layout: String
    var classNames: [String] = []
    var pictures: [Picture] = []
    var report = FolderReport()
    /// Of a plain folder, where more can be said about what is missing.
    var folder: PictureFolder?

    /// - Parameter layout: as data.json names it.
    init(_ path: FilePath, layout: String) { (self.path, self.layout) = (path, layout) }

    /// Pictures by the names of their classes, which become the labels, in the order of their names, or of numbers.
    /// - Parameter classes: in an order of their own; those without a picture too.
    init(_ path: FilePath, layout: String, classes: [String] = [], _ named: [(label: String, place: Place, split: DataSplit?, name: String)]) {
        self.init(path, layout: layout)
        var names = classes
        if names.isEmpty {
            let found = Set(named.map(\.label))
            names =
                found.allSatisfy({ Int($0) != nil })
                ? found.sorted { (Int($0) ?? 0, $0) < (Int($1) ?? 0, $1) } : found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        }
        classNames = names
        let labels = Dictionary(names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        pictures = named.compactMap { each in labels[each.label].map { Picture(label: $0, place: each.place, split: each.split, name: each.name) } }
    }

    var splits: [DataSplit] { DataSplit.allCases.filter { split in pictures.contains { $0.split == split } } }

    /// What was chosen of it; a class of which nothing is left stays one, as it does in a folder.
    func taking(_ selection: DataSelection) throws -> PictureListing {
        var taken = self
        let splits = splits
        if let wanted = selection.split ?? (splits.isEmpty ? nil : splits.first) {
            guard splits.contains(wanted) else { throw TrainingError.noSplit(wanted.rawValue, folder: path.shown, known: splits.map(\.rawValue)) }
            taken.pictures.removeAll { $0.split != wanted }
            if selection.split == nil, splits.count > 1 {
                taken.report.remarks.append("'\(wanted.rawValue)' was taken of \(splits.map(\.rawValue).joined(separator: ", ")): --split takes another part")
            }
        }
        if !selection.classes.isEmpty {
            if let missing = selection.classes.first(where: { !classNames.contains($0) }) {
                throw TrainingError.noClass(missing, folder: path.shown, known: classNames)
            }
            let kept = classNames.indices.filter { selection.classes.contains(classNames[$0]) }
            let labels = Dictionary(uniqueKeysWithValues: kept.enumerated().map { ($1, $0) })
            taken.classNames = kept.map { classNames[$0] }
            taken.pictures = taken.pictures.compactMap { picture in
                labels[picture.label].map { label in
                    var picture = picture
                    picture.label = label
                    return picture
                }
            }
        }
        if let most = selection.perClass { taken.pictures = taken.limited(to: most, seed: selection.seed) }
        return taken
    }

    /// So many of each class at most, in the order in which they were.
    private func limited(to most: Int, seed: UInt64) -> [Picture] {
        let byLabel = Dictionary(grouping: pictures.indices, by: { pictures[$0].label })
        let kept = byLabel.flatMap { label, own -> [Int] in
            let draws = Philox(seed: seed, stream: 5 << 60 | UInt64(label))
            return own.indices.sorted { (draws.uniform(UInt64($0)), $0) < (draws.uniform(UInt64($1)), $1) }.prefix(most).map { own[$0] }
        }
        return kept.sorted().map { pictures[$0] }
    }
}

extension PictureListing {
    /// The listing of what `--data` names: a folder of classes, of parts with classes, with a metadata file, of WebDataset shards, one shard, or
    /// a published set by its name, as in `food-101:DIR`.
    init(_ reference: String) throws {
        if let (layout, path) = PublishedLayout.named(reference) {
            self = try layout.listing(path)
            return
        }
        let path = FilePath(reference)
        if let entry = try? FolderEntry(path), entry.kind == .file, ArchiveFile.isNamed(path) {
            self = try PictureListing(shards: [(path, nil)], in: path)
            return
        }
        let folder = try PictureFolder(reference)
        if let listing = try PictureListing(metadataIn: path, folder) ?? PictureListing(shardsOf: folder) {
            self = listing
            return
        }
        guard folder.isInParts else {
            self = PictureListing(folder)
            return
        }
        self.init(path, layout: "folder of parts")
        var named: [(label: String, place: Place, split: DataSplit?, name: String)] = []
        for part in folder.classes {
            guard let split = DataSplit(named: part.name) else { continue }
            let inner = PictureListing(try PictureFolder(part.path.shown))
            for picture in inner.pictures { named.append((inner.classNames[picture.label], picture.place, split, "\(part.name)/\(picture.name)")) }
            report.skipped += inner.report.skipped.map { FolderReport.Skipped(file: "\(part.name)/\($0.file)", reason: $0.reason) }
        }
        let listed = PictureListing(path, layout: layout, named)
        (classNames, pictures) = (listed.classNames, listed.pictures)
    }

    /// A sub-folder per class.
    init(_ folder: PictureFolder) {
        self.init(folder.path, layout: "folder")
        self.folder = folder
        classNames = folder.classes.map(\.name)
        pictures = folder.classes.enumerated().flatMap { label, each in
            each.files.map { Picture(label: label, place: .file($0), split: nil, name: folder.relative($0)) }
        }
        report.skipped = folder.skipped
        if folder.hidden > 0 { report.passedOver["hidden"] = folder.hidden }
    }
}
