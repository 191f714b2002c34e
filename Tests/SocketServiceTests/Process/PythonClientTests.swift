import Foundation
import ProgramRunner
import SamplingEngine
import Testing

/// `tools/client`, the client of the batch and bench tools: its own tests against a real server, and the fields of a request in it, in the batch
/// tool, on the page and in the README.
@Suite(.serialized, .heavy) struct PythonClientTests {
    @Test func itsOwnTestsPass() throws {
        let ended = try run("python3", [checkout + "/tools/client/test_difffit.py", Server.shared().socket])
        #expect(ended.code == 0, "\(ended.output)\(ended.errors)")
    }

    @Test func everyDescriptionOfARequestHasItsFields() throws {
        let fields = GenerationRequest.Field.allCases.map(\.rawValue).sorted()
        let script = "import sys; sys.path[:0] = sys.argv[1:]; import difffit, images; print(*difffit.GenerationRequest.__annotations__); print(*images.FIELDS)"
        let ended = try run("python3", ["-B", "-c", script, checkout + "/tools/client", checkout + "/tools/batch"])
        let printed = ended.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        try #require(printed.count == 2, "\(ended.errors)")
        #expect(printed[0].sorted() == fields)
        #expect(Set(printed[1]).subtracting(fields) == ["id"])

        let table = try String(contentsOf: URL(filePath: checkout + "/README.md"), encoding: .utf8).components(separatedBy: "| field | what it asks for |\n")
        let rows = try #require(table.dropFirst().first).split(separator: "\n").prefix { $0.hasPrefix("|") }.dropFirst()
        #expect(rows.flatMap { $0.split(separator: "|")[0].matches(of: /`(\w+)`/).map { String($0.1) } }.sorted() == fields)

        let page = try String(contentsOf: URL(filePath: checkout + "/Sources/SocketService/Page/page.js"), encoding: .utf8)
        let order = try #require(page.firstMatch(of: /const order = \{(?s)(.*?)\};/)).1.matches(of: /(\w+):/).map { String($0.1) }
        #expect(order.contains("model"))
        #expect(Set(order).subtracting(fields).isEmpty, "\(order)")
        let inputs = try #require(page.firstMatch(of: /const names = \[(.*)\];/)).1.matches(of: /"(\w+)"/).map { String($0.1) }
        #expect(Set(inputs).isSubset(of: order), "\(inputs)")
    }
}
