import Foundation
import ProgramRunner
import Testing

/// `adapterctl fit`, and the sampler `fitted` wherever a sampler is named: one picture everywhere, refusals with what there is.
@Suite(.serialized, .heavy) struct FittedTests {
    @Test func aFittedSolverIsTheSameEverywhereAndRefusedElsewhere() throws {
        let server = try Server()
        defer { server.end() }
        let folder = try temporaryFolder("fitted")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let fit = ["fit", "flowers", "--images", "64", "--teacher-steps", "6", "--guidance-interval", "0.1,0.8", "--json"]
        let made = try server.answer(fit + ["--steps", "3,2"])
        #expect(made.code == 0, "\(made.text)")
        let data = try #require((JSONSerialization.jsonObject(with: Data(made.text.utf8)) as? [String: Any])?["data"] as? [String: Any])
        let profiles = try #require(data["solvers"] as? [[String: Any]]).compactMap { $0["profile"] as? [String: Any] }
        #expect(profiles.map { ($0["times"] as? [Double])?.count } == [3, 2])
        #expect(profiles.allSatisfy { ($0["guidance_interval"] as? [Double]) == [0.1, 0.8] })

        // Steps and guidance that are not asked for are the solver's.
        let body: [String: Any] = ["model": "flowers", "class": "rose", "seed": 5, "sampler": "fitted", "steps": 2]
        let reply = try server.generate(String(decoding: JSONSerialization.data(withJSONObject: body), as: UTF8.self))
        #expect(reply.status == 200, "\(reply.text)")
        let image = try #require(((reply.json["data"] as? [[String: Any]])?.first?["b64_json"] as? String).flatMap { Data(base64Encoded: $0) })
        let arguments = ["sample", "flowers", "--class", "rose", "--seed", "5", "--sampler", "fitted", "--n", "1"]
        for (name, more) in [
            ("own", ["--steps", "2"]), ("served", ["--steps", "2", "--socket", server.socket]), ("said", ["--steps", "2", "--guidance-interval", "0.1,0.8"]),
        ] {
            let path = "\(folder)/\(name).png"
            let told = try server.answer(arguments + more + ["-o", path])
            #expect(told.code == 0, "\(told.text)")
            #expect(try Data(contentsOf: URL(filePath: path)) == image, "\(name)")
        }
        let path = folder + "/other.png"
        #expect(try server.answer(arguments + ["-o", path]).code == 0)
        #expect(try Data(contentsOf: URL(filePath: path)) != image)
        #expect(try server.answer(["sheet", "--domains", "flowers", "--sampler", "fitted", "--per-class", "1", "-o", path]).code == 0)
        let evaluated = try server.answer([
            "eval", "flowers", "--data", "synthetic:flowers", "--n", "6", "--held-out", "2", "--reference", "12", "--resamples", "4", "--lessons", "1",
            "--no-cache", "--guidance-interval", "0.1,0.8", "--compare", "sampler=multistep,steps=3", "--compare", "sampler=fitted,steps=3",
        ])
        #expect(evaluated.code == 0, "\(evaluated.text)")

        let listed = try #require(server.get("/v1/adapters/flowers").json["solvers"] as? [[String: Any]])
        #expect(listed.compactMap { $0["steps"] as? Int } == [2, 3])
        #expect(listed.allSatisfy { $0["guidance_scale"] as? Double == 3 && $0["guidance_interval"] as? [Double] == [0.1, 0.8] })

        // What there is not is refused with what there is.
        let has = "it has those of 2 steps for guidance cfg 3.0 from 0.1 to 0.8, 3 steps for guidance cfg 3.0 from 0.1 to 0.8"
        for (more, code) in [
            (["--steps", "4"], 4), (["--steps", "2", "--guidance-scale", "2"], 4), (["--steps", "4", "--socket", server.socket], 2),
        ] {
            let refused = try Server.adapterctl(server.folder, arguments + more + ["-o", path])
            #expect(refused.code == code, "\(more): \(refused.errors)")
            #expect(refused.errors.contains(has), "\(more): \(refused.errors)")
        }
        let other = try Server.adapterctl(server.folder, ["sample", "birds", "--sampler", "fitted", "--n", "1", "-o", path])
        #expect(other.code == 4)
        #expect(other.errors.contains("'birds' has no fitted solver; adapterctl fit makes one for a stored adapter"), "\(other.errors)")
        for wrong in [["--steps", "0"], ["--steps", "4,4"], ["--steps", "four"], ["--images", "3"], ["--teacher-steps", "5", "--steps", "4"]] {
            #expect(try server.answer(["fit", "flowers"] + wrong).code == 2, "\(wrong)")
        }
    }
}
