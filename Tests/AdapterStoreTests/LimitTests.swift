import AdapterFormat
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
        #expect(number > 10)
        #expect(number < 2000)
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

    /// A write that only begins to fit fails as well as one that does not: LMDB names it an input/output error.
    @Test(.enabled("needs the right to mount a tmpfs") { TemporaryDisk.isAllowed() }, arguments: [0, 1, 2, 5, 9, 15])
    func aDiskThatFillsInsideAChangeIsNamed(freePages: Int) throws {
        let disk = try TemporaryDisk(bytes: 1 << 20)
        let temporary = try TemporaryStore(in: disk.url)
        let store = try temporary.create()
        _ = try store.add(1, as: "before")
        let before = try StoreModel(store)
        let ballast = disk.url.appending(path: "ballast").path
        #expect(FileManager.default.createFile(atPath: ballast, contents: nil))
        let handle = try #require(FileHandle(forWritingAtPath: ballast))
        while (try? handle.write(contentsOf: Data(count: 4096))) != nil {}
        let size = try handle.offset()
        try handle.truncate(atOffset: size / 4096 * 4096 - UInt64(4096 * freePages))
        // Twenty pages of their own, and those of the tables.
        let names = (1..<5000).map { "class \($0)" }
        var generator = Generator(9)
        let large = Samples.adapter(Samples.base.vector.values, ClassTable(names: names, values: (0..<20_000).map { _ in generator.float() }), manifest: "{}")
        let refusal = #expect(throws: StoreError.self) { try store.add(large, as: "large", over: Samples.base) }
        #expect(refusal == .diskFull(path: temporary.path), "\(freePages) pages: \(String(describing: refusal))")
        #expect(try StoreModel(store) == before)
        #expect(try store.verifySamples().damaged.isEmpty)
        try handle.truncate(atOffset: 0)
        #expect(try store.add(2, as: "after") == .added)
    }

    @Test(.enabled("needs the right to mount a tmpfs") { TemporaryDisk.isAllowed() })
    func aFullDiskTakesNoStore() throws {
        let disk = try TemporaryDisk(bytes: 1 << 20)
        let folder = disk.url.path(percentEncoded: false)
        #expect(FileManager.default.createFile(atPath: folder + "/filling", contents: nil))
        let handle = try #require(FileHandle(forWritingAtPath: folder + "/filling"))
        while (try? handle.write(contentsOf: Data(count: 4096))) != nil {}
        let refusal = #expect(throws: StoreError.self) { try AdapterStore.create(at: folder + "/other") }
        #expect(refusal?.exitCode == 13)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["filling"])
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
