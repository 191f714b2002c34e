import AdapterFormat
import AdapterStore
import Foundation

/// One change of a store, with what it does to a model of the store's content.
package enum Operation: Equatable, Sendable {
    /// Adapter number, name, whether it may replace.
    case add(Int, String, Bool)
    case remove(String)
    case rename(String, String)
    case prune
    /// A second base file, which no adapter needs.
    case importBase(Int)
    case removeBase(Int)

    package static func random(_ generator: inout Generator) -> Operation {
        func name() -> String { "name\(Int.random(in: 0..<5, using: &generator))" }
        switch Int.random(in: 0..<20, using: &generator) {
        case 0..<9: return .add(Int.random(in: 0..<12, using: &generator), name(), Bool.random(using: &generator))
        case 9..<12: return .remove(name())
        case 12..<14: return .rename(name(), name())
        case 14..<17: return .prune
        case 17..<19: return .importBase(Int.random(in: 0..<3, using: &generator))
        default: return .removeBase(Int.random(in: 0..<3, using: &generator))
        }
    }

    package static func baseFile(_ number: Int) -> Data { Data("another base, \(number)".utf8) }

    /// Performs the operation; refusals that the model foresees too are part of it.
    package func perform(on store: AdapterStore) throws {
        do throws(StoreError) {
            switch self {
            case .add(let number, let name, let replace):
                _ = try store.add(Samples.adapter(number), as: name, over: Samples.base, replace: replace)
            case .remove(let name): try store.remove(name)
            case .rename(let old, let new): try store.rename(old, to: new)
            case .prune: _ = try store.prune()
            case .importBase(let number):
                try store.importBase(from: store.path + "/../base-\(number)", card: Data("{}".utf8))
            case .removeBase(let number): try store.removeBase(Samples.digest(Operation.baseFile(number)))
            }
        } catch {
            switch error {
            case .nameTaken, .notFound, .baseNotFound: return
            default: throw error
            }
        }
    }
}

/// What a store should hold: the reference that real stores are compared with.
package struct StoreModel: Equatable, Sendable {
    package var names: [String: Digest] = [:]
    package var adapters: Set<Digest> = []
    package var bases: Set<Digest> = [Samples.base.digest]

    package init() {}

    /// What the store holds now.
    package init(_ store: AdapterStore) throws {
        let entries = try store.list(includingUnnamed: true)
        for entry in entries {
            if let name = entry.name { names[name] = entry.digest }
            adapters.insert(entry.digest)
        }
        bases = Set(try store.listBases().map(\.digest))
    }

    package mutating func apply(_ operation: Operation) {
        switch operation {
        case .add(let number, let name, let replace):
            let digest = Samples.adapter(number).digest
            if let previous = names[name], previous != digest, !replace { return }
            names[name] = digest
            adapters.insert(digest)
        case .remove(let name): names[name] = nil
        case .rename(let old, let new):
            guard let digest = names[old], names[new] == nil else { return }
            names[old] = nil
            names[new] = digest
        case .prune: adapters = Set(names.values)
        case .importBase(let number): bases.insert(Samples.digest(Operation.baseFile(number)))
        case .removeBase(let number): bases.remove(Samples.digest(Operation.baseFile(number)))
        }
    }
}
