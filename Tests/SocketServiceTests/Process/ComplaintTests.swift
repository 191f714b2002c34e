import Foundation
import ProgramRunner
import Testing

/// What users of such servers complain of, most of it about correctness: each complaint, and that it does not apply here.
@Suite(.serialized, .heavy) struct ComplaintTests {
    private func with(_ server: Server, _ body: (Server) throws -> Void) throws {
        defer { server.end() }
        try body(server)
    }

    private func onShared(_ body: (Server) throws -> Void) throws { try body(Server.shared()) }

    private let rose = #"{"model":"flowers","class":"rose","seed":5,"steps":3}"#
    private let long = #"{"model":"flowers","class":"rose","n":64,"steps":120}"#

    /// 1. Wrong adapter answers under concurrency, no error.
    @Test func wrongAdapterAnswersUnderConcurrency() throws {
        try onShared { server in
            let bodies = ["flowers", "birds", "base"].map { #"{"model":"\#($0)","class":"class:1","n":2,"seed":9,"steps":4}"# }
            let solo = try bodies.map { try server.generate($0) }
            #expect(Set(solo.map { $0.hashes }).count == 3)
            let connections = try (0..<12).map { _ in try server.connect() }
            for (k, connection) in connections.enumerated() {
                connection.send(Server.message("POST", "/v1/images/generations", bodies[k % 3]))
            }
            for (k, connection) in connections.enumerated() {
                let reply = try connection.response()
                #expect(reply.hashes == solo[k % 3].hashes)
                #expect(reply.usage["effective_digest"] as? String == solo[k % 3].usage["effective_digest"] as? String)
            }
        }
    }

    /// 2. Adapter loads "successfully" and does nothing.
    @Test func adapterLoadsAndDoesNothing() throws {
        try onShared { server in
            let base = try server.generate(#"{"model":"base","class":"class:0","seed":5,"steps":3}"#)
            let adapted = try server.generate(#"{"model":"flowers","class":"class:0","seed":5,"steps":3}"#)
            #expect(base.status == 200)
            #expect(adapted.status == 200)
            #expect(base.hashes != adapted.hashes)
            let shown = try server.get("/v1/adapters/flowers").json["digest"] as? String
            #expect(adapted.usage["effective_digest"] as? String == shown)
            #expect(base.usage["effective_digest"] as? String == base.usage["base_digest"] as? String)
        }
    }

    /// 3. The previous adapter's values remain, are applied twice, or are not removed.
    @Test func previousAdaptersValuesRemain() throws {
        try with(Server(arguments: ["--domains", "1"])) { server in
            let first = try server.generate(rose)
            let base = try server.generate(#"{"model":"base","class":"class:0","seed":5,"steps":3}"#)
            #expect(try server.generate(#"{"model":"birds","class":"class:0","seed":5,"steps":3}"#).status == 200)
            #expect(try server.generate(rose).hashes == first.hashes)
            #expect(try server.generate(#"{"adapters":[],"class":"class:0","seed":5,"steps":3}"#).hashes == base.hashes)
        }
    }

    /// 4. Unload hangs for ever or unloads nothing.
    @Test func unloadHangsOrUnloadsNothing() throws {
        try with(Server()) { server in
            let connection = try server.connect()
            connection.send(
                Server.message("POST", "/v1/images/generations", #"{"model":"flowers","class":"rose","n":8,"steps":60,"stream":true}"#))
            _ = try connection.head()
            while case let chunk = try #require(try connection.chunk()), !String(decoding: chunk, as: UTF8.self).contains(#""step":1,"#) {}
            // Taken away while it runs: at once, and the running request keeps what it was bound to.
            #expect(try server.adapterctl("remove", "flowers", "--yes") == 0)
            #expect(try server.generate(rose).code == "adapter_not_found")
            var rest = ""
            while let chunk = try connection.chunk() { rest += String(decoding: chunk, as: UTF8.self) }
            let events = SentEvent.all(in: rest)
            #expect(events.filter { $0.name == "image_generation.completed" }.count == 8)
            #expect(events.last?.name == "image_generation.summary")
        }
    }

    /// 5. Same name, new weights: stale results. And a newly added adapter is not listed until its first use.
    @Test func sameNameNewWeights() throws {
        try with(Server()) { server in
            let request = #"{"model":"flowers","class":"class:2","seed":5,"steps":3}"#
            let old = try server.generate(request)
            let digest = try #require(old.usage["effective_digest"] as? String)
            #expect(try server.adapterctl("add", "flowers", Server.shipped("cars"), "--replace") == 0)
            let new = try server.generate(request)
            #expect(new.hashes != old.hashes)
            #expect(new.usage["effective_digest"] as? String != digest)
            let pinned = try server.generate(#"{"model":"flowers@\#(digest)","class":"class:2","seed":5,"steps":3}"#)
            #expect(pinned.hashes == old.hashes)
            #expect(pinned.usage["effective_digest"] as? String == digest)
            #expect(try server.generate(#"{"model":"flowers@0123456789","class":"class:2"}"#).status == 409)
            // By either spelling of the address, also after the name has moved on.
            for at in ["@", "%40"] { #expect(try server.get("/v1/adapters/flowers\(at)\(digest)").json["digest"] as? String == digest) }
            #expect(try server.adapterctl("add", "food", Server.shipped("food")) == 0)
            #expect(try server.get("/v1/models").text.contains(#""id":"food""#))
        }
    }

    /// 6. Swap is slow or triggers a reload, and nobody says so.
    @Test func swapTimeIsHidden() throws {
        try with(Server(arguments: ["--domains", "1"])) { server in
            for model in ["flowers", "birds", "flowers"] {
                let usage = try server.generate(#"{"model":"\#(model)","class":"class:0","steps":1}"#).usage
                #expect(try #require(usage["swap_us"] as? Double) > 0)
                for key in ["queue_ms", "sample_ms", "decode_ms", "steps", "batch_rows"] { #expect(usage[key] is Double) }
            }
            let metrics = try server.get("/metrics").text
            // Two came from the store; three overwrote the One adapter slot.
            #expect(metrics.contains(#"difffit_swap_seconds_count{kind="store"} 2"#))
            #expect(metrics.contains(#"difffit_swap_seconds_count{kind="resident"} 3"#))
        }
    }

    /// 7. Memory grows per swap and is not returned.
    @Test func memoryGrowsPerSwap() throws {
        try with(Server(arguments: ["--resident-mb", "0", "--domains", "1"])) { (server) throws in
            for model in ["flowers", "birds", "flowers", "birds"] {
                #expect(try server.generate(#"{"model":"\#(model)","class":"class:0","steps":1}"#).status == 200)
                #expect(try server.get("/metrics").text.contains("difffit_resident_bytes 0\n"))
            }
        }
    }

    /// 8. Several adapters with weights, per request, and the mathematics right.
    @Test func severalAdaptersPerRequest() throws {
        try onShared { server in
            func sample(_ what: String, _ name: String = "flowers/rose") throws -> Reply {
                try server.generate(#"{\#(what),"class":"\#(name)","seed":5,"steps":3}"#)
            }
            let single = try sample(#""adapters":[{"name":"flowers","weight":1}]"#, "rose")
            #expect(try single.hashes == server.generate(rose).hashes)
            // One meaning, however it is written.
            let mixed = try sample(#""model":"0.7*flowers+0.3*birds","metadata":false"#)
            #expect(mixed.status == 200)
            #expect(mixed.hashes != single.hashes)
            let x = try #require(mixed.json["x_difffit"] as? [String: Any])
            let parts = try #require(x["adapters"] as? [[String: Any]])
            #expect(Set(parts.compactMap { $0["name"] as? String }) == ["flowers", "birds"])
            #expect(parts.compactMap { $0["weight"] as? Double }.reduce(0, +) == 1)
            let recipe = try #require(x["recipe"] as? String)
            for same in [
                #""model":"\#(recipe)""#, #""model":" .3*birds + 7e-1*flowers ""#,
                #""adapters":[{"name":"birds","weight":0.3},{"name":"flowers","weight":0.7}]"#,
                #""schedule":[[0.5,"0.7*flowers+0.3*birds"],[0.5,"0.3*birds+0.7*flowers"]]"#,
            ] {
                #expect(try sample(same + #","metadata":false"#).hashes == mixed.hashes, "\(same)")
            }
            // Composing in the store gives what the request gives.
            #expect(try server.adapterctl("compose", "both", "0.7*flowers+0.3*birds") == 0)
            #expect(try server.get("/v1/adapters/both").json["digest"] as? String == x["effective_digest"] as? String)
            #expect(try sample(#""model":"both","metadata":false"#).hashes == mixed.hashes)
            #expect(try server.adapterctl("remove", "both", "--yes") == 0)
            let understood = try server.get("/v1/recipes/0.7*flowers%2B0.3*birds").json
            #expect(understood["recipe"] as? String == recipe)
            #expect((understood["classes"] as? [String])?.contains("birds/owl") == true)
            #expect(try server.get("/metrics").text.contains(#"difffit_swap_seconds_count{kind="compose"}"#))
        }
    }

    /// 8b. What is wrong with a recipe is said at its place; guidance and strength too.
    @Test func aWrongRecipeIsShown() throws {
        try onShared { server in
            for (body, code, words) in [
                (#""model":"flowers+*birds""#, "bad_reference", "character 9"), (#""model":"flowers-0.3*birds""#, "bad_reference", "space before a minus"),
                (#""model":"flowers@0-9""#, "invalid_value", "no block 9"), (#""model":"score(flowers+birds)""#, "invalid_value", "add up to 2"),
                (#""model":"flowers+nobody""#, "adapter_not_found", "nobody"), (#""model":"flowers","adapters":[]"#, "invalid_value", "one of them"),
                (#""schedule":[[0.5,"flowers"]]"#, "invalid_value", "0.5"), (#""schedule":[["flowers"]]"#, "invalid_value", "schedule"),
                (#""adapters":[{"name":"../x"}]"#, "invalid_value", "no adapter"), (#""model":"flowers","labels_from":"birds""#, "invalid_value", "flowers"),
                (#""model":"flowers","strength":11"#, "invalid_value", "strength"),
                (#""model":"flowers","guidance_interval":[1,0]"#, "invalid_value", "lower first"),
                (#""model":"flowers","guidance":"dogma""#, "invalid_value", "cfg, domain, none"),
                (#""model":"flowers","partial_images":2"#, "invalid_value", "stream"),
                (
                    #""model":"\#((0..<40).map { "\(Double($0 + 1) / 100)*flowers>\(Double($0 + 1) / 50)" }.joined(separator: ">"))>flowers""#, "invalid_value",
                    "are held at a time"
                ),
            ] {
                let reply = try server.generate(#"{\#(body),"class":"rose","steps":2}"#)
                #expect(reply.code == code, "\(body): \(reply.text)")
                #expect(reply.text.contains(words), "\(body): \(reply.text)")
            }
            let long = try server.generate(#"{"model":"flowers","class":"\#(String(repeating: "a", count: 2000))","steps":2}"#)
            #expect(long.code == "invalid_value")
            #expect(long.text.contains("longer than 1024"))
            #expect(try server.generate(#"{"model":"flowers+birds","class":"ouwl","steps":2}"#).code == "class_not_found")
        }
    }

    /// 8c. Every kind of guidance, strength and class runs, each is another picture, and strength 0 is the base's.
    @Test func guidanceStrengthAndClassesAreFields() throws {
        try onShared { server in
            func hashes(_ fields: String) throws -> [String] {
                let reply = try server.generate(#"{"seed":5,"steps":3,"metadata":false,\#(fields)}"#)
                #expect(reply.status == 200, "\(fields): \(reply.text)")
                return reply.hashes
            }
            let kinds = [
                #""model":"flowers","class":"rose""#, #""model":"flowers","class":"rose","guidance":"domain""#,
                #""model":"flowers","class":"rose","guidance":"none""#, #""model":"flowers","class":"rose","guidance_interval":[0.2,0.8]"#,
                #""model":"flowers","class":"rose","strength":0.5"#, #""model":"flowers","class":"0.5*rose+0.5*daisy""#,
                #""model":"flowers>0.5>birds","class":"rose,owl""#, #""model":"score(0.5*flowers+0.5*birds)","class":"rose,owl""#,
                #""model":"flowers+birds","class":"0.5*rose+0.5*owl","guidance":"domain","guidance_interval":[0.1,1]"#,
            ]
            #expect(Set(try kinds.flatMap { kind throws in try hashes(kind) }).count == kinds.count)
            let (none, base) = (try hashes(#""model":"flowers","class":"rose","strength":0"#), try hashes(#""model":"base","class":"null""#))
            #expect(none == base)
            let (full, whole) = (try hashes(kinds[0] + #","strength":1"#), try hashes(#""model":"flowers@0-3+flowers@4-7","class":"class:0""#))
            #expect(full == whole)
        }
    }

    /// 9. One domain's long work starves another's; batches are split by adapter.
    @Test func domainsStarveEachOther() throws {
        try with(Server(arguments: ["--rows", "8"])) { server in
            let job = try server.post("/v1/jobs", long)
            let id = try #require(job.json["id"] as? String)
            #expect(try server.generate(#"{"model":"birds","class":"class:0","n":2,"steps":3}"#).status == 200)
            #expect(try server.get("/v1/jobs/\(id)").json["status"] as? String == "running")
            let metrics = try server.get("/metrics").text
            let mixed = try #require(
                metrics.firstMatch(of: /difffit_batch_distinct_adapters_bucket\{le="1"\} ([0-9]+)\n.*le="2"\} ([0-9]+)/))
            let (alone, upToTwo) = (try #require(Int(mixed.1)), try #require(Int(mixed.2)))
            #expect(upToTwo > alone)
            #expect(try server.delete("/v1/jobs/\(id)").status == 202)
        }
    }

    /// 10. Same seed, different image with another batch size, slot or count; "give me only image 3".
    @Test func sameSeedDifferentImage() throws {
        try onShared { server in
            let all = try server.generate(#"{"model":"flowers","class":"rose","n":4,"seed":18446744073709551615,"steps":3}"#)
            #expect(Set(all.hashes).count == 4)
            let single = try (0..<4).flatMap {
                try server.generate(#"{"model":"flowers","class":"rose","seed":18446744073709551615,"index_offset":\#($0),"steps":3}"#)
                    .hashes
            }
            #expect(single == all.hashes)
            #expect(all.images.compactMap { $0["index"] as? Int } == [0, 1, 2, 3])
            #expect(all.text.contains(#""seed":18446744073709551615"#))
        }
    }

    /// 11. Cannot cancel; work continues after disconnect.
    @Test(arguments: [false, true]) func workContinuesAfterDisconnect(isStreamed: Bool) throws {
        try with(Server()) { server in
            let connection = try server.connect()
            let body = isStreamed ? long.replacing("}", with: #","stream":true}"#) : long
            connection.send(Server.message("POST", "/v1/images/generations", body))
            // Not before it runs: leaving earlier is another path.
            try server.wait { $0["active_images"] as? Int != 0 }
            connection.close()
            #expect(server.waitForLog("not sampled"))
            let ready = try server.get("/readyz").json
            #expect(ready["active_images"] as? Int == 0)
            #expect(ready["queued_images"] as? Int == 0)
            #expect(try server.get("/metrics").text.contains("difffit_cancelled_total{stage="))
        }
    }

    /// 11. And the regret case: a job outlives its connection, and can be cancelled.
    @Test func aJobDiesWithItsConnection() throws {
        try onShared { server in
            let job = try server.post("/v1/jobs", #"{"model":"flowers","class":"rose","n":2,"seed":5,"steps":3}"#)
            #expect(job.status == 202)
            let id = try #require(job.json["id"] as? String)
            let events = SentEvent.all(in: try server.get("/v1/jobs/\(id)/events").text)
            #expect(events.last?.name == "image_generation.summary")
            let ended = try server.get("/v1/jobs/\(id)").json
            #expect(ended["status"] as? String == "completed")
            let result = (ended["result"] as? [String: Any])?["data"] as? [[String: Any]] ?? []
            let waited = try server.generate(#"{"model":"flowers","class":"rose","n":2,"seed":5,"steps":3}"#)
            #expect(result.compactMap { $0["sha256"] as? String } == waited.hashes)
            #expect(waited.hashes.count == 2)
            let late = SentEvent.all(in: try server.get("/v1/jobs/\(id)/events").text)
            #expect(late.filter { $0.name == "image_generation.completed" }.count == 2)
            #expect(late.last?.name == "image_generation.summary")
            #expect(try server.delete("/v1/jobs/\(id)").status == 409)

            let other = try #require(server.post("/v1/jobs", long).json["id"] as? String)
            #expect(try server.delete("/v1/jobs/\(other)").status == 202)
            let last = SentEvent.all(in: try server.get("/v1/jobs/\(other)/events").text).last
            #expect(last?.name == "error")
            #expect((last?.data["error"] as? [String: Any])?["code"] as? String == "cancelled")
            #expect(try server.get("/v1/jobs/\(other)").json["status"] as? String == "cancelled")
        }
    }

    /// 12. Cannot see what is loaded, queued or how long it waited.
    @Test func nothingToSee() throws {
        try with(Server(arguments: ["--rows", "2"])) { server in
            let metrics = try server.get("/metrics")
            #expect(metrics.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
            for line in [
                #"difffit_adapter_resident{adapter="birds"} 0"#, "difffit_queue_depth 0", "difffit_queue_capacity 256",
                "difffit_adapters 2",
            ] {
                #expect(metrics.text.contains(line + "\n"))
            }
            let first = try #require(server.post("/v1/jobs", long).json["id"] as? String)
            // A short job does not wait long for its turn: its place is told when it is taken.
            #expect(try server.post("/v1/jobs", rose).json["queue_position"] is Int)
            #expect(try #require(server.get("/readyz").json["queued_images"] as? Int) > 0)
            #expect(try server.delete("/v1/jobs/\(first)").status == 202)
        }
    }

    /// 13. Unsafe load paths: no reference is ever a path, a digest least of all.
    @Test func unsafeLoadPaths() throws {
        try onShared { server in
            for reference in [
                "../../etc/passwd", "/etc/passwd", "flowers/../birds", "file:///etc/passwd", "https://example.org/x", "base\\u0000",
                "flowers@../../x", "FLOWERS", "",
            ] {
                let reply = try server.generate(#"{"model":"\#(reference)","class":"rose"}"#)
                #expect(reply.status == 400, "\(reference)")
            }
            for path in ["/v1/adapters/..%2f..%2fetc%2fpasswd", "/../../etc/passwd", "/v1/load_lora_adapter", "/v1/adapters/%00"] {
                #expect([400, 404].contains(try server.get(path).status), "\(path)")
            }
            for path in ["/v1/adapters", "/v1/models", "/metrics"] { #expect(try server.post(path, "{}").status == 405) }
            #expect(try server.delete("/v1/adapters/flowers").status == 405)
            #expect(try server.get("/v1/adapters/flowers").status == 200)
        }
    }

    /// 13. And unprotected routes: over TCP the token or nothing.
    @Test func unprotectedRoutes() throws {
        let folder = try Server.makeFolder(["flowers"])
        let file = folder + "/token"
        #expect(
            FileManager.default.createFile(
                atPath: file, contents: Data("a-secret-of-24-characters\n".utf8), attributes: [.posixPermissions: 0o600]))
        try with(Server(arguments: ["--port", "0", "--token-file", file], folder: folder)) { server in
            let port = try #require(server.port)
            func status(_ method: String, _ path: String, _ headers: [String] = []) throws -> Int {
                let connection = try RawConnection(port: port)
                connection.send(Server.message(method, path, method == "POST" ? "{}" : nil, headers: headers))
                return try connection.response().status
            }
            for (method, path) in [
                ("GET", "/metrics"), ("GET", "/v1/models"), ("GET", "/v1/models/flowers"), ("GET", "/v1/adapters"), ("GET", "/v1/adapters/flowers"),
                ("GET", "/v1/capabilities"),
                ("POST", "/v1/images/generations"), ("POST", "/v1/jobs"), ("GET", "/v1/jobs/x"), ("GET", "/v1/jobs/x/events"),
                ("DELETE", "/v1/jobs/x"),
            ] {
                #expect(try status(method, path) == 401, "\(method) \(path)")
                #expect(try status(method, path, ["Authorization: Bearer wrong"]) == 401)
                #expect(try status(method, path, ["Authorization: Bearer a-secret-of-24-characters"]) != 401)
            }
            for path in ["/", "/healthz", "/readyz"] { #expect(try status("GET", path) == 200) }
            #expect(!server.log.contains("a-secret"))
        }
    }

    /// 14. Store hygiene: orphans, no prune, no machine output. All of it beside a running server.
    @Test func orphansStayInTheStore() throws {
        try with(Server()) { server in
            #expect(try server.adapterctl("remove", "birds", "--yes") == 0)
            let before = try server.answer("prune", "--dry-run", "--json")
            let pruned = try server.answer("prune", "--json")
            #expect(before.text == pruned.text)
            #expect(pruned.text.contains(#""adapters":[""#))
            #expect(try server.answer("prune", "--json").text.contains(#""adapters":[],"bytes":0,"files":[]"#))
            for verb in [
                ["list"], ["status"], ["verify"], ["show", "flowers"], ["base", "list"], ["add", "flowers", Server.shipped("flowers")], ["show", "birds"],
            ] {
                let object = try JSONSerialization.jsonObject(with: Data(try server.answer(verb + ["--json"]).text.utf8)) as? [String: Any]
                #expect(object?["schema_version"] as? Int == 1, "\(verb)")
                #expect((object?["data"] != nil) == (verb != ["show", "birds"]), "\(verb)")
            }
            #expect(try server.generate(rose).status == 200)
            #expect(try server.adapterctl("verify", "--golden") == 0)
        }
    }

    /// 15. Images cannot be traced to their settings, or leak settings.
    @Test func imagesCannotBeTraced() throws {
        try onShared { server in
            let text = try firstFile(server.generate(rose))
            for part in [
                #""seed":5"#, #""index":0"#, #""steps":3"#, #""adapter":"flowers""#, #""class":"rose""#, #""sampler":"multistep""#,
                #""digest":""#,
            ] {
                #expect(text.contains(part), "\(part)")
            }
            #expect(!text.contains(server.folder))
            #expect(!text.contains(NSUserName()))
            let bare = try firstFile(server.generate(rose.replacing("}", with: #","metadata":false}"#)))
            #expect(!bare.contains("flowers"))
            #expect(bare.contains("IHDR"))
        }
    }

    /// The bytes of the first picture, as text.
    private func firstFile(_ reply: Reply) throws -> String {
        let base64 = try #require(reply.images.first?["b64_json"] as? String)
        return String(decoding: try #require(Data(base64Encoded: base64)), as: UTF8.self)
    }

    /// Also heard: the adapter is shown under the base's name in replies; a wrong name falls back to the base.
    @Test func unknownNamesFallBackToTheBase() throws {
        try onShared { server in
            let reply = try server.generate(rose)
            #expect((reply.usage["adapters"] as? [[String: Any]])?.first?["name"] as? String == "flowers")
            let wrong = try server.generate(#"{"model":"flowrs","class":"rose"}"#)
            #expect(wrong.status == 404)
            #expect(wrong.code == "adapter_not_found")
            #expect((wrong.error["message"] as? String)?.contains("flowers") == true)
            let noClass = try server.generate(#"{"model":"flowers","class":"rosse"}"#)
            #expect(noClass.status == 400)
            #expect(noClass.code == "class_not_found")
            #expect((noClass.error["message"] as? String)?.contains("rose") == true)
            #expect(try server.generate(#"{"model":"flowers"}"#).code == "missing_field")
            #expect(try server.generate(#"{"class":"rose"}"#).code == "missing_field")
            #expect(try server.generate(#"{"model":"flowers","prompt":" "}"#).error["param"] as? String == "prompt")
            #expect((try server.generate(#"{"model":"Flowers","class":"rose"}"#).error["message"] as? String)?.hasSuffix("did you mean flowers?") == true)
        }
    }
}
