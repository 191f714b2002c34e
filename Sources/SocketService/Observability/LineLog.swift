import Foundation
import Logging

/// Logs one line per event to standard error: time, level, message, and `key=value` pairs in a fixed order.
///
/// Values with anything but plain visible characters are quoted with escapes, so no name, class or path can end a line or begin another.
package struct LineLog: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level
    package var metadataProvider: Logger.MetadataProvider?
    private let write: @Sendable (String) -> Void

    package init(level: Logger.Level, write: @escaping @Sendable (String) -> Void = LineLog.toStandardError) {
        logLevel = level
        self.write = write
    }

    /// A full disk or a closed pipe costs the line, not the server.
    package static let toStandardError: @Sendable (String) -> Void = { try? FileHandle.standardError.write(contentsOf: Data($0.utf8)) }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let pairs = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let time = Date.now.formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true))
        let head = "\(time) \(event.level) \(Self.quoted("\(event.message)", allowingBlanks: true))"
        write(([head] + pairs.map { "\($0.key)=\(Self.quoted("\($0.value)", allowingBlanks: false))" }).joined(separator: " ") + "\n")
    }

    static func quoted(_ text: String, allowingBlanks: Bool) -> String {
        let isPlain =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy { scalar in
                (scalar.value > 0x20 && scalar.value < 0x7f && scalar != "\"" && scalar != "\\") || (allowingBlanks && scalar == " ")
            }
        if isPlain { return text }
        let escaped = text.unicodeScalars.map { $0 == "'" ? "'" : $0.escaped(asASCII: true) }.joined()
        return "\"\(escaped)\""
    }
}
