import AdapterComposer
import AdapterFormat
import ArgumentParser
import Foundation
import TensorMath

struct BenchCompose: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compose", abstract: "Seconds to compose adapters, against reading their bytes once from memory.",
        discussion: "Example: adapterctl bench compose --adapters 2,8,100 --model DiT-XL/2")
    @Option(help: "How many adapters, with commas between.") var adapters = "2,8,100"
    @Option var runs = 20
    @Option(help: "Classes of each.") var classes = 10
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let adapters, bytesRead: Int
        /// The sum of the vectors alone; with class tables, checks and the content's digest; reading the vectors once.
        let sum, whole, read: Timing
        let sumOverRead: Double
    }

    func run() throws {
        let counts = adapters.split(separator: ",").compactMap { Int($0) }
        guard !counts.isEmpty, counts.allSatisfy({ (1...1000).contains($0) }), (1...10_000).contains(runs), (1...10_000).contains(classes) else {
            throw Failure.usage("--adapters takes numbers from 1 to 1000 such as 2,8,100; --runs and --classes are at least 1")
        }
        let layout = TunableLayout(try model.configuration())
        let digest = Digest(of: Data("bench".utf8))
        let width = layout.configuration.hiddenSize
        let base = ComposingBase(
            digest: digest, layout: layout, vector: .neutral(layout), classes: ClassTable(names: [], values: [Float](repeating: 0, count: width)),
            prediction: "x0", path: "linear")
        // Identities are given, not computed: what is timed is composing.
        let resolvedAdapters = (0..<(counts.max() ?? 1)).map { index in
            ResolvedAdapter(
                name: "adapter-\(index)", digest: Digest(of: Data("\(index)".utf8)),
                adapter: model.randomAdapter(layout, base: digest, classes: classes, seed: UInt64(index)))
        }
        let results = try counts.map { try measure(Array(resolvedAdapters.prefix($0)), over: base) }
        try output.report("bench compose", results) {
            results.map { result in
                """
                \(result.sum.line)
                \(result.whole.line)
                \(result.read.line)
                the sum takes \(String(format: "%.2f", result.sumOverRead)) of the reading
                """
            }.joined(separator: "\n") + "\n" + (results.first?.sum.machine ?? "")
        }
    }

    private func measure(_ resolvedAdapters: [ResolvedAdapter], over base: ComposingBase) throws -> Result {
        let weight = 1 / Double(resolvedAdapters.count)
        let recipe = try Recipe(resolvedAdapters.map { "\(weight)*\($0.name)" }.joined(separator: "+"))
        let byName = Dictionary(uniqueKeysWithValues: resolvedAdapters.map { ($0.name, $0) })
        let canonical = try CanonicalRecipe(recipe, over: base) { name in
            guard let found = byName[name] else { throw Failure.notFound("there is no '\(name)'") }
            return found
        }.oneVector()
        let sum = Timing("sum of \(resolvedAdapters.count, "vector") of \(base.layout.count) values", runs: runs) { _ = canonical.vector(over: base) }
        let whole = try Timing("compose of \(resolvedAdapters.count), with classes and digest", runs: runs) { _ = try canonical.adapter(over: base).digest }
        // Read as fast as one thread can, by the sum of squares that the trainer uses.
        let vectors = resolvedAdapters.map { resolved in
            let memory = Memory(capacity: Memory.paddedCount(base.layout.count))
            let vector = memory.take(base.layout.count)
            vector.copy(from: resolved.adapter.vector.values)
            return vector
        }
        var total = 0.0
        let read = Timing("reading \(resolvedAdapters.count, "vector") once", runs: runs) { for vector in vectors { total += sumOfSquares(vector) } }
        precondition(total.isFinite)
        return Result(
            adapters: resolvedAdapters.count, bytesRead: resolvedAdapters.count * base.layout.count * 4, sum: sum, whole: whole, read: read,
            sumOverRead: sum.medianSeconds / read.medianSeconds)
    }
}
