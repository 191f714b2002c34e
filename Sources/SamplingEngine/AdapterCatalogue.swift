import AdapterFormat
import AdapterStore
import Foundation
import Synchronization

/// The adapters of one base as a server sees them: loaded ones stay resident, and what any process changes in the store is
/// seen at the next call, at the price of one look at the store's generation.
package final class AdapterCatalogue: Sendable {
    package struct Binding: Sendable {
        package let adapter: BoundAdapter
        /// Time to read it from the store; zero where it was resident.
        package let load: Duration
        package let wasResident: Bool
    }

    package let store: AdapterStore
    package let base: BaseFile
    private let values: BaseValues
    private let budget: Int
    private let state = Mutex(State())

    private struct State {
        var generation: UInt64?
        /// What references stood for at that generation.
        var digests: [String: (name: String, digest: Digest)] = [:]
        var resident: [Digest: (adapter: BoundAdapter, lastUse: UInt64)] = [:]
        var bytes = 0
        var tick: UInt64 = 0
    }

    /// - Parameter budget: bytes of vectors and class tables that stay resident; the longest unused go first.
    package init(_ store: AdapterStore, base: BaseFile, budget: Int = 1 << 30) throws {
        self.store = store
        self.base = base
        self.budget = budget
        values = try BaseValues(digest: base.digest, layout: base.layout, vector: base.vector)
    }

    /// The adapter behind `base`, a name, a digest or its first digits, or `name@digest`, whole and immutable.
    /// - Throws: `StoreError`, and `SamplingEngineError.otherBase`.
    package func bind(_ reference: String) throws -> Binding {
        if reference == "base" {
            let adapter = BoundAdapter(name: "base", digest: base.digest, vector: base.vector, classes: base.classes)
            return Binding(adapter: adapter, load: .zero, wasResident: true)
        }
        let (name, digest) = try resolve(reference)
        if let adapter = resident(digest) { return Binding(adapter: adapter.named(name), load: .zero, wasResident: true) }
        let start = ContinuousClock.now
        let stored = try store.load(digest, over: values)
        let adapter = BoundAdapter(name: name, digest: digest, vector: stored.vector, classes: stored.classes)
        keep(adapter)
        return Binding(adapter: adapter, load: .now - start, wasResident: false)
    }

    /// The store's adapters of this base, by name.
    package func list() throws -> [AdapterEntry] { try store.list().filter { $0.baseDigest == base.digest } }

    package var residentDigests: Set<Digest> { state.withLock { Set($0.resident.keys) } }
    package var residentBytes: Int { state.withLock { $0.bytes } }

    private func resolve(_ reference: String) throws -> (name: String, digest: Digest) {
        let generation = try store.generation()
        let known = state.withLock { state in
            if state.generation != generation {
                state.digests = [:]
                state.generation = generation
            }
            return state.digests[reference]
        }
        if let known { return known }
        let entry = try store.lookup(reference)
        guard entry.baseDigest == base.digest else {
            throw SamplingEngineError.otherBase(adapter: reference, base: entry.baseDigest, wanted: base.digest)
        }
        let found = (name: entry.name ?? entry.digest.short, digest: entry.digest)
        state.withLock { state in
            // A change since then has emptied the table: what was found may be of the past.
            if state.generation == generation { state.digests[reference] = found }
        }
        return found
    }

    private func resident(_ digest: Digest) -> BoundAdapter? {
        state.withLock { state in
            state.tick += 1
            state.resident[digest]?.lastUse = state.tick
            return state.resident[digest]?.adapter
        }
    }

    private func keep(_ adapter: BoundAdapter) {
        state.withLock { state in
            guard state.resident[adapter.digest] == nil else { return }
            state.tick += 1
            state.resident[adapter.digest] = (adapter, state.tick)
            state.bytes += adapter.bytes
            while state.bytes > budget, let oldest = state.resident.min(by: { $0.value.lastUse < $1.value.lastUse }) {
                state.resident[oldest.key] = nil
                state.bytes -= oldest.value.adapter.bytes
            }
        }
    }
}

extension BoundAdapter {
    var bytes: Int { (vector.values.count + classes.values.count) * MemoryLayout<Float>.size }

    fileprivate func named(_ name: String) -> BoundAdapter { BoundAdapter(name: name, digest: digest, vector: vector, classes: classes) }
}
