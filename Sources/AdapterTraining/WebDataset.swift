import Foundation
import ImageFiles
import SystemPackage

/// WebDataset: tar archives whose neighbours of one name but for the ending are one sample, as in `0001.jpg`, `0001.cls`.
extension PictureListing {
    /// Of a folder that holds archives and no classes, or parts that hold such; nil where it has none.
    init?(shardsOf folder: PictureFolder) throws {
        var shards = folder.loose.filter(ArchiveFile.isNamed).map { ($0, DataSplit?.none) }
        for part in folder.classes {
            let own = part.files.filter(ArchiveFile.isNamed)
            guard let split = DataSplit(named: part.name) else {
                if own.isEmpty, !part.files.isEmpty { return nil }
                continue
            }
            shards += own.map { ($0, split) }
        }
        guard !shards.isEmpty else { return nil }
        try self.init(shards: shards, in: folder.path)
    }

    /// The class of a sample is in its `.cls`, a number or a name, or its `.json` (`label`, `cls` or `class`), or is the folder that it lies in. Names
    /// of numbered classes are the lines of `classnames.txt` or `classes.txt` beside the shards.
    init(shards: [(path: FilePath, split: DataSplit?)], in path: FilePath) throws {
        var named: [(label: String, place: Place, split: DataSplit?, name: String)] = []
        var report = FolderReport()
        for (shard, split) in shards {
            let archive = try ArchiveFile(shard)
            var sample = Sample(key: ""), number = 0
            func end() {
                guard let picture = sample.picture else { return }
                if let label = sample.label ?? sample.folder {
                    named.append((label, .member(shard, picture.number), split, "\(shard.lastComponent?.shown ?? "")/\(picture.name)"))
                } else {
                    report.skipped.append(
                        FolderReport.Skipped(
                            file: "\(shard.lastComponent?.shown ?? "")/\(picture.name)", reason: "it has no class: neither .cls, .json nor a folder"))
                }
            }
            while let name = try archive.next() {
                let member = Sample.Member(name)
                if member.key != sample.key {
                    end()
                    sample = Sample(key: member.key)
                }
                if PictureForm.endings.contains(member.ending) {
                    if sample.picture == nil { sample.picture = (number, name) }
                } else if member.ending == "cls" || member.ending == "json" {
                    sample.take(try archive.read(), member.ending)
                }
                number += 1
            }
            end()
        }
        let names = try Self.classNames(beside: path)
        if let names {
            named = named.map { each in
                guard let index = Int(each.label), names.indices.contains(index) else { return each }
                return (names[index], each.place, each.split, each.name)
            }
        }
        self.init(path, layout: "WebDataset", named)
        self.report = report
    }

    private static func classNames(beside path: FilePath) throws -> [String]? {
        let folder = (try? FolderEntry(path))?.kind == .folder ? path : path.removingLastComponent()
        guard let file = ["classnames.txt", "classes.txt"].map({ folder.appending($0) }).first(where: { (try? FolderEntry($0))?.kind == .file }) else {
            return nil
        }
        return try textOf(file).split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
    }

    /// Members that belong together.
    private struct Sample {
        struct Member {
            let key, ending: String

            /// The key goes up to the first dot of the file's own name.
            init(_ name: String) {
                let start = name.lastIndex(of: "/").map { name.index(after: $0) } ?? name.startIndex
                let dot = name[start...].firstIndex(of: ".") ?? name.endIndex
                key = String(name[..<dot])
                ending = dot == name.endIndex ? "" : name[name.index(after: dot)...].lowercased()
            }
        }

        let key: String
        var picture: (number: Int, name: String)?
        var label: String?

        init(key: String) { self.key = key }

        var folder: String? { key.split(separator: "/").dropLast().last.map(String.init) }

        mutating func take(_ bytes: [UInt8], _ ending: String) {
            if ending == "cls" {
                label = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            } else if label == nil, let object = try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any] {
                label = ["label", "cls", "class"].lazy.compactMap { object[$0] as? String ?? (object[$0] as? NSNumber)?.stringValue }.first
            }
        }
    }
}
