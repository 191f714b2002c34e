import Foundation
import ImageFiles
import ProgramRunner
import Testing

/// `adapterctl distill`, and its vectors wherever a recipe is taken: one picture everywhere, and sentences where demands contradict.
@Suite(.serialized, .heavy) struct DistilledTests {
    private let more = ["--guidance-interval", "0.1,0.8", "--train-steps", "2", "--batch", "8", "--samples-every", "0", "--add", "--json"]

    private func image(_ server: Server, _ body: [String: Any]) throws -> Data {
        let reply = try server.generate(String(decoding: JSONSerialization.data(withJSONObject: body), as: UTF8.self))
        #expect(reply.status == 200, "\(reply.text)")
        return try #require(((reply.json["data"] as? [[String: Any]])?.first?["b64_json"] as? String).flatMap { Data(base64Encoded: $0) })
    }

    @Test func vectorsAreTakenWhereverARecipeIs() throws {
        let server = try Server()
        defer { server.end() }
        let folder = try temporaryFolder("distilled")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let guide = try server.answer(["distill", "guidance", "flowers", "birds", "--sampling-steps", "4", "-o", "\(folder)/guide.safetensors"] + more)
        #expect(guide.code == 0, "\(guide.text)")
        let turbo = try server.answer(["distill", "steps", "flowers", "--steps", "2", "--teacher-steps", "6", "-o", "\(folder)/turbo2.safetensors"] + more)
        #expect(turbo.code == 0, "\(turbo.text)")
        let listed = try server.answer(["list"]).text
        #expect(listed.contains("guidance"), "\(listed)")
        let shown = try server.answer(["show", "turbo2"]).text
        #expect(shown.contains("cfg 3.0 from 0.1 to 0.8 is in its values"), "\(shown)")
        #expect(try server.answer(["verify", "--golden"]).code == 0)

        // Command line, service, and the text of a picture sampled again.
        for (recipe, options, fields) in [
            ("flowers+turbo2", [], [:]), ("0.5*flowers+0.5*birds+turbo2", [], [:]),
            ("flowers", ["--guidance", "distilled", "--guidance-scale", "2", "--steps", "3"], ["guidance": "distilled", "guidance_scale": 2.0, "steps": 3]),
        ] as [(String, [String], [String: Any])] {
            let body: [String: Any] = ["model": recipe, "class": "rose", "seed": 5].merging(fields) { $1 }
            let served = try image(server, body)
            let sample = ["sample", recipe, "--class", "rose", "--seed", "5", "--n", "1"] + options
            for (name, socket) in [("own", []), ("socket", ["--socket", server.socket])] {
                let path = "\(folder)/\(name).png"
                let told = try server.answer(sample + socket + ["-o", path])
                #expect(told.code == 0, "\(told.text)")
                #expect(try Data(contentsOf: URL(filePath: path)) == served, "\(recipe) \(name)")
            }
            let text = try #require(textOfPNG(served, key: "difffit"))
            var again = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            #expect(again["guidance"] as? String == "distilled")
            let kept = ["recipe", "class", "seed", "steps", "sampler", "guidance", "guidance_scale", "guidance_interval"]
            again = again.filter { kept.contains($0.key) }
            again["model"] = again.removeValue(forKey: "recipe")
            #expect(try image(server, again) == served)
        }
        let metrics = try server.get("/metrics").text
        for kind in ["guidance", "steps"] { #expect(metrics.contains("difffit_images_total{distilled=\"\(kind)\"}"), "\(metrics)") }
        // Other pictures than guided ones of as many steps, and one row a step in place of two.
        let plain = try image(server, ["model": "flowers", "class": "rose", "seed": 5, "steps": 3])
        #expect(try image(server, ["model": "flowers", "class": "rose", "seed": 5, "steps": 3, "guidance": "distilled"]) != plain)
        #expect(try server.answer(["sheet", "--domains", "flowers", "--adding", "turbo2", "--per-class", "1", "-o", "\(folder)/sheet.png"]).code == 0)
        let evaluated = try server.answer([
            "eval", "flowers+turbo2", "--data", "synthetic:flowers", "--n", "6", "--held-out", "0", "--reference", "12", "--resamples", "4", "--lessons", "1",
            "--no-cache",
        ])
        #expect(evaluated.code == 0, "\(evaluated.text)")

        let offered = try #require(server.get("/v1/capabilities").json["distilled"] as? [[String: Any]])
        #expect(offered.map { $0["role"] as? String }.sorted { ($0 ?? "") < ($1 ?? "") } == ["guidance", "steps"])
        #expect(offered.contains { $0["steps"] as? Int == 2 })
        #expect(try server.get("/v1/adapters/turbo2").json["role"] as? String == "steps")
        #expect(try server.get("/v1/recipes/flowers+turbo2").json["steps"] as? Int == 2)
        try refuses(server, folder)
    }

    /// Beside a domain that learns from pictures.
    @Test func trainMakesAGuidanceVectorBesideADomain() throws {
        let server = try Server()
        defer { server.end() }
        let folder = try temporaryFolder("distilled-train")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let train = ["train", "pets", "--data", "synthetic:flowers", "--per-class", "4", "--batch", "4", "--samples-every", "0", "--add"]
        let made = try server.answer(train + ["--steps", "2", "--guidance-vector", "3", "-o", "\(folder)/pets.safetensors"])
        #expect(made.code == 0, "\(made.text)")
        let one = try image(server, ["model": "pets+pets-guide", "class": "rose", "seed": 5, "steps": 3])
        #expect(try image(server, ["model": "pets", "class": "rose", "seed": 5, "steps": 3, "guidance": "distilled"]) == one)
        for wrong in [["--guidance-vector", "1"], ["--guidance-vector", "3", "--sparsity", "0.5"], ["--guidance-vector", "3", "--method", "full"]] {
            let told = try server.answer(["train", "x", "--data", "synthetic:flowers", "-o", "\(folder)/x.safetensors"] + wrong)
            #expect(told.code == 2, "\(wrong) \(told.text)")
        }
    }

    private func refuses(_ server: Server, _ folder: String) throws {
        for (recipe, options, sentence) in [
            ("flowers+turbo2", ["--steps", "3"], "holds a vector for each of 2 steps at times of their own"),
            ("flowers+turbo2", ["--guidance", "cfg"], "which a second guidance would double"),
            ("flowers+guide+turbo2", [], "both have guidance in them"),
            ("flowers>0.5>birds+turbo2", ["--class", "rose,owl"], "has to be in every stage of a schedule"),
            ("flowers", ["--guidance", "distilled", "--guidance-scale", "9"], "was measured for guidance scales from 1 to"),
        ] as [(String, [String], String)] {
            for socket in [[], ["--socket", server.socket]] {
                let refused = try Server.adapterctl(server.folder, ["sample", recipe, "--n", "1", "-o", "\(folder)/no.png"] + options + socket)
                #expect(refused.code == 2, "\(recipe) \(options): \(refused.errors)")
                #expect(refused.errors.contains(sentence), "\(recipe) \(options): \(refused.errors)")
            }
        }
        for (arguments, code) in [
            (["compose", "x", "flowers+turbo2"], 2), (["distill", "guidance", "guide", "-o", "\(folder)/x.safetensors"], 2),
            (["fit", "turbo2", "--steps", "2", "--images", "64", "--teacher-steps", "6"], 2), (["calibrate", "guide", "--steps", "10"], 2),
            (["export", "turbo2", "--format", "peft", "-o", "\(folder)/peft"], 2), (["diff", "flowers", "turbo2"], 2),
            (["merge", "m", "\(folder)/guide.safetensors=1", "\(folder)/guide.safetensors=2"], 2),
            (["train", "x", "--data", "synthetic:flowers", "--per-class", "2", "--from", "guide", "-o", "\(folder)/x.safetensors"], 2),
            (["distill", "guidance", "flowers", "--guidance-scale", "1", "-o", "\(folder)/x.safetensors"], 2),
            (["distill", "steps", "flowers", "--steps", "0", "-o", "\(folder)/x.safetensors"], 2),
            (["distill", "steps", "flower", "-o", "\(folder)/x.safetensors"], 4),
            (["distill", "guidance", "flowers", "-o", "\(folder)/guide.safetensors", "--add"], 5),
        ] {
            #expect(try server.answer(arguments).code == code, "\(arguments)")
        }
    }
}
