import AdapterFormat
import ArgumentParser

/// "; did you mean rose?", where something is near.
func suggestion(for text: String, among names: [String]) -> String {
    let near = nearestNames(to: text, among: names, limit: 2)
    return near.isEmpty ? "" : "; did you mean \(near.joined(separator: " or "))?"
}

/// What is wrong with a command line that names a verb which does not exist; nil where its verbs do.
func unknownVerb(_ words: [String]) -> Failure? {
    var command: any ParsableCommand.Type = Adapterctl.self
    let words = words.first == "help" ? Array(words.dropFirst()) : words
    for word in words {
        let verbs = command.configuration.subcommands
        guard !verbs.isEmpty, !word.hasPrefix("-"), word != "help" else { return nil }
        if let verb = verbs.first(where: { $0._commandName == word }) {
            command = verb
            continue
        }
        let names = verbs.map { $0._commandName }
        let near = suggestion(for: word, among: names)
        return .usage("\(command._commandName) has no verb '\(word)'" + (near.isEmpty ? ": it has \(names.joined(separator: ", "))" : near))
    }
    return nil
}
