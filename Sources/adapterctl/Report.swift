import ArgumentParser
import Foundation
import SystemIO

/// `--json` on every verb: one object on standard output.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    /// Prints a command's result, as text or as `{schema_version, command, data, warnings}`.
    /// - Parameter outputs: what was written; where that went to standard output, the text goes beside it.
    func report(_ command: String, _ data: some Encodable, warnings: [String] = [], outputs: [String] = [], text: () -> String) throws {
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
        Progress.end()
        if outputs.contains(where: { OutputFile($0).isStandardOutput }) { return note(line) }
        if !line.isEmpty { try StandardStreams.print(line + "\n") }
    }

    private struct Envelope<Content: Encodable>: Encodable {
        let schemaVersion: Int
        let command: String
        let data: Content
        let warnings: [String]
    }
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
