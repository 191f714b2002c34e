import AdapterStore
import Foundation
import Testing
import storehammer

/// Random histories of changes against a dictionary model, with the store closed and opened in between.
struct HistoryTests {
    @Test(arguments: 1...8) func theStoreFollowsTheModel(seed: Int) throws {
        let temporary = try TemporaryStore()
        var generator = Generator(UInt64(seed))
        var model = StoreModel()
        var store: AdapterStore? = try temporary.create()
        for step in 0..<60 {
            if Int.random(in: 0..<8, using: &generator) == 0 {
                store = nil
                store = try temporary.open()
            }
            let operation = Operation.random(&generator)
            try operation.perform(on: store!)
            model.apply(operation)
            #expect(try StoreModel(store!) == model, "step \(step): \(operation)")
        }
        let names = try store!.list().compactMap(\.name)
        #expect(names == names.sorted())
        for entry in try store!.list(includingUnnamed: true) {
            let number = try #require((0..<12).first { Samples.adapter($0).digest == entry.digest })
            #expect(try store!.load(entry.digest, over: Samples.base) == Samples.adapter(number))
        }
        #expect(try store!.verifySamples().damaged.isEmpty)
    }
}
