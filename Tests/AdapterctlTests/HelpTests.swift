import Foundation
import ProgramRunner
import Testing

/// The examples in the programs' help, against what the programs take.
@Suite struct HelpTests {
    private struct Dump: Decodable { let command: Command }

    private struct Command: Decodable {
        let commandName: String
        let discussion: String?
        let subcommands: [Command]?
        let arguments: [Argument]?

        var all: [Command] { [self] + (subcommands ?? []).flatMap(\.all) }
    }

    private struct Argument: Decodable {
        struct Name: Decodable { let kind, name: String }
        let kind: String
        let isOptional, isRepeating: Bool
        let names: [Name]?

        func isCalled(_ word: String) -> Bool { names?.contains { ($0.kind == "long" ? "--" : "-") + $0.name == word } ?? false }
    }

    @Test(arguments: [("adapterctl", 30), ("adapterd", 1)])
    func everyExampleIsTaken(program: String, least: Int) throws {
        let dump = try ProgramRunner.run(builtProgram(program), ["--experimental-dump-help"], environment: ["HOME": "/nowhere"])
        let root = try JSONDecoder().decode(Dump.self, from: Data(dump.output.utf8)).command
        var count = 0
        for command in root.all {
            for line in (command.discussion ?? "").split(separator: "\n") {
                guard let words = Self.example(String(line), of: program) else { continue }
                count += 1
                let fault = Self.fault(of: words, root)
                #expect(fault == nil, "\(command.commandName): \(line): \(fault ?? "")")
            }
        }
        #expect(count >= least, "\(count) examples were found")
    }

    /// The test sees what is wrong.
    @Test func aWrongExampleIsFound() {
        let flag = Argument(kind: "flag", isOptional: true, isRepeating: false, names: [.init(kind: "long", name: "yes")])
        let option = Argument(
            kind: "option", isOptional: true, isRepeating: false, names: [.init(kind: "short", name: "o"), .init(kind: "long", name: "output")])
        let name = Argument(kind: "positional", isOptional: false, isRepeating: false, names: nil)
        let root = Command(
            commandName: "p", discussion: nil, subcommands: [Command(commandName: "v", discussion: nil, subcommands: nil, arguments: [flag, option, name])],
            arguments: nil)
        for (example, isRight) in [
            ("p v x -o a", true), ("p v x --output=a --yes   (so)", true), ("p v 'x y' # so", true), ("p w x", false), ("p v", false), ("p v x y", false),
            ("p v x -o", false),
            ("p v x --yess", false), ("p v x --yes=1", false), ("p v x -o --yes", false),
        ] {
            #expect((Self.fault(of: Self.example("Example: " + example, of: "p") ?? [], root) == nil) == isRight, "\(example)")
        }
    }

    /// The words after a program's name in a line that shows how it is called; nil where the line does not.
    private static func example(_ line: String, of program: String) -> [String]? {
        guard let start = line.range(of: "(^|: +|^ +|mpirun .*)\(program) ", options: .regularExpression) else { return nil }
        var words: [String] = [], word = ""
        var isQuoted = false, hasWord = false
        for character in line[start.upperBound...] + " " {
            if character == "'" {
                (isQuoted, hasWord) = (!isQuoted, true)
            } else if character != " " || isQuoted {
                (word, hasWord) = (word + String(character), true)
            } else if hasWord {
                // What follows is another program's, or said in words.
                if ["(", "#", "|", ">", "&"].contains(where: word.hasPrefix) { break }
                words.append(word)
                (word, hasWord) = ("", false)
            }
        }
        return words
    }

    private static func fault(of words: [String], _ root: Command) -> String? {
        var command = root, words = words[...]
        while let verb = words.first, let next = command.subcommands?.first(where: { $0.commandName == verb }) { (command, words) = (next, words.dropFirst()) }
        let arguments = command.arguments ?? []
        var places = 0
        while let word = words.popFirst() {
            guard word.hasPrefix("-"), word != "-" else {
                places += 1
                continue
            }
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard let argument = arguments.first(where: { $0.isCalled(parts[0]) }) else { return "there is no \(parts[0])" }
            guard argument.kind == "option" else {
                if parts.count > 1 { return "\(parts[0]) takes no value" }
                continue
            }
            if parts.count == 1 {
                guard let value = words.popFirst(), !value.hasPrefix("-") || value == "-" else { return "\(parts[0]) has no value" }
            }
        }
        let wanted = arguments.filter { $0.kind == "positional" }
        guard places >= wanted.count(where: { !$0.isOptional }) else { return "an argument is missing" }
        guard places <= wanted.count || wanted.contains(where: \.isRepeating) else { return "it has more arguments than are taken" }
        return arguments.contains { $0.kind == "option" && !$0.isOptional } && places == 0 && wanted.isEmpty && words.isEmpty && root.subcommands == nil
            ? "an option is missing" : nil
    }
}
