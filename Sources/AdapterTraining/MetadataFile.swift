import Foundation
import ImageFiles
import SystemIO
import SystemPackage

/// A table of pictures and labels beside the pictures, `metadata.csv` or `metadata.jsonl` as Hugging Face's imagefolder has them.
struct MetadataFile {
    struct Row {
        let file: String
        let label: String?
        let split: DataSplit?
    }

    let path: FilePath
    let rows: [Row]

    static let names = ["metadata.csv", "metadata.jsonl"]
    /// Columns that hold the class.
    private static let labels = ["label", "labels", "class", "category"]

    /// The one of a folder; nil where it has none.
    init?(in folder: FilePath) throws {
        guard let path = Self.names.map({ folder.appending($0) }).first(where: { (try? FolderEntry($0))?.kind == .file }) else { return nil }
        self.path = path
        let text = try textOf(path)
        let records = try path.extension == "csv" ? Self.table(text, path) : Self.lines(text, path)
        guard let first = records.first, first["file_name"] != nil else { throw TrainingError.metadata(path.shown, reason: "it has no column file_name") }
        rows = try records.enumerated().map { number, record in
            guard let file = record["file_name"], !file.isEmpty else {
                throw TrainingError.metadata(path.shown, reason: "row \(number + 1) has no file_name")
            }
            let named = record["split"].flatMap { $0.isEmpty ? nil : $0 }
            let split = try named.map { name -> DataSplit in
                guard let split = DataSplit(named: name) else {
                    throw TrainingError.metadata(path.shown, reason: "the split '\(name)' of row \(number + 1) is none of train, validation and test")
                }
                return split
            }
            return Row(file: file, label: Self.labels.lazy.compactMap { record[$0] }.first, split: split)
        }
    }

    /// Records of a table with a line of headings.
    static func table(_ text: String, _ path: FilePath) throws -> [[String: String]] {
        var rows = commaSeparated(text)
        guard !rows.isEmpty else { return [] }
        let heads = rows.removeFirst().map { $0.trimmingCharacters(in: .whitespaces) }
        return try rows.enumerated().map { number, row in
            guard row.count == heads.count else {
                throw TrainingError.metadata(path.shown, reason: "row \(number + 1) has \(row.count) values, the headings are \(heads.count)")
            }
            return Dictionary(zip(heads, row), uniquingKeysWith: { first, _ in first })
        }
    }

    private static func lines(_ text: String, _ path: FilePath) throws -> [[String: String]] {
        try text.split(whereSeparator: \.isNewline).enumerated().compactMap { number, line in
            guard !line.allSatisfy(\.isWhitespace) else { return nil }
            guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
                throw TrainingError.metadata(path.shown, reason: "line \(number + 1) is no JSON object")
            }
            return object.compactMapValues { $0 as? String ?? ($0 as? NSNumber)?.stringValue }
        }
    }
}

/// The rows of comma-separated values (RFC 4180): a value in quotes may hold commas, line ends and doubled quotes.
func commaSeparated(_ text: String) -> [[String]] {
    var rows: [[String]] = [], row: [String] = [], value = "", isQuoted = false, wasQuoted = false
    var characters = text.makeIterator(), waiting = characters.next()
    func end() {
        row.append(value)
        (value, wasQuoted) = ("", false)
    }
    while let character = waiting {
        waiting = characters.next()
        if isQuoted {
            if character != "\"" {
                value.append(character)
            } else if waiting == "\"" {
                value.append("\"")
                waiting = characters.next()
            } else {
                isQuoted = false
            }
        } else if character == "\"", value.isEmpty, !wasQuoted {
            (isQuoted, wasQuoted) = (true, true)
        } else if character == "," {
            end()
        } else if character.isNewline {
            end()
            if row != [""] { rows.append(row) }
            row = []
        } else {
            value.append(character)
        }
    }
    if !value.isEmpty || wasQuoted || !row.isEmpty {
        end()
        rows.append(row)
    }
    return rows
}

/// A text file without a byte order mark.
func textOf(_ path: FilePath) throws -> String {
    let data: Data
    do { data = try Data(contentsOf: URL(filePath: path.shown)) } catch { throw TrainingError.unreadable(path.shown, reason: words(of: error)) }
    guard let text = String(validating: data, as: UTF8.self) else { throw TrainingError.metadata(path.shown, reason: "it is not UTF-8 text") }
    return text.first == "\u{FEFF}" ? String(text.dropFirst()) : text
}

extension PictureListing {
    /// Of a folder with a metadata file, or of parts that each have one; nil where there is none.
    init?(metadataIn path: FilePath, _ folder: PictureFolder) throws {
        var named: [(label: String, place: Place, split: DataSplit?, name: String)] = []
        var found = false, unlabelled: [String] = []
        let parts = folder.classes.compactMap { part in DataSplit(named: part.name).map { (part.path, $0, part.name + "/") } }
        for (place, split, prefix) in [(path, nil, "")] + parts {
            guard let table = try MetadataFile(in: place) else { continue }
            found = true
            for row in table.rows {
                guard let label = row.label, !label.isEmpty else {
                    unlabelled.append(prefix + row.file)
                    continue
                }
                named.append((label, .file(place.pushing(FilePath(row.file))), row.split ?? split, prefix + row.file))
            }
        }
        guard found else { return nil }
        if named.isEmpty, let first = unlabelled.first {
            throw TrainingError.metadata(path.shown, reason: "'\(first)' has no class: it needs a column label (or class)")
        }
        self.init(path, layout: "metadata", named)
        report.skipped = unlabelled.map { FolderReport.Skipped(file: $0, reason: "its row has no class") }
    }
}
