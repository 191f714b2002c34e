import Foundation

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
        let twin = environment[variable].flatMap { $0.isEmpty ? nil : $0 }
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
        let text = text(flag, given, default: fallback.rawValue) ?? fallback.rawValue
        guard let value = Value(rawValue: text) else {
            throw .badValue(flag: flag, value: text, wanted: "one of " + Value.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return value
    }
}

enum ConfigurationError: Error, CustomStringConvertible {
    case badValue(flag: String, value: String, wanted: String)
    case unknownVariable(name: String, nearest: [String])
    case tokenMissing
    case notFound(String)

    var description: String {
        switch self {
        case .badValue(let flag, let value, let wanted):
            "'\(value)' is no value for --\(flag) or \(SettingsReader.variable(flag)): give \(wanted)"
        case .unknownVariable(let name, let nearest):
            "there is no setting \(name)" + (nearest.isEmpty ? "" : "; did you mean \(nearest.joined(separator: ", "))?")
        case .tokenMissing: "--port opens TCP, which needs --token-file: a file with a secret that only you can read"
        case .notFound(let text): text
        }
    }
}
