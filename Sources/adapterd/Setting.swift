import Foundation
import SocketService

/// One line of the configuration: its value as text, and where it came from.
struct Setting: Sendable, Equatable {
    let flag: String
    let value: String
    let origin: String
}

/// Resolves flags against their twins in the environment, and remembers what came from where: flag, environment, default.
struct SettingsReader {
    let environment: [String: String]
    private(set) var settings: [Setting] = []

    init(environment: [String: String]) { self.environment = environment }

    static func variable(_ flag: String) -> String { "DIFFFIT_" + flag.uppercased().replacing("-", with: "_") }

    /// The flag if it was given, else its twin, else the default (nil: nothing).
    mutating func text(_ flag: String, _ given: String?, default fallback: String?) -> String? {
        let variable = Self.variable(flag)
        let twin = environment[variable]
        let origin = given != nil ? "flag" : twin != nil ? variable : "default"
        let value = given ?? twin ?? fallback
        settings.append(Setting(flag: flag, value: value ?? "-", origin: origin))
        return value
    }

    mutating func number(_ flag: String, _ given: Int?, default fallback: Int?, in range: ClosedRange<Int>) throws(ConfigurationError)
        -> Int?
    {
        guard let text = text(flag, given.map(String.init), default: fallback.map(String.init)) else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw .badValue(flag: flag, value: text, wanted: "a whole number between \(range.lowerBound) and \(range.upperBound)")
        }
        return value
    }

    /// A path; what looks like an address would become a file of that name.
    mutating func socket(_ given: String?, default fallback: String) throws(ConfigurationError) -> String {
        let path = text("socket", given, default: fallback) ?? fallback
        let isAddress = ["http://", "https://", "tcp://", "unix:"].contains { path.hasPrefix($0) } || (path.contains(":") && !path.contains("/"))
        guard !isAddress else { throw .badValue(flag: "socket", value: path, wanted: "the path of a Unix socket; for TCP give --port") }
        return path
    }

    mutating func port(_ given: String?) throws(ConfigurationError) -> Int? {
        guard let text = text("port", given, default: nil) else { return nil }
        if let port = Int(text), (0...65535).contains(port) { return port }
        let wanted = "a whole number between 0 and 65535" + (text.contains(":") ? "; the address is always 127.0.0.1" : "")
        throw .badValue(flag: "port", value: text, wanted: wanted)
    }

    mutating func hosts(_ given: String?) throws(ConfigurationError) -> [String] {
        guard let text = text("allowed-hosts", given, default: nil) else { return [] }
        let names = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
        guard names.allSatisfy({ !$0.isEmpty && HostRule.isWellFormed($0) }) else {
            throw .badValue(flag: "allowed-hosts", value: text, wanted: "names such as gpu.example or gpu.example:8080, with commas between")
        }
        return names
    }

    /// A word that fits into a job's id: no '-', which ends it there.
    mutating func replica(_ given: String?) throws(ConfigurationError) -> String? {
        guard let name = text("replica", given, default: nil) else { return nil }
        guard (1...32).contains(name.utf8.count), name.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) }) else {
            throw .badValue(flag: "replica", value: name, wanted: "1 to 32 of a-z and 0-9")
        }
        return name
    }

    mutating func choice<Value: CaseIterable & RawRepresentable<String>>(
        _ flag: String, _ given: String?, default fallback: Value
    ) throws(ConfigurationError) -> Value {
        try choice(flag, given, or: fallback.rawValue) ?? fallback
    }

    /// nil where nothing was given.
    mutating func choice<Value: CaseIterable & RawRepresentable<String>>(
        _ flag: String, _ given: String?, or fallback: String? = nil
    ) throws(ConfigurationError) -> Value? {
        guard let text = text(flag, given, default: fallback) else { return nil }
        guard let value = Value(rawValue: text) else {
            throw .badValue(flag: flag, value: text, wanted: "one of " + Value.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return value
    }
}

enum ConfigurationError: Error, CustomStringConvertible {
    case badValue(flag: String, value: String, wanted: String)
    case tokenMissing
    case notFound(String)

    var description: String {
        switch self {
        case .badValue(let flag, let value, let wanted):
            "'\(value)' is no value for --\(flag) or \(SettingsReader.variable(flag)): give \(wanted)"
        case .tokenMissing: "--port opens TCP, which needs --token-file: a file with a secret that only you can read"
        case .notFound(let text): text
        }
    }
}
