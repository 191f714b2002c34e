import Foundation
import ProgramRunner
import Testing

/// What lets one server stand beside others, and `adapterctl` speak to one.
@Suite(.serialized, .heavy) struct ReplicaTests {
    private let rose = #"{"model":"flowers","class":"rose","seed":5,"steps":3}"#

    @Test func aJobSaysWhichReplicaHasIt() throws {
        let server = try Server(arguments: ["--replica", "b7"])
        defer { server.end() }
        let id = try #require(server.post("/v1/jobs", rose).json["id"] as? String)
        #expect(id.wholeMatch(of: /job-b7-[0-9a-f]+/) != nil, "\(id)")
        #expect(try server.get("/v1/jobs/\(id)/events").text.contains("image_generation.summary"))
        for wrong in ["B", "a-b", "", "x/y"] {
            let folder = try Server.makeFolder(["flowers"])
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let refusal = #expect(throws: Server.NotStarted.self) { _ = try Server(arguments: ["--replica", wrong], folder: folder) }
            #expect(refusal?.log.contains("--replica") == true)
        }
    }

    /// A copy taken while the server works serves the same bytes.
    @Test func aSnapshotOfAServedStoreServesTheSame() throws {
        let server = try Server()
        defer { server.end() }
        let job = try #require(server.post("/v1/jobs", #"{"model":"birds","class":"owl","n":8,"steps":60}"#).json["id"] as? String)
        let copy = server.folder + "/copy"
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
        let taken = try server.answer("snapshot", copy + "/store", "--json")
        #expect(taken.code == 0, "\(taken.text)")
        #expect(taken.text.contains(#""linked_bases":1"#), "\(taken.text)")
        #expect(taken.text.contains(#""names":2"#), "\(taken.text)")
        #expect(try server.adapterctl("snapshot", copy + "/store") == 5)
        #expect(try server.adapterctl("verify", "--golden", "--store", copy + "/store") == 0)
        #expect(try server.delete("/v1/jobs/\(job)").status == 202)
        let twin = try Server(folder: copy)
        defer { twin.end() }
        let (a, b) = (try server.generate(rose), try twin.generate(rose))
        #expect(a.status == 200)
        #expect(a.hashes == b.hashes)
        #expect(a.usage["effective_digest"] as? String == b.usage["effective_digest"] as? String)
    }

    @Test func aServersStatus() throws {
        let server = try Server.shared()
        let status = try server.answer("status", "--socket", server.socket, "--timeout", "3600", "--json")
        #expect(status.code == 0)
        let object = try JSONSerialization.jsonObject(with: Data(status.text.utf8)) as? [String: Any]
        let data = try #require(object?["data"] as? [String: Any])
        #expect(data["ready"] as? Bool == true)
        #expect(data["queue_capacity"] as? Int == 256)
        #expect(data["adapters"] as? [String] == ["birds", "flowers"])
        #expect(try server.answer("status", "--socket", server.socket, "--timeout", "3600").text.contains("ready: "))
        #expect(try server.adapterctl("status", "--socket", server.folder + "/none.sock") == 14)
        #expect(try server.adapterctl("sample", "flowers", "--socket", server.folder + "/none.sock", "-o", server.folder + "/x.png") == 14)
    }

    /// There is one path: the file of a server's images is the file of this process's, byte for byte.
    @Test(arguments: [["flowers", "--n", "9"], ["birds", "--class", "owl", "--n", "3", "--guidance-scale", "1.5"], ["base", "--n", "2", "--class", "1"]])
    func sampledThroughAServerTheFileIsTheSame(_ order: [String]) throws {
        let server = try Server.shared()
        let (here, there) = (server.folder + "/here.png", server.folder + "/there.png")
        let common = ["sample"] + order + ["--steps", "3", "--seed", "4", "--enlarge", "1", "-o"]
        #expect(try server.adapterctl(common + [here]) == 0)
        #expect(try server.adapterctl(common + [there, "--socket", server.socket]) == 0)
        let bytes = try Data(contentsOf: URL(filePath: here))
        #expect(try bytes == Data(contentsOf: URL(filePath: there)))
        #expect(bytes.count > 1000)
    }

    @Test func aServersRefusalsKeepTheirCodes() throws {
        let server = try Server.shared()
        let file = server.folder + "/refused.png"
        func sample(_ arguments: String...) throws -> Int32 { try server.adapterctl(["sample"] + arguments + ["-o", file, "--socket", server.socket]) }
        #expect(try sample("flowrs", "--class", "rose") == 4)
        #expect(try sample("flowrs") == 4)
        #expect(try sample("flowers", "--class", "rosse") == 4)
        #expect(try sample("flowers", "--sampler", "nonsense") == 2)
        #expect(try sample("flowers", "--noise", "x.safetensors") == 2)
        #expect(!FileManager.default.fileExists(atPath: file))
    }
}
