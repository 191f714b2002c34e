import Foundation
import ProgramRunner
import Testing

/// What is bounded, and how a client hears of it.
@Suite(.serialized, .heavy) struct LimitTests {
    private func with(_ server: Server, _ body: (Server) throws -> Void) throws {
        defer { server.end() }
        try body(server)
    }

    private func onShared(_ body: (Server) throws -> Void) throws { try body(Server.shared()) }

    private let long = #"{"model":"flowers","class":"rose","n":4,"steps":1000}"#

    @Test func aFullQueueIs429WithRetryAfter() throws {
        try with(Server(arguments: ["--rows", "2", "--queue", "4"])) { server in
            #expect(try server.post("/v1/jobs", long).status == 202)
            try server.wait { $0["active_images"] as? Int != 0 }
            #expect(try server.post("/v1/jobs", #"{"model":"flowers","class":"rose","n":1}"#).status == 202)
            let refused = try server.generate(#"{"model":"flowers","class":"rose","n":4}"#)
            #expect(refused.status == 429)
            #expect(refused.code == "queue_full")
            #expect(Int(refused.headers["retry-after"] ?? "") ?? 0 > 0)
            #expect(try server.get("/metrics").text.contains(#"difffit_rejected_total{reason="queue_full"} 1"#))
        }
    }

    @Test func oneClientsShareIs429AndAnotherClientIsServed() throws {
        try with(Server(arguments: ["--rows", "2", "--client-share", "4"])) { server in
            // Bob waits for one of Ann's images, so they are shorter than elsewhere.
            #expect(try server.post("/v1/jobs", #"{"model":"flowers","class":"rose","n":4,"steps":200,"user":"ann"}"#).status == 202)
            let refused = try server.generate(#"{"model":"flowers","class":"rose","n":4,"user":"ann"}"#)
            #expect(refused.status == 429)
            #expect(refused.code == "client_share_full")
            #expect(try server.generate(#"{"model":"flowers","class":"rose","steps":2,"user":"bob"}"#).status == 200)
        }
    }

    /// However many connections a peer opens, what names no user is one client.
    @Test func connectionsThatNameNobodyShareOneShare() throws {
        try with(Server(arguments: ["--rows", "2", "--client-share", "4"])) { server in
            let single = long.replacing(#""n":4"#, with: #""n":1"#)
            #expect(try server.post("/v1/jobs", single).status == 202)
            try server.wait { $0["active_images"] as? Int != 0 }
            let held = try (0..<4).map { _ in try server.connect() }
            for connection in held { connection.send(Server.message("POST", "/v1/jobs", single)) }
            #expect(try held.map { try $0.response().status } == [202, 202, 202, 202])
            let refused = try server.generate(#"{"model":"flowers","class":"rose"}"#)
            #expect(refused.status == 429)
            #expect(refused.code == "client_share_full")
            #expect(refused.headers["retry-after"] != nil)
            #expect(try server.post("/v1/jobs", #"{"model":"flowers","class":"rose","steps":2,"user":"bob"}"#).status == 202)
        }
    }

    @Test func tooCostlyIs413AndWrongNumbersAre400() throws {
        try with(Server(arguments: ["--max-cost", "100"])) { server in
            let costly = try server.generate(#"{"model":"flowers","class":"rose","n":8,"steps":40}"#)
            #expect(costly.status == 413)
            #expect(costly.code == "too_costly")
            for (field, value) in [
                ("n", "0"), ("n", "65"), ("steps", "0"), ("steps", "1001"), ("guidance_scale", "-1"), ("guidance_scale", "51"),
                ("partial_images", "4"), ("deadline_ms", "0"), ("size", "\"64x64\""), ("response_format", "\"url\""),
                ("output_format", "\"jpeg\""), ("sampler", "\"ddim\""), ("guidance", "\"x\""),
            ] {
                let reply = try server.generate(#"{"model":"flowers","class":"rose","\#(field)":\#(value)}"#)
                #expect(reply.status == 400, "\(field) \(value)")
                #expect(reply.error["param"] as? String == field, "\(field) \(value)")
            }
        }
    }

    /// A small request passes a large one, whose images are set aside for it, and counted.
    @Test func aLargeRequestGivesWay() throws {
        try with(Server(arguments: ["--rows", "8"])) { server in
            let id = try #require(server.post("/v1/jobs", #"{"model":"flowers","class":"rose","n":4,"steps":1000,"user":"large"}"#).json["id"] as? String)
            var status = ""
            for _ in 0..<100_000 where status != "running" { status = try server.get("/v1/jobs/\(id)").json["status"] as? String ?? "" }
            #expect(status == "running")
            #expect(try server.get("/metrics").text.contains("difffit_set_aside_total 0\n"))
            #expect(try server.generate(#"{"model":"birds","class":"owl","steps":3,"user":"small"}"#).status == 200)
            #expect(try server.get("/v1/jobs/\(id)").json["status"] as? String == "running")
            #expect(try server.get("/metrics").text.contains("difffit_set_aside_total 3\n"))
            #expect(try server.delete("/v1/jobs/\(id)").status == 202)
        }
    }

    /// A recipe is counted before it is composed, and what composing takes counts against the request.
    @Test func composingIsBounded() throws {
        try with(Server(arguments: ["--max-cost", "1", "--max-recipe-terms", "6", "--max-merge-terms", "3"])) { server in
            func generate(_ model: String) throws -> Reply {
                try server.generate(#"{"model":"\#(model)","class":"class:0","steps":1,"guidance":"none"}"#)
            }
            let limits = try #require(try server.get("/v1/capabilities").json["limits"] as? [String: Any])
            #expect(limits["recipe_terms"] as? Int == 6)
            #expect(limits["merge_terms"] as? Int == 3)
            #expect(try generate("flowers").status == 200)
            let composed = try generate("0.5*flowers+0.5*birds")
            #expect(composed.status == 413, "\(composed.text)")
            #expect(composed.code == "too_costly", "\(composed.text)")
            for (recipe, setting) in [
                (#"ties(flowers,birds,2*flowers,2*birds;0.5)"#, "merge_terms"), ("ties(flowers,birds;0.5)+majority(flowers,birds)", "merge_terms"),
                ("flowers+birds+flowers+birds+flowers+birds+flowers", "recipe_terms"), ("flowers>0.5>(birds+birds+birds+birds+birds)", "recipe_terms"),
            ] {
                let refused = try generate(recipe)
                #expect(refused.status == 400, "\(refused.text)")
                #expect(refused.code == "too_many_\(setting)", "\(refused.text)")
                #expect(refused.text.contains("limits.\(setting)"), "\(refused.text)")
                let path = try #require(recipe.addingPercentEncoding(withAllowedCharacters: .alphanumerics))
                #expect(try server.get("/v1/recipes/" + path).code == "too_many_\(setting)")
            }
        }
    }

    /// Heun's steps are counted, not its network calls, in a stream and in a job.
    @Test func progressCountsStepsOfEverySampler() throws {
        try onShared { server in
            let body = #"{"model":"flowers","class":"rose","n":2,"steps":6,"sampler":"heun""#
            let events = SentEvent.all(in: try server.generate(body + #","stream":true}"#).text).filter { $0.name == "image_generation.progress" }
            #expect(events.compactMap { $0.data["step"] as? Int } == Array(0...6))
            #expect(events.allSatisfy { $0.data["steps"] as? Int == 6 })
            let id = try #require(server.post("/v1/jobs", body + "}").json["id"] as? String)
            _ = try server.get("/v1/jobs/\(id)/events")
            let job = try server.get("/v1/jobs/\(id)").json
            #expect(job["step"] as? Int == 6)
            #expect(job["steps"] as? Int == 6)
        }
    }

    /// An adapter trained at twice the side makes pictures of that side, beside others, and each counts as four.
    @Test func anAdapterOfAnotherSizeIsServedAtItsSize() throws {
        try with(Server(arguments: ["--max-cost", "100"])) { server in
            let trained = try server.answer([
                "train", "wide", "--data", "synthetic:flowers", "--per-class", "1", "--steps", "1", "--batch", "2", "--resolution", "64", "--position-scale",
                "2",
                "--samples-every", "0", "-o", server.folder + "/wide.safetensors", "--add",
            ])
            #expect(trained.code == 0)
            let wide = #"{"model":"wide","class":"rose","steps":10,"guidance":"none","metadata":false"#
            let reply = try server.generate(wide + #","size":"64x64","n":2}"#)
            #expect(reply.status == 200, "\(reply.text)")
            #expect(reply.json["size"] as? String == "64x64", "\(reply.text)")
            let picture = try #require((reply.images.first?["b64_json"] as? String).flatMap { Data(base64Encoded: $0) })
            // Width and height of the PNG's header.
            #expect([UInt8](picture)[16..<24].elementsEqual([0, 0, 0, 64, 0, 0, 0, 64]))
            let wrong = try server.generate(wide + #","size":"32x32"}"#)
            #expect(wrong.status == 400)
            #expect(wrong.error["param"] as? String == "size")
            #expect(try server.generate(wide + #","n":3}"#).status == 413)
            #expect(try server.generate(wide.replacing("wide", with: "flowers") + #","n":10}"#).status == 200)
        }
    }

    @Test func aDeadlineEndsARunningAndAWaitingRequest() throws {
        try with(Server(arguments: ["--rows", "2"])) { server in
            let running = try server.generate(#"{"model":"flowers","class":"rose","n":8,"steps":1000,"deadline_ms":50}"#)
            #expect(running.status == 504)
            #expect(running.code == "deadline_passed")
            #expect(try server.post("/v1/jobs", long).status == 202)
            #expect(try server.generate(#"{"model":"flowers","class":"rose","steps":1000,"deadline_ms":20}"#).status == 504)
        }
    }

    @Test func jobsAreBoundedAndExpire() throws {
        try with(Server(arguments: ["--rows", "2", "--max-jobs", "1", "--jobs-kept-seconds", "0"])) { server in
            let first = try #require(server.post("/v1/jobs", long).json["id"] as? String)
            let refused = try server.post("/v1/jobs", long)
            #expect(refused.status == 429)
            #expect(refused.code == "too_many_jobs")
            #expect(refused.headers["retry-after"] != nil)
            #expect(try server.delete("/v1/jobs/\(first)").status == 202)
            // The stream ends when the job has.
            _ = try server.get("/v1/jobs/\(first)/events")
            let second = try #require(server.post("/v1/jobs", #"{"model":"flowers","class":"rose","steps":1}"#).json["id"] as? String)
            _ = try server.get("/v1/jobs/\(second)/events")
            let gone = try server.get("/v1/jobs/\(second)")
            #expect(gone.status == 410)
            #expect(gone.code == "job_expired")
            #expect(try server.get("/v1/jobs/job-0").status == 404)
        }
    }

    /// A body that does not come to its end, and a head; a connection on which nothing was begun ends without a word.
    @Test func whatComesTooSlowlyIsAnswered() throws {
        try with(Server(arguments: ["--patience-seconds", "1"])) { server in
            let connections = try (0..<3).map { _ in try server.connect() }
            connections[0].send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            connections[1].send("GET /heal")
            for (connection, code) in zip(connections, ["body_too_slow", "request_too_slow"]) {
                let reply = try connection.response()
                #expect(reply.status == 408, "\(reply.text)")
                #expect(reply.code == code, "\(reply.text)")
                #expect(reply.headers["connection"] == "close", "\(reply.text)")
                #expect(try connection.rest().isEmpty)
            }
            #expect(try connections[2].rest().isEmpty)
        }
    }

    /// What a watchman asks: a status without a body, after which the connection goes on.
    @Test func headIsGetWithoutABody() throws {
        try onShared { server in
            let connection = try server.connect()
            for (path, status) in [("/healthz", 200), ("/nothing", 404), ("/healthz", 200)] {
                connection.send(Server.message("HEAD", path))
                #expect(try connection.head().status == status)
                connection.send(Server.message("GET", path))
                #expect(try connection.response().status == status, "\(path)")
            }
        }
    }

    @Test func aStreamHasEveryEventInOrder() throws {
        try onShared { server in
            let stream = try server.generate(
                #"{"model":"flowers","class":"rose","n":2,"seed":5,"steps":4,"stream":true,"partial_images":2}"#)
            #expect(stream.headers["content-type"]?.hasPrefix("text/event-stream") == true)
            let events = SentEvent.all(in: stream.text)
            #expect(events.allSatisfy { $0.data["type"] as? String == $0.name })
            let names = events.map(\.name)
            #expect(names.first == "image_generation.queued")
            #expect(names.last == "image_generation.summary")
            let steps = events.filter { $0.name == "image_generation.progress" }.compactMap { $0.data["step"] as? Int }
            #expect(steps == [0, 1, 2, 3, 4])
            let partial = events.filter { $0.name == "image_generation.partial_image" }
            #expect(partial.count == 4)
            #expect(Set(partial.compactMap { $0.data["partial_image_index"] as? Int }) == [0, 1])
            let completed = events.filter { $0.name == "image_generation.completed" }
            let plain = try server.generate(#"{"model":"flowers","class":"rose","n":2,"seed":5,"steps":4}"#)
            #expect(completed.compactMap { $0.data["sha256"] as? String }.sorted() == plain.hashes.sorted())
        }
    }

    @Test func aRefusedStreamIsAPlainErrorWithItsStatus() throws {
        try onShared { server in
            let reply = try server.generate(#"{"model":"flowrs","class":"rose","stream":true}"#)
            #expect(reply.status == 404)
            #expect(reply.code == "adapter_not_found")
        }
    }
}
