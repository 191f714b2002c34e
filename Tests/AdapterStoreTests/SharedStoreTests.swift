import AdapterStore
import Foundation
import ProgramRunner
import Testing
import storehammer

/// Several processes, users and containers on one store. One at a time, so that no child holds another one's pipe open.
@Suite(.serialized, .heavy) struct SharedStoreTests {
    /// The words that start a program as process 1 of a space of process numbers of its own, as a container does.
    static let container = ["unshare", "--pid", "--fork", "--kill-child"]
    /// The words that start a program as a user who owns nothing.
    static let stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    static func canStart(_ words: [String]) -> Bool {
        let child = try? Child(through: words, "check", FileManager.default.temporaryDirectory.path + "/no-store")
        child?.closeInput()
        let line = child?.line()
        child?.wait()
        return line?.hasPrefix("refused 10") == true
    }

    /// What readers see is whole while others replace and prune: no page that a reader follows is taken for something else.
    @Test func readersSeeWholeAdaptersWhileOthersChangeThem() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let known = Dictionary(uniqueKeysWithValues: (0..<12).map { (Samples.adapter($0).digest, Samples.adapter($0)) })
        let children = try [11, 12].map { try Child("hammer", temporary.path, "\($0)") }
        for child in children {
            #expect(child.line() == "begin")
            #expect(child.line() == "end")
        }
        var seen: Set<UInt64> = []
        for _ in 0..<20_000 where seen.count < 60 {
            seen.insert(try store.generation())
            for entry in try store.list(includingUnnamed: true) {
                do throws(StoreError) {
                    #expect(try store.load(entry.digest, over: Samples.base) == known[entry.digest])
                } catch {
                    guard case .notFound = error else { throw error }
                }
            }
        }
        for child in children {
            child.kill()
            child.wait()
        }
        #expect(seen.count == 60, "the store did not change meanwhile")
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    @Test(.enabled("needs the right to make a space of process numbers (unshare)") { canStart(container) })
    func twoContainersUseOneStore() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let generation = try store.generation()
        // Both are process 1 of their spaces, and stay until their input ends.
        let readers = try (0..<2).map { _ in try Child(through: Self.container, "check", temporary.path) }
        for reader in readers { #expect(reader.line() == "sound 1") }
        let writers = try ["one", "two"].map { try Child(through: Self.container, "add", temporary.path, $0, "60") }
        for number in 0..<60 { _ = try store.add(Samples.adapter(number, anyFloat: true), as: "own-\(number)", over: Samples.base) }
        for writer in writers { #expect(writer.wait() == 0) }
        for reader in readers {
            reader.closeInput()
            #expect(reader.line() == "sound 1")
            #expect(reader.wait() == 0)
        }
        #expect(try store.generation() == generation + 180)
        #expect(try store.list().count == 180)
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    /// A number that counts in another container would name the wrong process.
    @Test func aLockOfAnotherContainerNamesNoProcess() throws {
        let temporary = try TemporaryStore()
        var options = TemporaryStore.options
        options.lockTimeout = .milliseconds(30)
        let store = try temporary.create(options)
        let lock = try #require(FileHandle(forUpdatingAtPath: temporary.path + "/write.lock"))
        #expect(flock(lock.fileDescriptor, LOCK_EX | LOCK_NB) == 0)
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")
        for (space, process) in [("pid:[1]", nil), (own, 77)] as [(String, Int?)] {
            try lock.truncate(atOffset: 0)
            try lock.write(contentsOf: Data("77 \(space)\n".utf8))
            #expect(throws: StoreError.locked(path: temporary.path, process: process)) { try store.remove("none") }
        }
    }

    @Test(.enabled("needs the right to become another user (setpriv)") { canStart(stranger) })
    func whoMayReadTheFilesMayReadTheStore() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        for number in 0..<4 { _ = try store.add(number, as: "n\(number)") }
        let reader = try Child(through: Self.stranger, "check", temporary.path)
        #expect(reader.line()?.hasPrefix("sound ") == true)
        // The reader's handle follows what the owner goes on to change.
        for number in 0..<40 { _ = try store.add(Samples.adapter(number, anyFloat: true), as: "more\(number)", over: Samples.base) }
        reader.closeInput()
        #expect(reader.line()?.hasPrefix("sound ") == true)
        #expect(reader.wait() == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path).sorted() == ["bases", "data.mdb", "write.lock"])

        let writer = try Child(through: Self.stranger, "add", temporary.path, "x", "1")
        #expect(writer.wait() != 0)
        for (file, mode) in [("data.mdb", 0o600), ("", 0o700)] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: temporary.path + "/" + file)
            let refused = try Child(through: Self.stranger, "check", temporary.path)
            refused.closeInput()
            #expect(refused.line()?.hasPrefix("refused 12 This user may not read or change '\(temporary.path)/data.mdb'") == true)
            refused.wait()
        }
        #expect(try store.list().count == 44)
    }

    @Test func ofManyThatMakeOneStoreAtOnceOneDoes() throws {
        let temporary = try TemporaryStore()
        for round in 0..<8 {
            let path = "\(temporary.folder)/new-\(round)"
            let children = try (0..<6).map { _ in try Child("init", path) }
            let lines = children.map { $0.line() }
            for child in children { #expect(child.wait() == 0) }
            #expect(lines.filter { $0 == "created" }.count == 1, "\(lines)")
            #expect(lines.filter { $0 == "refused 5" }.count == 5, "\(lines)")
            #expect(try AdapterStore.open(at: path).list().isEmpty)
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.folder).filter { $0.hasPrefix(".") }.isEmpty)
    }

    /// The file that names the writer is news only: without it there is still one writer at a time.
    @Test func aLockFileThatIsDeletedLetsNobodyIn() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let generation = try store.generation()
        let children = try ["one", "two"].map { try Child("add", temporary.path, $0, "100") }
        for number in 0..<100 {
            try? FileManager.default.removeItem(atPath: temporary.path + "/write.lock")
            _ = try store.add(Samples.adapter(number, anyFloat: true), as: "own-\(number)", over: Samples.base)
        }
        for child in children { #expect(child.wait() == 0) }
        #expect(try store.generation() == generation + 300)
        #expect(try store.list().count == 300)
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    /// An older version, or another program of LMDB's, would not see its pages being taken.
    @Test func aStoreThatIsOpenWithLMDBsOwnLocksIsNotChanged() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let child = try Child("foreign", temporary.path)
        #expect(child.line() == "held")
        #expect(throws: StoreError.locked(path: temporary.path, process: child.processIdentifier)) { try store.add(1, as: "a") }
        #expect(try store.list().isEmpty)
        child.closeInput()
        child.wait()
        #expect(try store.add(1, as: "a") == .added)
    }

    @Test func theNextImportTakesAwayWhatAKilledOneLeft() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let running = try Child("import", temporary.path), killed = try Child("import", temporary.path)
        for child in [running, killed] { #expect(child.line() == "begin") }
        func unfinished() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/bases").filter { $0.hasSuffix(".importing") }
        }
        killed.kill()
        killed.wait()
        #expect(try unfinished().count == 2)
        try store.importBase(from: temporary.folder + "/base-1", card: Data("{}".utf8))
        #expect(try unfinished().map { $0.split(separator: "-")[0] } == ["\(running.processIdentifier)"])
        running.kill()
        running.wait()
        _ = try store.prune()
        #expect(try unfinished().isEmpty)
    }
}
