import Foundation

/// Where a user's files lie, after the XDG base directories.
package enum UserFolders {
    /// The store that is meant where none is named.
    package static func store(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        folder("XDG_DATA_HOME", ".local/share", environment)
    }

    /// What can be made again at any time.
    package static func cache(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        folder("XDG_CACHE_HOME", ".cache", environment)
    }

    private static func folder(_ variable: String, _ usual: String, _ environment: [String: String]) -> String {
        func set(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        return (set(variable) ?? (set("HOME") ?? NSHomeDirectory()) + "/" + usual) + "/difffit"
    }
}
