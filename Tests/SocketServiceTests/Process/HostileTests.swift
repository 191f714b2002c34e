import Crypto
import Foundation
import ProgramRunner
import Testing

/// Clients that mean harm, or are broken: they get an answer or a closed connection, and everybody else is served.
@Suite(.serialized, .heavy) struct HostileTests {
    private func with(_ server: Server, _ body: (Server) throws -> Void) throws {
        defer { server.end() }
        try body(server)
        try checkAlive(server)
    }

    private func onShared(_ body: (Server) throws -> Void) throws {
        let server = try Server.shared()
        try body(server)
        try checkAlive(server)
    }

    private func checkAlive(_ server: Server) throws {
        #expect(try persistently { try server.get("/healthz") }.status == 200)
        #expect(try persistently { try server.generate(#"{"model":"flowers","class":"rose","steps":1}"#) }.status == 200)
    }

    /// A server with little patience may hang up on a test that the machine does not let send in time: the test then calls again.
    private func persistently(_ call: () throws -> Reply) throws -> Reply {
        for _ in 0..<1000 {
            do { return try call() } catch RawConnection.Fault.malformed {}
        }
        return try call()
    }

    @Test func malformedRequestsAreAnsweredOrCutOff() throws {
        try onShared { server in
            for text in [
                "\r\n\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "\u{16}\u{3}\u{1}\u{0}\u{a5}\u{1}",
                "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "GET /\u{0} HTTP/1.1\r\nHost: x\r\n\r\n", String(repeating: "A", count: 100_000),
            ] {
                let connection = try server.connect()
                connection.send(text)
                shutdown(connection.descriptor, Int32(SHUT_WR))
                let answer = try connection.rest()
                #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(text.prefix(40).debugDescription): \(answer.prefix(100))")
            }
        }
    }

    @Test func oversizedHeadersAndBodiesAreCutOff() throws {
        try onShared { server in
            let headers = try server.connect()
            headers.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: \(String(repeating: "a", count: 40_000))\r\n\r\n")
            #expect(try headers.response().status == 400)
            let many = try server.connect()
            many.send("GET /healthz HTTP/1.1\r\nHost: x\r\n" + (0..<500).map { "X-\($0): 1\r\n" }.joined() + "\r\n")
            #expect(try many.response().status == 400)
            let announced = try server.connect()
            announced.send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
            #expect(try announced.response().status == 413)
            // A chunked body names no length; it is cut off where the limit is.
            let chunked = try server.connect()
            chunked.send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = "4000\r\n" + String(repeating: " ", count: 0x4000) + "\r\n"
            for _ in 0..<8 { chunked.send(chunk) }
            #expect(try chunked.response().status == 413)
        }
    }

