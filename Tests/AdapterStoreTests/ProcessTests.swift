import AdapterStore
import Foundation
import ProgramRunner
import Testing
import storehammer

/// What only a second process shows.
@Suite(.serialized, .heavy) struct ProcessTests {
    /// Law 9: killed at any point, the store is before or after the change.
    @Test func killedAtRandomPointsTheStoreIsBeforeOrAfter() throws {
        let temporary = try TemporaryStore()
        _ = try temporary.create()
        var model = StoreModel()
        var random = SystemRandomNumberGenerator()
        var inside = 0
        var round = 0
        // More rounds where few kills fell inside a step: how many do is the machine's.
        while round < 220 || (inside <= 60 && round < 2000) {
            defer { round += 1 }
            let child = try Child("hammer", temporary.path, String(round))
            var begun = 0
            var ended = 0
            func read() -> Bool {
                guard let line = child.line() else { return false }
                if line == "begin" { begun += 1 } else { ended += 1 }
                return true
            }
            let lines = Int.random(in: 1...12, using: &random)
            for _ in 0..<lines { #expect(read(), "the hammer stopped by itself") }
            child.killAtRandomPoint(using: &random)
            while read() {}
            #expect(child.wait() == -SIGKILL)

            var history = Generator(UInt64(round))
            for _ in 0..<ended { model.apply(Operation.random(&history)) }
            var after = model
            if begun > ended {
                after.apply(Operation.random(&history))
                inside += 1
            }
            let store = try temporary.open()
            let report = try store.verifySamples()
            #expect(report.damaged.isEmpty, "round \(round)")
            let found = try StoreModel(store)
            #expect(found == model || found == after, "round \(round), after \(ended) steps")
            model = found
        }
        // Readers that were killed hold no pages back.
        #expect(try temporary.open().statistics().usedBytes < 1 << 18)
        #expect(inside > 60, "most kills should fall inside a step")
    }

    @Test func twoProcessesWriteAtOnce() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let generation = try store.generation()
        let child = try Child("add", temporary.path, "child", "150")
        for number in 0..<150 {
            _ = try store.add(Samples.adapter(number, anyFloat: true), as: "own-\(number)", over: Samples.base)
            _ = try store.list().count
        }
        #expect(child.wait() == 0)
        #expect(try store.generation() == generation + 300)
        for number in 0..<150 {
            #expect(try store.lookup("own-\(number)").digest == store.lookup("child-\(number)").digest)
        }
        #expect(try store.statistics().adapters == 150)
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    /// The child grows the map beyond what this process has mapped.
    @Test func growthByAnotherProcessIsFollowed() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let before = try store.statistics()
        let child = try Child("add", temporary.path, "child", "500")
        #expect(child.wait() == 0)
        #expect(try store.list().count == 500)
        let after = try store.statistics()
        #expect(after.usedBytes > before.mapBytes)
        #expect(after.mapBytes > before.mapBytes)
        _ = try store.add(1, as: "own")
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    @Test func aLockedStoreNamesTheHolder() throws {
        let temporary = try TemporaryStore()
        var options = TemporaryStore.options
        options.lockTimeout = .milliseconds(30)
        let store = try temporary.create(options)
        let child = try Child("hold", temporary.path)
        #expect(child.line() == "held")
        #expect(throws: StoreError.locked(path: temporary.path, process: child.processIdentifier)) { try store.add(1, as: "a") }
        #expect(try store.list().isEmpty, "readers do not wait")
        child.kill()
        child.wait()
        #expect(try store.add(1, as: "a") == .added)
    }

    /// A bound on the size of the child's files stands for a full disk: writes past it fail.
    @Test func aFullDiskLeavesTheStoreAsItWas() throws {
        let temporary = try TemporaryStore()
        _ = try temporary.create()
        try fillAndCheck(temporary, limit: 300_000)
        #expect(try temporary.open().add(1, as: "more") == .added, "room again")
    }

    @Test(.enabled("needs the right to mount a tmpfs") { TemporaryDisk.isAllowed() })
    func aFullFileSystemLeavesTheStoreAsItWas() throws {
        let disk = try TemporaryDisk(bytes: 1 << 20)
        let temporary = try TemporaryStore(in: disk.url)
        let store = try temporary.create()
        let ballast = disk.url.appending(path: "ballast")
        try Data(count: 400_000).write(to: ballast)
        try fillAndCheck(temporary, limit: 0)

        let before = try StoreModel(store)
        let large = FileManager.default.temporaryDirectory.appending(path: "large-\(UUID().uuidString)")
        try Data(count: 2 << 20).write(to: large)
        defer { try? FileManager.default.removeItem(at: large) }
        let refusal = #expect(throws: StoreError.self) {
            try store.importBase(from: large.path(percentEncoded: false), card: Data())
        }
        #expect(refusal?.exitCode == 13)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/bases").count == 1)
        #expect(try StoreModel(store) == before)
        try FileManager.default.removeItem(at: ballast)
        #expect(try store.add(1, as: "room") == .added, "the same handle goes on once there is room")
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    @Test(.enabled("needs the right to mount a tmpfs") { TemporaryDisk.isAllowed() })
    func aReadOnlyFileSystemCanBeRead() throws {
        let disk = try TemporaryDisk(bytes: 1 << 20)
        let temporary = try TemporaryStore(in: disk.url)
        _ = try temporary.create().add(1, as: "a")
        #expect(disk.makeReadOnly())
        let store = try temporary.open()
        #expect(try store.load(store.lookup("a").digest, over: Samples.base) == Samples.adapter(1))
        let refusal = #expect(throws: StoreError.self) { try store.add(2, as: "b") }
        #expect(refusal?.exitCode == 12)
    }

    func fillAndCheck(_ temporary: TemporaryStore, limit: Int) throws {
        let child = try Child("fill", temporary.path, String(limit))
        let words = try #require(child.line()).split(separator: " ")
        #expect(child.wait() == 0)
        let count = try #require(Int(words[1]))
        #expect(count > 50)
        #expect(words[2] == "13")
        let store = try temporary.open()
        #expect(try store.list().count == count)
        #expect(try store.verifySamples().damaged.isEmpty)
        for number in 0..<count { #expect(try store.lookup("fill-\(number)").digest == Samples.adapter(number, anyFloat: true).digest) }
    }
}
