import AdapterComposer
import AdapterFormat
import Foundation
import Testing

/// The merge rules against straight readings of their papers.
@Suite struct MergeTests {
    private let domains = Domains()

    private func differences(_ names: [String]) throws -> [[Double]] {
        try names.map { name in zip(try domains.resolve(name).adapter.vector.values, domains.base.vector.values).map { Double($0) - Double($1) } }
    }

    private func expect(_ recipe: String, _ wanted: (Int) -> Double) throws {
        let got = try domains.compose(recipe).vector.values
        for (i, base) in domains.base.vector.values.enumerated() {
            #expect(abs(Double(got[i]) - Double(base) - wanted(i)) < 1e-5, "value \(i)")
        }
    }

    @Test(arguments: [0.1, 0.5, 1]) func tiesTrimsElectsAndAverages(kept: Double) throws {
        var moves = try differences(["art", "birds", "cars"])
        // Trim: of each adapter and kind all but the largest.
        for a in moves.indices {
            for kind in TunableKind.allCases {
                let indices = domains.base.layout.tensors.filter { $0.kind == kind }.flatMap { Array($0.range) }
                let order = indices.sorted { abs(moves[a][$0]) > abs(moves[a][$1]) }
                for i in order.dropFirst(Int((kept * Double(indices.count)).rounded(.up))) { moves[a][i] = 0 }
            }
        }
        try expect("ties(art,birds,cars;\(kept))") { i in
            let sign = moves.reduce(0) { $0 + $1[i] } > 0 ? 1.0 : -1.0
            let agreeing = moves.map { $0[i] }.filter { $0 * sign > 0 }
            return agreeing.isEmpty ? 0 : agreeing.reduce(0, +) / Double(agreeing.count)
        }
    }

    /// Many arguments, in stretches and chosen without sorting: to the last bit what the plain reading gives, summed in the same order.
    @Test(arguments: [0.05, 0.3, 0.99]) func manyArgumentsToTheLastBit(kept: Double) throws {
        let names = ["art", "birds", "cars"], base = domains.base.vector.values
        let terms = (0..<40).map { (share: Double(1 + $0), name: names[$0 % 3]) }
        let recipe = "ties(" + terms.map { "\($0.share)*\($0.name)" }.joined(separator: ",") + ";\(kept))"
        // In the order of the digests, then of the shares.
        let ordered = try terms.sorted { a, b in
            let (one, other) = (try domains.resolve(a.name).digest, try domains.resolve(b.name).digest)
            return (one, a.share) < (other, b.share)
        }
        let values = try ordered.map { try domains.resolve($0.name).adapter.vector.values }
        var floors = values.map { _ in [Float](repeating: 0, count: base.count) }
        for a in values.indices {
            for kind in TunableKind.allCases {
                let indices = domains.base.layout.tensors.filter { $0.kind == kind }.flatMap { Array($0.range) }
                let sizes = indices.map { abs(values[a][$0] - base[$0]) }.sorted()
                let count = Int((kept * Double(sizes.count)).rounded(.up))
                for i in indices { floors[a][i] = count < sizes.count ? sizes[sizes.count - count] : 0 }
            }
        }
        let wanted = base.indices.map { i -> UInt32 in
            let moves = values.indices.map { abs(values[$0][i] - base[i]) >= floors[$0][i] ? Double(values[$0][i]) - Double(base[i]) : 0 }
            let elected = zip(ordered, moves).reduce(0.0) { $0 + $1.0.share * $1.1 }
            guard elected != 0 else { return base[i].bitPattern }
            let agreeing = zip(ordered, moves).filter { $0.1 * elected > 0 }
            let move = agreeing.reduce(0.0) { $0 + $1.0.share * $1.1 } / agreeing.reduce(0.0) { $0 + $1.0.share }
            return (move == 0 ? base[i] : Float(Double(base[i]) + move)).bitPattern
        }
        #expect(try domains.bits(recipe) == wanted)
    }

