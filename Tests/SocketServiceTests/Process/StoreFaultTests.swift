import Foundation
import ProgramRunner
import Testing

/// What happens to the files of a running server's store: it answers 503 and why, and goes on when they are whole again.
@Suite(.serialized, .heavy) struct StoreFaultTests {
    private let rose = #"{"model":"flowers","class":"rose","seed":5,"steps":3}"#

    private func overwrite(_ file: String, with content: Data) throws {
        let handle = try #require(FileHandle(forWritingAtPath: file))
        try handle.write(contentsOf: content)
        try handle.close()
    }

    private func expectRed(_ server: Server, _ reason: String) throws {
        for reply in [try server.get("/readyz"), try server.generate(rose), try server.get("/v1/models")] {
            #expect(reply.status == 503, "\(reply.status) \(reply.text)")
            #expect(reply.text.contains(reason), "\(reply.status) \(reply.text)")
        }
        #expect(try server.get("/healthz").status == 200)
    }

    @Test func aDataFileThatIsCutOrReplacedTurnsTheServerRed() throws {
        let server = try Server(["flowers"])
        defer { server.end() }
        #expect(try server.generate(rose).status == 200)
        let file = server.folder + "/store/data.mdb", content = try Data(contentsOf: URL(filePath: file))
        for size in [0, 4096, 20_000] {
            #expect(truncate(file, off_t(size)) == 0)
            try expectRed(server, "truncated")
            try overwrite(file, with: content)
            #expect(try server.get("/readyz").status == 200)
        }
        try FileManager.default.moveItem(atPath: file, toPath: file + ".away")
        try expectRed(server, "replaced or removed")
        try content.write(to: URL(filePath: file))
        try expectRed(server, "replaced or removed")
        try FileManager.default.removeItem(atPath: file)
        try FileManager.default.moveItem(atPath: file + ".away", toPath: file)
        #expect(try server.generate(rose).status == 200)
    }

    /// There is no lock file whose removal could part the server from who changes the store.
    @Test func whatIsAddedIsSeenWhateverLockFilesAreDeleted() throws {
        let server = try Server(["flowers"])
        defer { server.end() }
        for file in ["lock.mdb", "write.lock"] { try? FileManager.default.removeItem(atPath: server.folder + "/store/" + file) }
        #expect(try server.adapterctl("add", "birds", Server.shipped("birds")) == 0)
        #expect(try server.get("/v1/adapters").text.contains("birds"))
        #expect(try server.get("/readyz").status == 200)
        #expect(try server.generate(#"{"model":"birds","class":"owl","seed":1,"steps":2}"#).status == 200)
    }

    @Test func aBaseThatIsCutTurnsTheServerRed() throws {
        let server = try Server(["flowers"])
        defer { server.end() }
        let bases = server.folder + "/store/bases"
        let file = bases + "/" + (try #require(try FileManager.default.contentsOfDirectory(atPath: bases).first))
        let content = try Data(contentsOf: URL(filePath: file))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
        #expect(truncate(file, off_t(content.count / 2)) == 0)
        for reply in [try server.get("/readyz"), try server.generate(rose)] {
            #expect(reply.status == 503, "\(reply.status) \(reply.text)")
            #expect(reply.text.contains("was cut while it was in use"), "\(reply.status) \(reply.text)")
        }
        try overwrite(file, with: content)
        #expect(try server.generate(rose).status == 200)
    }

    /// Law 3: a base that is removed under a server stays in the server.
    @Test func aBaseThatIsRemovedStaysWithItsServer() throws {
        let server = try Server(["flowers"])
        defer { server.end() }
        let before = try server.generate(rose).hashes
        #expect(try server.answer("base", "remove", "shipped", "--yes").code == 5)
        #expect(try server.adapterctl("base", "rename", "shipped", "domains") == 0)
        #expect(try server.generate(rose).hashes == before)
        for arguments in [["remove", "flowers", "--yes"], ["prune"], ["base", "remove", "domains", "--yes"]] {
            #expect(try server.adapterctl(arguments) == 0, "\(arguments)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: server.folder + "/store/bases").isEmpty)
        #expect(try server.generate(#"{"model":"base","class":"class:0","seed":5,"steps":3}"#).status == 200)
    }

    /// Two servers in two containers, each process 1 of its own, beside each other on one store.
    @Test(.enabled("needs the right to make a space of process numbers (unshare)") { (try? run("unshare", ["--pid", "--fork", "true"]))?.code == 0 })
    func serversOfTwoContainersShareAStore() throws {
        let container = ["unshare", "--pid", "--fork", "--kill-child"]
        let first = try Server(["flowers"], launcher: container)
        defer { first.end() }
        let second = try Server(["birds"], arguments: ["--store", first.folder + "/store"], launcher: container)
        defer { second.end() }
        #expect(try first.adapterctl("add", "birds", Server.shipped("birds")) == 0)
        for server in [first, second] {
            #expect(try server.get("/readyz").status == 200)
            #expect(try server.get("/v1/adapters").text.contains("birds"))
        }
        #expect(try first.generate(rose).hashes == second.generate(rose).hashes)
    }
}
