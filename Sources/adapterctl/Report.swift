import ArgumentParser
import Foundation

/// `--json` on every verb: one object on standard output.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    /// Prints a command's result, as text or as `{schema_version, command, data, warnings}`.
    func report(_ command: String, _ data: some Encodable, warnings: [String] = [], text: () -> String) throws {
        for warning in warnings { note("warning: \(warning)") }
        let line: String
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            encoder.keyEncodingStrategy = .convertToSnakeCase
            line = String(decoding: try encoder.encode(Envelope(schemaVersion: 1, command: command, data: data, warnings: warnings)), as: UTF8.self)
        } else {
            line = text()
        }
        ProgressLine.end()
        if !line.isEmpty { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
    }

    private struct Envelope<Content: Encodable>: Encodable {
        let schemaVersion: Int
        let command: String
        let data: Content
        let warnings: [String]
    }
}

/// Text in columns, each as wide as its widest cell.
func table(_ rows: [[String]]) -> String {
    guard let first = rows.first else { return "" }
    let widths = first.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: "  ")
            .replacing(/\ +$/, with: "")
    }.joined(separator: "\n")
}

/// 12.3 kB rather than 12345.
func readable(bytes: Int) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1000, unit < units.count - 1 {
        value /= 1000
        unit += 1
    }
    return unit == 0 ? "\(bytes) B" : String(format: value < 10 ? "%.2f %@" : "%.1f %@", value, units[unit] as NSString)
}
