import Foundation
import ProgramRunner
import Testing

/// HTTP/1 as clients, proxies and attackers speak it. Nothing here waits on a clock: the server of these tests has an hour's patience, so a
/// connection that ends was ended by a rule.
@Suite(.serialized, .heavy) struct ProtocolTests {
    private let body = #"{"model":"flowers","class":"rose","seed":1,"steps":1}"#

    private func post(_ body: String, _ version: String = "1.1", _ headers: [String] = ["Host: x"]) -> String {
        (["POST /v1/images/generations HTTP/\(version)"] + headers + ["Content-Length: \(body.utf8.count)"]).joined(separator: "\r\n") + "\r\n\r\n" + body
    }

    /// Everything that comes until the server closes.
    private func everything(_ text: String, _ server: Server, halfClosing: Bool = false) throws -> String {
        let connection = try server.connect()
        connection.send(text)
        if halfClosing { shutdown(connection.descriptor, Int32(SHUT_WR)) }
        return try connection.rest()
    }

    private func count(_ answer: String) -> Int { answer.matches(of: #/(?m:^)HTTP/1\.[01] [0-9]{3} /#).count }

    /// Two requests in one breath: after the first that wishes an end, the second is not answered.
    @Test func connectionIsAListInAnyCaseAndOverSeveralLines() throws {
        let server = try Server.shared()
        let second = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        for wish in ["close", "Close", "CLOSE", "TE, close", "keep-alive, Close", "TE\r\nConnection: close", " close , x"] {
            let answer = try everything("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: \(wish)\r\n\r\n" + second, server)
            #expect(count(answer) == 1, "\(wish): \(answer)")
            #expect(answer.lowercased().contains("connection: close"), "\(wish): \(answer)")
        }
        for wish in ["keep-alive", "TE", "closed", "\"close\""] {
            let answer = try everything("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: \(wish)\r\n\r\n" + second, server)
            #expect(count(answer) == 2, "\(wish): \(answer)")
        }
    }

    /// Java's client offers HTTP/2 with its first request; a browser's socket library offers another protocol.
    @Test func anOfferOfAnotherProtocolIsPassedOver() throws {
        let server = try Server.shared()
        let offers = [
            ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAA"], ["Connection: Upgrade", "Upgrade: websocket"],
        ]
        for offer in offers {
            let get = try everything(Server.message("GET", "/healthz", headers: offer), server)
            #expect(get.hasPrefix("HTTP/1.1 200"), "\(get)")
            #expect(get.hasSuffix("ok\n"), "\(get)")
            #expect(get.lowercased().contains("connection: close"), "\(get)")
            #expect(try everything(post(body, "1.1", ["Host: x"] + offer), server).contains("b64_json"))
        }
        let packed = try everything(post("\u{1f}", "1.1", ["Host: x", "Connection: close", "Content-Encoding: gzip"]), server)
        #expect(packed.hasPrefix("HTTP/1.1 415"))
        #expect(packed.contains("'gzip'"))
    }

    @Test func anOldClientIsAnsweredInItsVersion() throws {
        let server = try Server.shared()
        let get = "GET /healthz HTTP/1.0\r\n\r\n"
        let once = try everything(get + get, server)
        #expect(count(once) == 1)
        #expect(once.hasPrefix("HTTP/1.0 200"))
        #expect(once.hasSuffix("\r\n\r\nok\n"))
        let kept = try everything("GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + get, server)
        #expect(count(kept) == 2)
        #expect(kept.lowercased().contains("connection: keep-alive"))
        // A stream has no length: no chunks, and the end of the connection is the end of the body, whatever was asked for.
        let streamed = String(body.dropLast()) + #","stream":true}"#
        for wish in [[], ["Connection: keep-alive"], ["Connection: close"]] {
            let answer = try everything(post(streamed, "1.0", wish), server)
            #expect(answer.hasPrefix("HTTP/1.0 200"), "\(wish): \(answer.prefix(300))")
            #expect(!answer.lowercased().contains("transfer-encoding"), "\(wish): \(answer.prefix(300))")
            let events = SentEvent.all(in: answer.components(separatedBy: "\r\n\r\n").last ?? "")
            #expect(events.last?.name == "image_generation.summary")
        }
    }

    @Test func anExpectationIsMetAtOnceOrRefused() throws {
        let server = try Server.shared()
        for expectation in ["100-continue", "100-Continue"] {
            let connection = try server.connect()
            connection.send("POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nExpect: \(expectation)\r\nContent-Length: \(body.utf8.count)\r\n\r\n")
            #expect(try connection.line() == "HTTP/1.1 100 Continue")
            _ = try connection.line()
            connection.send(body)
            #expect(try connection.response().status == 200)
        }
        let other = try everything(post(body, "1.1", ["Host: x", "Expect: a-miracle"]), server)
        #expect(other.hasPrefix("HTTP/1.1 417"))
        #expect(other.contains("bad_expectation"))
        // A body that will be refused is not asked for.
        let large = try server.connect()
        large.send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        #expect(try large.response().status == 413)
        // Behind another request it waits its turn.
        let behind = try server.connect()
        behind.send(Server.message("GET", "/healthz") + "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        #expect(try behind.response().text == "ok\n")
        #expect(try behind.line() == "HTTP/1.1 100 Continue")
        _ = try behind.line()
        behind.send("{}")
        #expect(try behind.response().status == 400)
    }

    @Test func oneHostIsNeeded() throws {
        let server = try Server.shared()
        for (hosts, words) in [
            ("", "needs a Host"), ("Host: a\r\nHost: a\r\n", "more than one Host"), ("Host: a b\r\n", "Host header"), ("Host: a/b\r\n", "Host header"),
        ] {
            let answer = try everything("GET /healthz HTTP/1.1\r\n\(hosts)\r\n" + Server.message("GET", "/healthz"), server)
            #expect(count(answer) == 1, "\(hosts): \(answer)")
            #expect(answer.hasPrefix("HTTP/1.1 400"), "\(hosts): \(answer)")
            #expect(answer.contains(words), "\(hosts): \(answer)")
            #expect(answer.contains("malformed_request"), "\(hosts): \(answer)")
        }
        // Over the Unix socket any name will do, also none.
        for host in ["anything", "", "[::1]:80"] {
            #expect(try everything("GET /healthz HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n", server).hasPrefix("HTTP/1.1 200"), "\(host)")
        }
    }

    @Test func anotherMethodIs405WithAllow() throws {
        let server = try Server.shared()
        for (method, path, allow) in [
            ("GET", "/v1/images/generations", "OPTIONS, POST"), ("PUT", "/v1/jobs", "GET, HEAD, OPTIONS, POST"), ("POST", "/healthz", "GET, HEAD, OPTIONS"),
            ("PATCH", "/v1/jobs/job-1", "DELETE, GET, HEAD, OPTIONS"), ("DELETE", "/v1/models/flowers", "GET, HEAD, OPTIONS"),
            ("HEAD", "/v1/images/generations", "OPTIONS, POST"),
        ] {
            let connection = try server.connect()
            connection.send(Server.message(method, path))
            let head = try connection.head()
            #expect(head.status == 405, "\(method) \(path): \(head)")
            #expect(head.headers["allow"] == allow, "\(method) \(path): \(head)")
        }
        let options = try server.call("OPTIONS", "/v1/jobs")
        #expect(options.status == 204)
        #expect(options.headers["allow"] == "GET, HEAD, OPTIONS, POST")
        #expect(options.body.isEmpty)
        #expect(try server.call("OPTIONS", "*").status == 204)
        #expect(try server.call("OPTIONS", "/nothing").status == 404)
        #expect(try server.get("/v1/images/generations").code == "method_not_allowed")
    }

    @Test func aHalfClosedRequestIsAnswered() throws {
        let server = try Server.shared()
        let answer = try everything(post(body), server, halfClosing: true)
        #expect(answer.hasPrefix("HTTP/1.1 200"))
        #expect(answer.contains("b64_json"))
        let streamed = try everything(post(String(body.dropLast()) + #","stream":true}"#), server, halfClosing: true)
        #expect(streamed.contains("image_generation.summary"))
        // Half of a body is no request.
        let cut = try everything("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}", server, halfClosing: true)
        #expect(cut.hasPrefix("HTTP/1.1 400"))
        #expect(cut.contains("malformed_request"))
    }

    /// Each is answered at once, in words, with 400 or 413 and the connection's end.
    @Test func malformedMessagesAreAnsweredInWords() throws {
        let server = try Server.shared()
        let start = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\n"
        let chunked = start + "Transfer-Encoding: chunked\r\n\r\n"
        let long = String(repeating: "a", count: 1 << 20)
        for (text, status) in [
            (chunked + "zz\r\n", 400), (chunked + "5\r\nhelloXX", 400), (chunked + "-5\r\n", 400), (chunked + "fffffffffffffffff\r\n", 400),
            (chunked + "fffff;a=b\r\n", 413), (chunked + "2;\(long)", 400), (chunked + String(repeating: "1\r\n \r\n", count: 6000), 400),
            (chunked + "2\r\n{}\r\n0\r\nX-Trailer: \(long)\r\n\r\n", 400),
            (start + "X-Long: \(long)\r\n\r\n", 400), (start + (0..<20_000).map { "X-\($0): 1\r\n" }.joined() + "\r\n", 400),
            ("GET /\(long) HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (start + "Content-Length: 9223372036854775808\r\n\r\n", 413), (start + "Content-Length: 9223372036854775807\r\n\r\n", 413),
            (start + "Content-Length: 18446744073709551616\r\n\r\n", 400), (start + "Content-Length: 99999999999999999999999999\r\n\r\n", 400),
            (start + "Content-Length: -1\r\n\r\n", 400), (start + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
            (start + "Content-Length: 2, 2\r\n\r\n{}", 400), (start + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
            (start + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
            (start + "Content-Length: x\r\n\r\n", 400), ("nonsense\r\n\r\n", 400), ("GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
            ("FROB / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ] {
            let answer = try everything(text + Server.message("GET", "/healthz"), server)
            #expect(count(answer) == 1, "\(text.prefix(90).debugDescription): \(answer.prefix(200))")
            #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(text.prefix(90).debugDescription): \(answer.prefix(200))")
            #expect(answer.contains(#""error":{"code":""#), "\(text.prefix(90).debugDescription): \(answer)")
            #expect(answer.lowercased().contains("connection: close"), "\(text.prefix(90).debugDescription): \(answer)")
        }
        #expect(try server.get("/healthz").status == 200)
    }

    /// A page whose name was made to point here (DNS rebinding) is refused; counts are told to clients alone.
    @Test func overTCPAForeignNameIsRefusedAndNothingIsCounted() throws {
        let folder = try Server.makeFolder(["flowers"])
        let file = folder + "/token"
        #expect(FileManager.default.createFile(atPath: file, contents: Data("a-secret-of-24-characters\n".utf8), attributes: [.posixPermissions: 0o600]))
        let server = try Server(arguments: ["--port", "0", "--token-file", file, "--allowed-hosts", "gpu.example"], folder: folder)
        defer { server.end() }
        let port = try #require(server.port)
        func ask(_ host: String, _ path: String = "/readyz", _ headers: [String] = [], version: String = "1.1") throws -> Reply {
            let connection = try RawConnection(port: port)
            connection.send((["GET \(path) HTTP/\(version)"] + (host.isEmpty ? [] : ["Host: \(host)"]) + headers).joined(separator: "\r\n") + "\r\n\r\n")
            return try connection.response()
        }
        let token = "Authorization: Bearer a-secret-of-24-characters"
        for host in ["localhost:\(port)", "127.0.0.1:\(port)", "[::1]:\(port)", "LOCALHOST", "gpu.example:\(port)"] {
            let open = try ask(host)
            #expect(open.status == 200, "\(host): \(open.text)")
            #expect(open.json.keys.sorted() == ["status"], "\(host): \(open.text)")
            #expect(try ask(host, "/readyz", [token]).json["queue_capacity"] as? Int == 256)
            #expect(try ask(host, "/metrics").status == 401)
        }
        for host in ["evil.example", "evil.example:\(port)", "localhost.evil.example:\(port)", "127.0.0.1.evil.example"] {
            for path in ["/", "/healthz", "/readyz", "/v1/models"] {
                let reply = try ask(host, path, [token])
                #expect(reply.status == 421, "\(host) \(path): \(reply.text)")
                #expect(reply.code == "foreign_host", "\(host) \(path): \(reply.text)")
            }
        }
        let elsewhere = try ask("localhost", "http://evil.example/readyz")
        #expect(elsewhere.status == 421, "\(elsewhere.text)")
        #expect(elsewhere.text.contains("not called 'evil.example'"), "\(elsewhere.text)")
        #expect(try ask("", version: "1.0").status == 200)
        // Over TCP too a client that only stopped sending is answered.
        let half = try RawConnection(port: port)
        half.send(post(body, "1.1", ["Host: localhost", token]))
        shutdown(half.descriptor, Int32(SHUT_WR))
        #expect(try half.rest().contains("HTTP/1.1 200 OK"))
        let second = try run(
            Server.program("adapterd"), ["--store", folder + "/store", "--socket", folder + "/other/d.sock", "--port", "\(port)", "--token-file", file])
        #expect(second.code == 11, "\(second)")
        #expect(second.errors.contains("Port \(port) of 127.0.0.1 is in use"), "\(second)")
    }

    /// What OpenAI's clients send of their own accord.
    @Test func openAIsFieldsAreTakenWhereTheyAskForNothingElse() throws {
        let server = try Server.shared()
        func with(_ field: String, _ value: String) throws -> Reply { try server.generate(String(body.dropLast()) + ",\"\(field)\":\(value)}") }
        let plain = try server.generate(body).hashes
        for (field, values) in [
            ("quality", ["\"auto\"", "\"standard\"", "null"]), ("background", ["\"auto\"", "\"opaque\""]), ("moderation", ["\"auto\"", "\"low\""]),
            ("style", ["\"vivid\"", "\"natural\""]), ("output_format", ["\"png\""]), ("response_format", ["\"b64_json\""]),
            ("size", ["\"auto\"", "\"32x32\""]),
            ("output_compression", ["100"]), ("user", ["\"ann\""]), ("partial_images", ["0"]), ("stream", ["false"]),
        ] {
            for value in values { #expect(try with(field, value).hashes == plain, "\(field) \(value)") }
        }
        for (field, value) in [
            ("quality", "\"hd\""), ("quality", "\"high\""), ("background", "\"transparent\""), ("moderation", "\"none\""), ("style", "\"cubist\""),
            ("output_format", "\"webp\""), ("output_compression", "50"), ("response_format", "\"url\""), ("size", "\"1024x1024\""), ("size", "\"big\""),
        ] {
            let reply = try with(field, value)
            #expect(reply.status == 400, "\(field) \(value): \(reply.text)")
            #expect(reply.error["param"] as? String == field, "\(field) \(value): \(reply.text)")
        }
        #expect(try with("size", "\"1024x1024\"").text.contains("32x32"))
        // A bad prompt is named as such.
        let wrong = try server.generate(#"{"model":"flowers","prompt":"rosse"}"#)
        #expect(wrong.code == "class_not_found")
        #expect(wrong.error["param"] as? String == "prompt")
        #expect(try server.generate(#"{"model":"flowers","class":"rosse"}"#).error["param"] as? String == "class")
    }

    @Test func aForeignSizeIsTheOperatorsChoice() throws {
        let server = try Server(["flowers"], arguments: ["--foreign-size", "nearest"])
        defer { server.end() }
        let reply = try server.generate(String(body.dropLast()) + #","size":"1024x1024"}"#)
        #expect(reply.status == 200)
        #expect(reply.json["size"] as? String == "32x32")
        #expect(try reply.hashes == server.generate(body).hashes)
        for size in ["big", "1024", "0x32", "-1x5", "32x32x32"] {
            #expect(try server.generate(String(body.dropLast()) + ",\"size\":\"\(size)\"}").error["param"] as? String == "size", "\(size)")
        }
    }

    @Test func jobsAreListed() throws {
        let server = try Server(["flowers"])
        defer { server.end() }
        #expect(try server.get("/v1/jobs").text == "{\"data\":[],\"object\":\"list\"}\n")
        let ids = try (0..<3).map { _ in try #require(server.post("/v1/jobs", body).json["id"] as? String) }
        for id in ids { _ = try server.get("/v1/jobs/\(id)/events") }
        let list = try #require(server.get("/v1/jobs").json["data"] as? [[String: Any]])
        #expect(list.compactMap { $0["id"] as? String } == ids.reversed())
        #expect(list.allSatisfy { $0["status"] as? String == "completed" && $0["model"] as? String == "flowers" && $0["result"] == nil })
    }
}
