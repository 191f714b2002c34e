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
