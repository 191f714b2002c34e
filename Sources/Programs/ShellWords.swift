import AdapterFormat

/// What a shell handed over and should not have: words and settings that an unset variable left empty, and settings that do not exist.
package enum ShellWords {
    /// - Parameter arguments: with the program's own name first.
    /// - Returns: a sentence about the first empty argument, or the first empty setting of ours; nil where there is none.
    package static func empty(in arguments: [String], _ environment: [String: String]) -> String? {
        let cause = "is empty; is a variable of the shell not set?"
        for (number, word) in arguments.enumerated().dropFirst() {
            if word.isEmpty {
                let before = arguments[number - 1]
                return (number > 1 && before.hasPrefix("-") ? before : "argument \(number)") + " " + cause
            }
            if word.hasPrefix("--"), word.hasSuffix("="), word.count(where: { $0 == "=" }) == 1 { return "\(word.dropLast()) \(cause)" }
        }
        return environment.keys.sorted().first { isSetting($0) && environment[$0] == "" }.map { "\($0) is set to nothing: give it a value or unset it" }
    }

    /// The words with each negative number joined to the option before it ("--n -1" as "--n=-1"): to the parser a word with a dash is
    /// another option, and a value that is only out of range would be called missing.
    package static func joiningNegatives(_ arguments: [String]) -> [String] {
        var words: [String] = []
        for (index, word) in arguments.enumerated() {
            if arguments[..<index].contains("--") {
                words.append(word)
            } else if isNegative(word), let option = words.last, option.hasPrefix("--"), !option.contains("=") {
                words[words.count - 1] = option + "=" + word
            } else {
                words.append(word)
            }
        }
        return words
    }

    /// Words that begin as a negative number does; no short option is a digit.
    private static func isNegative(_ word: String) -> Bool {
        guard word.hasPrefix("-") else { return false }
        let rest = word.dropFirst()
        return rest.first?.isNumber ?? false || rest.hasPrefix(".") || ["inf", "infinity", "nan"].contains(rest.lowercased())
    }

    /// One sentence for each variable that looks like a setting and is none, in order.
    /// - Parameter known: every setting's variable, `DIFFFIT_...`.
    package static func unknownSettings(in environment: [String: String], known: [String] = settings) -> [String] {
        environment.keys.filter { isSetting($0) && !known.contains($0) }.sorted().map { name in
            let near = nearestNames(to: ending(name), among: known.map(ending), limit: 1)
            return "there is no setting \(name)" + (near.first.map { "; did you mean \(prefix)\($0.uppercased())?" } ?? "")
        }
    }

    /// Every setting of either program, each of which has a flag of `adapterd`; and ADAPTERD, by which `tools/batch` finds that program.
    package static let settings = [
        "ADAPTERD", "ALLOWED_HOSTS", "BASE", "CLIENT_SHARE", "COMPOSERS", "DOMAINS", "DRAIN_SECONDS", "FOREIGN_SIZE", "JOBS_KEPT_SECONDS",
        "LOG_LEVEL", "MAX_CONNECTIONS", "MAX_COST", "MAX_IMAGES", "MAX_JOBS", "MAX_MERGE_TERMS", "MAX_RECIPE_TERMS", "MAX_STEPS",
        "NETWORK_MB", "PATIENCE_SECONDS", "PING_SECONDS", "PORT", "PRECISION", "PRESET", "QUEUE", "READY_SECONDS", "REPLICA", "RESIDENT_MB",
        "ROWS", "SOCKET", "STORE", "THREADS", "TOKEN_FILE", "VAE",
    ].map { prefix + $0 }

    private static let prefix = "DIFFFIT_"
    private static func isSetting(_ name: String) -> Bool { name.hasPrefix(prefix) }
    private static func ending(_ name: String) -> String { String(name.dropFirst(prefix.count)).lowercased() }
}