    @Test func deepJSONIsRefused() throws {
        try onShared { server in
            for open in ["[", "{\"a\":"] {
                let body = #"{"adapters":"# + String(repeating: open, count: 10_000)
                let reply = try server.generate(body)
                #expect(reply.status == 400)
                #expect(reply.code == "too_deep")
            }
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrderAndNoneIsLost() throws {
        try onShared { server in
            let generation = Server.message("POST", "/v1/images/generations", #"{"model":"flowers","class":"rose","seed":1,"steps":2}"#)
            let connection = try server.connect()
            let messages = [
                generation, Server.message("GET", "/healthz"), generation, Server.message("GET", "/nope"),
                Server.message("GET", "/v1/models"),
            ]
            connection.send(messages.joined())
            let replies = try messages.map { _ in try connection.response() }
            #expect(replies.map(\.status) == [200, 200, 200, 404, 200])
            #expect(replies[0].hashes.count == 1)
            #expect(replies[0].hashes == replies[2].hashes)
            #expect(replies[1].text == "ok\n")
            // Many of them, never read: they wait in the pipe, not in memory.
            let flood = try server.connect()
            let burst = String(repeating: Server.message("GET", "/v1/models"), count: 1000)
            for _ in 0..<20 { if !flood.sendWhatFits(burst) { break } }
        }
    }

    @Test func aSlowClientIsCutOff() throws {
        try with(Server(arguments: ["--patience-seconds", "1"])) { server in
            // Half a head, half a body, and nothing at all: each is closed by the server.
            for start in ["GET /healthz HT", "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"model\"", ""] {
                let connection = try server.connect()
                connection.send(start)
                _ = try connection.rest()
            }
        }
    }

    @Test func anUnreadReplyIsDroppedInTime() throws {
        try with(Server(arguments: ["--patience-seconds", "1"])) { server in
            let connection = try server.connect()
            // More than the socket's buffers take, and nobody reads it.
            let requests = Server.message("GET", "/")
            for _ in 0..<400 { if !connection.sendWhatFits(requests) { break } }
            // POLLRDHUP, which the C library's module hides.
            var gone = pollfd(fd: connection.descriptor, events: 0x2000, revents: 0)
            #expect(poll(&gone, 1, -1) == 1)
        }
    }

    @Test func aThousandIdleConnectionsStopNobody() throws {
        try with(Server(arguments: ["--max-connections", "2000", "--patience-seconds", "3600"])) { server in
            let idle = try (0..<1000).map { _ in try server.connect() }
            #expect(try server.generate(#"{"model":"flowers","class":"rose","steps":1}"#).status == 200)
            #expect(idle.count == 1000)
        }
    }

    @Test func moreConnectionsThanFilesStopNobody() throws {
        try with(Server(arguments: ["--max-connections", "100000", "--patience-seconds", "1"], openFiles: 160)) { server in
            let idle = try (0..<200).map { _ in try server.connect() }
            #expect(try persistently { try server.get("/healthz") }.status == 200)
            #expect(idle.count == 200)
            #expect(server.log.contains("fewer connections than asked for"))
            #expect(!server.log.contains("listening ended"))
        }
    }

    @Test func moreConnectionsThanAllowedWaitTheirTurn() throws {
        try with(Server(arguments: ["--max-connections", "8", "--patience-seconds", "1"])) { server in
            let idle = try (0..<40).map { _ in try server.connect() }
            // Comes after forty that say nothing; these are closed, eight at a time.
            #expect(try persistently { try server.get("/healthz") }.status == 200)
            #expect(idle.count == 40)
        }
    }

    @Test func namesCanNotInject() throws {
        try onShared { server in
            let evil = #"x\"} 1\nfaked_total 9\n<script>alert(1)</script>"#
            #expect(try server.generate("{\"model\":\"\(evil)\",\"class\":\"rose\"}").status == 400)
            #expect(try server.generate("{\"model\":\"flowers\",\"class\":\"\(evil)\"}").status == 400)
            #expect(try server.generate("{\"model\":\"flowers\",\"class\":\"rose\",\"steps\":1,\"user\":\"\(evil)\"}").status == 200)
            #expect(try server.get("/v1/adapters/%0Afaked%20line").status == 400)
            let metrics = try server.get("/metrics").text
            #expect(!metrics.contains("faked"))
            #expect(!metrics.contains("script"))
            #expect(!server.log.split(separator: "\n").contains { $0.hasPrefix("faked") })
            #expect(try !server.get("/").text.contains("alert"))
        }
    }

    @Test func thePageIsStrict() throws {
        try onShared { server in
            let page = try server.get("/")
            let policy = try #require(page.headers["content-security-policy"])
            #expect(policy.hasPrefix("default-src 'none'"))
            #expect(!policy.contains("unsafe"))
            #expect(policy.contains("frame-ancestors 'none'"))
            #expect(!page.text.contains("http://"))
            #expect(!page.text.contains("https://"))
            #expect(!page.text.contains("src="))
            #expect(page.text.contains("<script>\"use strict\""))
            #expect(page.headers["x-content-type-options"] == "nosniff")
            // What the build embedded is what lies in the checkout, whole.
            for (name, tag) in [("page.css", "style"), ("page.js", "script")] {
                let file = try String(contentsOfFile: checkout + "/Sources/SocketService/Page/" + name, encoding: .utf8)
                #expect(page.text.contains("<\(tag)>\(file.dropLast())</\(tag)>"), "\(name)")
                let digest = Data(SHA256.hash(data: Data(file.utf8.dropLast()))).base64EncodedString()
                #expect(policy.contains("\(tag)-src 'sha256-\(digest)'"), "\(name)")
            }
        }
    }
}
