import AdapterFormat
import Foundation
import ProgramRunner
import Testing

/// `Library.md` against the code: its snippets, its topics, what is public, and the version.
@Suite struct DocumentationTests {
    private static func text(_ path: String) throws -> String { try String(contentsOf: URL(filePath: checkout + "/" + path), encoding: .utf8) }

    private static func page() throws -> String { try text("Sources/DiffFit/DiffFit.docc/Library.md") }

    /// The code on the page by the names of its snippets.
    private static func onPage() throws -> [String: String] {
        var found: [String: String] = [:]
        for part in try page().components(separatedBy: "<!-- snippet: ").dropFirst() {
            let lines = part.components(separatedBy: "\n")
            try #require(lines[1] == "```swift", "no code follows \(lines[0])")
            found[lines[0].replacing(" -->", with: "")] = lines.dropFirst(2).prefix { $0 != "```" }.joined(separator: "\n")
        }
        return found
    }

    @Test func everySnippetOfThePageIsCompiledCode() throws {
        let compiled = try Self.text("Tests/DiffFitTests/Snippets.swift")
        var pieces = ["Consumer": try Self.text("Tests/Consumer/Sources/Consumer/main.swift").trimmingCharacters(in: .newlines)]
        for part in compiled.components(separatedBy: "        // snippet: ").dropFirst() {
            let lines = part.components(separatedBy: "\n")
            pieces[lines[0]] = lines.dropFirst().prefix { $0 != "        // end" }.map { String($0.dropFirst(8)) }.joined(separator: "\n")
        }
        let page = try Self.onPage()
        #expect(Set(page.keys) == Set(pieces.keys))
        for (name, code) in page { #expect(code == pieces[name], "the snippet '\(name)'") }
        #expect(page.count == 8)
    }

    /// Public declarations of the modules, and of the types of others that `Exports.swift` names.
    private static func publicDeclarations() throws -> [(file: String, line: String, documented: Bool)] {
        var found: [(file: String, line: String, documented: Bool)] = []
        for folder in try FileManager.default.contentsOfDirectory(atPath: checkout + "/Sources").sorted() {
            for case let file as String in FileManager.default.enumerator(atPath: "\(checkout)/Sources/\(folder)") ?? .init() where file.hasSuffix(".swift") {
                let lines = try text("Sources/\(folder)/\(file)").components(separatedBy: "\n")
                for (index, line) in lines.enumerated() where line.firstMatch(of: /^ *(?:[a-z@]+ )*public\b/) != nil {
                    let before = lines[..<index].last { !$0.trimmingCharacters(in: .whitespaces).hasPrefix("@") } ?? ""
                    found.append(("\(folder)/\(file)", line.trimmingCharacters(in: .whitespaces), before.trimmingCharacters(in: .whitespaces).hasPrefix("///")))
                }
            }
        }
        return found
    }

    @Test func whatIsPublicIsSmallAndDocumented() throws {
        let all = try Self.publicDeclarations()
        for declaration in all
        where !declaration.documented && !["init(from decoder", "func encode(to", "init(stringLiteral"].contains(where: declaration.line.contains) {
            // One line may document neighbours of a kind.
            let isField = declaration.line.contains("let ")
            #expect(isField, "\(declaration.file): \(declaration.line) says nothing of itself")
        }
        // Types, functions and initialisers; the fields of plain values come with them.
        let symbols = all.filter { $0.line.contains(/\b(struct|class|enum|func|init|subscript)\b/) }
        #expect((50...75).contains(symbols.count), "\(symbols.count) public symbols")
        let types = Set(all.compactMap { $0.line.firstMatch(of: /public (?:final )?(?:struct|class|enum) (\w+)/).map { String($0.1) } })
        let topics = Set(try Self.page().matches(of: /(?m)^- ``(\w+)``$/).map { String($0.1) })
        #expect(types.subtracting(topics) == ["Kind"])
        #expect(topics.subtracting(types).isEmpty)
    }

    /// Older tools refuse a version of a package that asks for them.
    @Test func noUnsafeFlagsAreAskedFor() throws {
        #expect(try !Self.text("Package.swift").contains("unsafeFlags"))
    }

    /// One place says the version, and what names it names the same.
    @Test func theVersionIsTheSameEverywhere() throws {
        for program in ["adapterctl"] {
            #expect(try ProgramRunner.run(builtProgram(program), ["--version"]).output == packageVersion + "\n")
        }
        #expect(try Self.page().contains(", from: \"\(packageVersion)\")"))
        let changes = try Self.text("CHANGELOG.md")
        let released = changes.firstMatch(of: /(?m)^## \[?([0-9]+\.[0-9]+\.[0-9]+)/).map { String($0.1) }
        #expect(released == packageVersion || changes.contains("Both programs say \(packageVersion)"))
    }
}
