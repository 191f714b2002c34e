import AdapterStore
import Foundation
import ProgramRunner
import Testing
import storehammer

/// A hot copy: one moment of the source, whole or not there.
@Suite(.serialized, .heavy) struct SnapshotTests {
    private func content(_ folder: String) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder).sorted() }

    private func open(_ path: String) throws -> AdapterStore { try AdapterStore.open(at: path, options: TemporaryStore.options) }

    private func inode(_ path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int)
    }

    @Test func aSnapshotIsAStoreOfItsOwn() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        for number in 0..<6 { _ = try store.add(number, as: "name\(number)") }
        try store.remove("name5")
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: store.path)
        let before = try StoreModel(store)
        let report = try store.snapshot(at: temporary.folder + "/copy")
        #expect(report.names == 5)
        #expect(report.adapters == 6)
        #expect(report.bases == 1)
        #expect(report.linkedBases == 1)
        #expect(try report.generation == store.generation())

        let copy = try open(report.path)
        #expect(try StoreModel(copy) == before)
        #expect(try copy.verifySamples().damaged.isEmpty)
        #expect(try bits(copy.load(Samples.adapter(3).digest, over: Samples.base)) == bits(Samples.adapter(3)))
        #expect(try FileManager.default.attributesOfItem(atPath: report.path)[.posixPermissions] as? Int == 0o700)
        // Either goes its own way from here.
        for number in 10..<200 { _ = try copy.add(number, as: "more-\(number)") }
        try store.remove("name0")
        #expect(try store.statistics().names == 4)
        #expect(try copy.statistics().names == 195)
        #expect(try copy.verifySamples().damaged.isEmpty)
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    @Test func freePagesStayBehind() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        for number in 0..<300 { _ = try store.add(Samples.adapter(number, anyFloat: true), as: "gone", over: Samples.base, replace: true) }
        _ = try store.prune()
        _ = try store.snapshot(at: temporary.folder + "/copy")
        #expect(try open(temporary.folder + "/copy").statistics().usedBytes < store.statistics().usedBytes / 4)
    }

    @Test func whatIsThereIsNeverReplaced() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let folder = temporary.folder + "/empty"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for taken in [folder, temporary.folder + "/base", store.path] {
            let refusal = #expect(throws: StoreError.pathTaken(taken)) { try store.snapshot(at: taken) }
            #expect(refusal?.exitCode == 5)
        }
        let nowhere = #expect(throws: StoreError.self) { try store.snapshot(at: temporary.folder + "/no/where") }
        #expect(nowhere?.exitCode == 2)
        #expect(nowhere?.description.contains("/no'") == true)
        #expect(try content(temporary.folder).filter { $0.hasSuffix(".unfinished") }.isEmpty)
    }

    @Test func basesAreLinkedOrCopied() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        let file = "/bases/\(Samples.base.digest).safetensors"
        _ = try store.snapshot(at: temporary.folder + "/linked")
        #expect(try inode(temporary.folder + "/linked" + file) == inode(store.path + file))
        let report = try store.snapshot(at: temporary.folder + "/copied", copyingBases: true)
        #expect(report.linkedBases == 0)
        #expect(try inode(temporary.folder + "/copied" + file) != inode(store.path + file))
        // A copy is read through on its way, so damage does not travel.
        var bytes = try Data(contentsOf: URL(filePath: store.path + file))
        bytes[0] ^= 1
        try bytes.write(to: URL(filePath: store.path + file))
        let refusal = #expect(throws: StoreError.self) { try store.snapshot(at: temporary.folder + "/damaged", copyingBases: true) }
        #expect(refusal?.exitCode == 6)
        #expect(try content(temporary.folder).allSatisfy { !$0.contains("damaged") })
    }

    /// Another process changes the store all the while; each snapshot is one of the states it went through, in their order.
    @Test func aSnapshotShowsOneMoment() throws {
        let temporary = try TemporaryStore()
        _ = try temporary.create()
        let store = try temporary.open()
        let child = try Child("hammer", temporary.path, "7")
        var begun = 0
        while begun < 5, let line = child.line() { begun += line == "begin" ? 1 : 0 }
        var shots: [StoreModel] = []
        for number in 0..<25 {
            let path = temporary.folder + "/shot-\(number)"
            _ = try store.snapshot(at: path)
            let shot = try open(path)
            #expect(try shot.verifySamples().damaged.isEmpty, "snapshot \(number)")
            #expect(Set(try content(path + "/bases")) == Set(try shot.listBases().map { "\($0.digest).safetensors" }))
            shots.append(try StoreModel(shot))
        }
        child.kill()
        while let line = child.line() { begun += line == "begin" ? 1 : 0 }
        child.wait()

        var history = Generator(7)
        var model = StoreModel()
        var seen = 0
        for step in 0...begun {
            while seen < shots.count, shots[seen] == model { seen += 1 }
            if step < begun { model.apply(Operation.random(&history)) }
        }
        #expect(seen == shots.count, "snapshot \(seen) shows no state of the store after the one before it")
        #expect(Set(shots.map { "\($0)" }).count > 3, "the store did not change meanwhile")
    }

    @Test func killedAtRandomPointsASnapshotIsThereOrNot() throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        for number in 0..<40 { _ = try store.add(Samples.adapter(number, anyFloat: true), as: "name\(number)", over: Samples.base) }
        let whole = try StoreModel(store)
        var random = SystemRandomNumberGenerator()
        var leftOvers = 0
        var round = 0
        while round < 25 || (leftOvers <= 2 && round < 500) {
            defer { round += 1 }
            let child = try Child("snapshot", temporary.path, temporary.folder + "/round-\(round)")
            for _ in 0..<Int.random(in: 1...6, using: &random) { #expect(child.line() != nil) }
            child.killAtRandomPoint(using: &random)
            child.wait()
            for name in try content(temporary.folder) where name.hasPrefix("round-\(round).") {
                let shot = try open(temporary.folder + "/" + name)
                #expect(try StoreModel(shot) == whole, "round \(round)")
                #expect(try shot.verifySamples().damaged.isEmpty, "round \(round)")
            }
            for name in try content(temporary.folder) where name.hasSuffix(".unfinished") {
                leftOvers += 1
                // The next snapshot takes it away, whatever its own place is.
                _ = try store.snapshot(at: temporary.folder + "/after-\(round)")
                #expect(try !content(temporary.folder).contains(name))
            }
        }
        #expect(leftOvers > 2, "most kills should fall inside a snapshot")
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    @Test(.enabled("needs the right to mount a tmpfs") { TemporaryDisk.isAllowed() })
    func aFullDiskLeavesNothingBehind() throws {
        let disk = try TemporaryDisk(bytes: 1 << 20)
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        for number in 0..<400 { _ = try store.add(Samples.adapter(number, anyFloat: true), as: "name\(number)", over: Samples.base) }
        try Data(count: 900_000).write(to: disk.url.appending(path: "ballast"))
        let refusal = #expect(throws: StoreError.self) { try store.snapshot(at: disk.url.appending(path: "copy").path(percentEncoded: false)) }
        #expect(refusal?.exitCode == 13)
        #expect(try content(disk.url.path(percentEncoded: false)) == ["ballast"])
        // Another file system takes no hard links.
        try FileManager.default.removeItem(at: disk.url.appending(path: "ballast"))
        let report = try store.snapshot(at: disk.url.appending(path: "copy").path(percentEncoded: false))
        #expect(report.linkedBases == 0)
        #expect(try open(report.path).verifySamples().damaged.isEmpty)
    }
}
