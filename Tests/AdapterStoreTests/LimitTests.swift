import AdapterStore
import Foundation
import Testing
import storehammer

struct LimitTests {
    @Test func aFullMapLeavesTheStoreAsItWasAndGrowsWhenAllowed() throws {
        let temporary = try TemporaryStore()
        var options = TemporaryStore.options
        options.mapSizeLimit = 1 << 17
        let store = try temporary.create(options)
        var refusal: StoreError?
        var number = 0
        var model = StoreModel()
        while refusal == nil, number < 2000 {
            model = try StoreModel(store)
            do throws(StoreError) {
                _ = try store.add(Samples.adapter(number, anyFloat: true), as: "n\(number)", over: Samples.base)
                number += 1
            } catch {
                refusal = error
            }
        }
        #expect(refusal == .mapFull(path: temporary.path, bytes: 1 << 17))
        #expect(try StoreModel(store) == model)
        #expect(number > 10 && number < 2000)
        #expect(try store.verifySamples().damaged.isEmpty)
        options.mapSizeLimit = 1 << 22
        let larger = try temporary.open(options)
        for next in number..<(number + 400) {
            _ = try larger.add(Samples.adapter(next, anyFloat: true), as: "n\(next)", over: Samples.base)
        }
        #expect(try larger.statistics().mapBytes > 1 << 17)
        #expect(try larger.list().count == number + 400)
        #expect(try larger.verifySamples().damaged.isEmpty)
    }

    /// LMDB writes its lock file through a map, where a full disk would end the process: in one of its own.
    @Test(.enabled("needs the right to mount a tmpfs") { TemporaryDisk.isAllowed() })
    func aFullDiskTakesNoStoreAndNoLockFile() async {
        await #expect(processExitsWith: .success) {
            let disk = try TemporaryDisk(bytes: 1 << 20)
            let folder = disk.url.path(percentEncoded: false)
            let full = { (error: StoreError) in if case .diskFull = error { true } else { false } }
            _ = try AdapterStore.create(at: folder + "/store")
            try FileManager.default.removeItem(atPath: folder + "/store/lock.mdb")
            try Data().write(to: URL(filePath: folder + "/filling"))
            let handle = try #require(FileHandle(forWritingAtPath: folder + "/filling"))
            for _ in 0..<1024 { try? handle.write(contentsOf: Data(count: 4096)) }
            #expect { try AdapterStore.create(at: folder + "/other") } throws: { ($0 as? StoreError).map(full) == true }
            try FileManager.default.moveItem(atPath: folder + "/store", toPath: folder + "/moved")
            #expect { try AdapterStore.open(at: folder + "/moved") } throws: { ($0 as? StoreError).map(full) == true }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["filling", "moved"])
        }
    }

    @Test func readersAndWritersOfManyThreadsRunBesideTheGrowthOfTheMap() async throws {
        let temporary = try TemporaryStore()
        let store = try temporary.create()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<2 {
                group.addTask {
                    for number in 0..<150 {
                        _ = try store.add(
                            Samples.adapter(2 * number + writer, anyFloat: true), as: "w\(writer)-\(number)", over: Samples.base)
                    }
                }
            }
            for _ in 0..<2 {
                group.addTask {
                    for _ in 0..<100 {
                        if let entry = try store.list().last { _ = try store.load(entry.digest, over: Samples.base) }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try store.list().count == 300)
        #expect(try store.verifySamples().damaged.isEmpty)
    }
}
