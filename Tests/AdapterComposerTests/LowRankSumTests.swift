import AdapterComposer
import AdapterFormat
import Testing

/// Sums with LoRA adapters in them: exact in the products, and in the values of others beside them.
@Suite struct LowRankSumTests {
    private let domains: Domains

    init() {
        var domains = Domains(names: ["art", "birds"])
        domains.add(lora: "sketch", LowRank(ranks: ["blocks.0.attn.qkv": 2, "blocks.1.mlp.fc2": 3], scale: 0.5))
        domains.add(lora: "ink", LowRank(ranks: ["blocks.0.attn.qkv": 3, "blocks.2.attn.proj": 1], scale: 2))
        self.domains = domains
    }

    /// scale B A of one layer, row-major; zero where the adapter has no pair.
    private func product(_ adapter: Adapter, _ linear: LowRank.Linear, block: Int) -> [Double] {
        let configuration = domains.base.layout.configuration
        let (inputs, outputs) = (linear.inputs(configuration), linear.outputs(configuration))
        let name = linear.name(block: block), names = LowRank.names(of: name)
        let layout = adapter.manifest.layout(over: domains.base.layout)
        guard let lowRank = adapter.manifest.lowRank, let rank = lowRank.ranks[name], let a = layout[names.a], let b = layout[names.b] else {
            return [Double](repeating: 0, count: inputs * outputs)
        }
        let values = adapter.vector.values
        return (0..<outputs).flatMap { output in
            (0..<inputs).map { input in
                Double(lowRank.scale)
                    * (0..<rank).reduce(0.0) {
                        $0 + Double(values[b.range.lowerBound + output * rank + $1]) * Double(values[a.range.lowerBound + $1 * inputs + input])
                    }
            }
        }
    }

    @Test(arguments: [("0.7*sketch+0.3*ink", [0.7, 0.7, 0.7, 0.7], [0.3, 0.3, 0.3, 0.3]), ("-2*ink@0+sketch@0-1", [1, 1, 0, 0], [-2, 0, 0, 0])])
    func everyProductIsTheWeightedSum(recipe: String, first: [Double], second: [Double]) throws {
        let sum = try domains.compose(recipe)
        let sketch = try domains.resolve("sketch").adapter, ink = try domains.resolve("ink").adapter
        for block in 0..<4 {
            for linear in LowRank.Linear.allCases {
                let wanted = zip(product(sketch, linear, block: block), product(ink, linear, block: block)).map { first[block] * $0 + second[block] * $1 }
                let found = product(sum, linear, block: block)
                #expect(zip(found, wanted).allSatisfy { abs($0 - $1) < 1e-5 * (1 + abs($1)) }, "\(linear) of block \(block)")
            }
        }
        #expect(Array(sum.vector.values.prefix(domains.base.layout.count)) == domains.base.vector.values)
        #expect(sum.manifest.kind == "lora")
        #expect(sum.manifest.trainableSet.method == .lora)
        #expect(sum.manifest.parents?.count == 2)
        #expect(sum.manifest.layoutDigest == sum.manifest.layout(over: domains.base.layout).digest)
    }

    @Test func oneAdapterIsItself() throws {
        #expect(try domains.compose("sketch").vector == domains.resolve("sketch").adapter.vector)
    }

    /// Values of biases and scales, and products of pairs, each as if the other were not there.
    @Test func kindsAdd() throws {
        let sum = try domains.compose("0.5*sketch+0.25*birds"), birds = try domains.compose("0.25*birds")
        let sketch = try domains.resolve("sketch").adapter
        #expect(Array(sum.vector.values.prefix(domains.base.layout.count)) == birds.vector.values)
        for linear in [LowRank.Linear.qkv, .fc2] {
            let block = linear == .qkv ? 0 : 1
            let wanted = product(sketch, linear, block: block).map { 0.5 * $0 }
            let isEqual = zip(product(sum, linear, block: block), wanted).allSatisfy { abs($0 - $1) < 1e-5 * (1 + abs($1)) }
            #expect(isEqual)
        }
        #expect(sum.classes.names == ["birds/rose", "birds/oak", "sketch/rose"])
        #expect(sum.manifest.kind == "lora")
        // A file holds what the set has: all that any of the two has moved.
        let layout = sum.manifest.layout(over: domains.base.layout), held = sum.manifest.trainableSet.tensors(of: layout)
        let base = domains.base.vector.extended(to: layout).values
        let moved = layout.tensors.filter { tensor in tensor.range.contains { sum.vector.values[$0] != base[$0] } }
        let isHeld = moved.allSatisfy { held.contains($0) || $0.kind == .gamma }
        #expect(isHeld)
        #expect(Set(held.map(\.kind)) == Set(TunableKind.allCases))
        // The other way round, and beside a merge that holds no pairs.
        #expect(try domains.compose("0.25*birds+0.5*sketch") == sum)
        #expect(try domains.compose("ties(art,birds;0.5)+sketch").manifest.lowRank == sketch.manifest.lowRank.map { LowRank(ranks: $0.ranks, scale: 1) })
    }

    @Test func pairsHaveTheirLimits() throws {
        #expect(throws: ComposerError.mergeOfPairs(name: "ink")) { try domains.compose("ties(ink,ink;0.5)") }
        #expect(throws: ComposerError.tooManyRanks(layer: "blocks.0.attn.qkv", rank: 25, limit: 24)) {
            var wide = domains
            wide.add(lora: "wide", LowRank(ranks: ["blocks.0.attn.qkv": 23], scale: 1))
            _ = try wide.compose("wide+sketch")
        }
    }

    @Test func resolutionsDoNotMix() throws {
        var mixed = domains
        mixed.add(lora: "large", LowRank(ranks: ["blocks.0.attn.qkv": 1], scale: 1), resolution: 8)
        #expect(throws: ComposerError.self) { try mixed.compose("large+sketch") }
        #expect(try mixed.compose("2*large").manifest.resolution == 8)
    }
}