    /// What a recipe takes is known from its text: terms, merges' arguments, and a rule's factor for each value.
    @Test func theCostIsKnownBeforeTheWork() throws {
        func counts(_ text: String) throws -> [Int] {
            let recipe = try Recipe(text), (all, merged) = recipe.termCounts
            return [all, merged, recipe.composingWork(values: 10)]
        }
        #expect(try counts("art") == [1, 0, 10])
        #expect(try counts("art+2*birds - cars@1") == [3, 0, 30])
        #expect(try counts("art>0.5>(art+birds)") == [4, 0, 40])
        #expect(try counts("ties(art,birds;0.5)") == [3, 2, 190])
        #expect(try counts("dare(art,majority(birds,cars);0.5)") == [5, 4, 170])
        #expect(try counts("score(0.5*art+0.5*birds)") == [2, 0, 20])
    }

    /// Composing of a task that was cancelled ends in its words and makes nothing.
    @Test func whoeverLeftIsNotComposedFor() async throws {
        let domains = domains
        let work = Task {
            // Cancelled before it begins, so that the first look sees it.
            for _ in 0..<10_000_000 where !Task.isCancelled { await Task.yield() }
            return try domains.compose("ties(art,birds,cars;0.5)")
        }
        work.cancel()
        await #expect(throws: ComposerError.cancelled) { try await work.value }
    }

    @Test func aShareWeighsInTheMean() throws {
        let moves = try differences(["art", "birds"])
        try expect("ties(3*art,birds;1)") { i in
            let (a, b) = (moves[0][i], moves[1][i])
            let sum = 3 * a + b
            return a * b > 0 ? sum / 4 : sum * a > 0 ? a : b
        }
        try expect("majority(3*art,birds)") { (3 * moves[0][$0] + moves[1][$0]) / 4 }
    }

    @Test func majorityKeepsWhatHalfOfThemMoved() throws {
        let moves = try differences(["art", "birds", "cars"])
        try expect("majority(art,birds,cars)") { i in
            moves.count { $0[i] != 0 } >= 2 ? moves.reduce(0) { $0 + $1[i] } / 3 : 0
        }
    }

    @Test func dareKeepsItsShareScaledUp() throws {
        let moves = try differences(["art"])[0]
        let got = try domains.compose("dare(art;0.25,seed=3)").vector.values
        var kept = 0, moved = 0
        for (i, base) in domains.base.vector.values.enumerated() where moves[i] != 0 {
            moved += 1
            let move = Double(got[i]) - Double(base)
            if move != 0 {
                kept += 1
                #expect(abs(move - 4 * moves[i]) < 1e-4)
            }
        }
        // Four standard deviations of a binomial draw.
        #expect(abs(Double(kept) - 0.25 * Double(moved)) < 4 * (0.1875 * Double(moved)).squareRoot())
        #expect(moved > 200)
        #expect(try domains.bits("dare(art;0.25,seed=3)") == domains.bits("dare(art;0.25,seed=3)"))
        #expect(try domains.bits("dare(art;0.25,seed=3)") != domains.bits("dare(art;0.25,seed=4)"))
        // Two adapters draw apart.
        let both = try domains.compose("dare(art,birds;0.5,seed=1)").vector.values
        #expect(both != (try domains.compose("majority(art,birds)").vector.values))
    }

    /// Class rows are never thinned out: the null row is the mean whatever the rule keeps.
    @Test func theNullRowIsTheMean() throws {
        let tables = try ["art", "birds"].map { try domains.resolve($0).adapter.classes }
        for rule in ["ties(art,birds;0.1)", "dare(art,birds;0.1)", "majority(art,birds)"] {
            let null = try Array(domains.compose(rule).classes.row(4))
            for (i, value) in null.enumerated() {
                #expect(abs(value - (Array(tables[0].row(2))[i] + Array(tables[1].row(2))[i]) / 2) < 1e-5)
            }
        }
    }
}
