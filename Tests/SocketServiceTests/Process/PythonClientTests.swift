import ProgramRunner
import SocketService
import Testing

/// `tools/client`, the client of the batch and bench tools: its own tests against a real server, and its request's fields.
@Suite(.serialized, .heavy) struct PythonClientTests {
    @Test func itsOwnTestsPass() throws {
        let ended = try run("python3", [checkout + "/tools/client/test_difffit.py", Server.shared().socket])
        #expect(ended.code == 0, "\(ended.output)\(ended.errors)")
    }

    @Test func itsRequestHasTheFieldsOfTheServers() throws {
        let script = "import sys; sys.path.insert(0, sys.argv[1]); import difffit; print(*difffit.GenerationRequest.__annotations__)"
        let ended = try run("python3", ["-B", "-c", script, checkout + "/tools/client"])
        let fields = ended.output.split(whereSeparator: \.isWhitespace).map(String.init)
        #expect(fields.sorted() == GenerationBody.Field.allCases.map(\.rawValue).sorted(), "\(ended.errors)")
    }
}
