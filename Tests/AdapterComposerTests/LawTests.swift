import AdapterComposer
import AdapterFormat
import Foundation
import Testing

@Suite struct LawTests {
    private let domains = Domains()

    @Test(arguments: ["art", "1*art", "art+base", "0.5*art+0.5*art", "art@0-1+art@2-3", "art@0+art@1-3", "2*art - art"])
    func weightOneIsTheAdapterItself(_ text: String) throws {
        let art = try domains.resolve("art")
        #expect(try domains.compose(text).digest == art.digest)
    }

    @Test(arguments: ["ties(art;1)", "dare(art;1)", "majority(art)", "majority(art,art)", "ties(art,art;1)"])
    func aMergeOfOneIsItself(_ text: String) throws { #expect(try domains.bits(text) == domains.bits("art")) }

    @Test func orderDoesNotMatter() throws {
        var dice = Dice(state: 5)
        for _ in 0..<50 {
            var terms = ["art", "birds", "cars", "art@1", "ties(art,cars;0.5)"].map { "\(dice.uniform())*\($0)" }
            let one = try domains.compose(terms.joined(separator: "+"))
            for index in terms.indices { terms.swapAt(index, dice.below(terms.count)) }
            #expect(try domains.compose(terms.joined(separator: "+")).digest == one.digest)
        }
    }

    @Test func withoutWeightTheBytesAreTheBases() throws {
        let base = domains.base.vector.values.map(\.bitPattern)
        for text in ["base", "0*art", "0*art+0*birds", "art - art", "0*ties(art,birds;0.5)"] {
            #expect(try domains.bits(text) == base, "\(text)")
        }
        // The class row of a choice of strength 0 is the base's null row.
        let art = try domains.compose("0*art")
        let choice = try ClassChoice("oak", in: art.classes, domain: "art").scaled(by: 0)
        let null = domains.base.classes.row(3)
        #expect(choice.values(in: art.classes, null: null) == Array(null))
        #expect(Array(art.classes.row(2)) == Array(null))
    }

    /// Against the plain formula, value by value.
    @Test func aSumIsTheSumOfDifferences() throws {
        let (art, birds) = try (domains.resolve("art").adapter.vector.values, domains.resolve("birds").adapter.vector.values)
        let base = domains.base.vector.values
        let got = try domains.compose("0.7*art - 0.3*birds@1-2").vector.values
        for tensor in domains.base.layout.tensors {
            let isIn = tensor.block.map { (1...2).contains($0) } ?? false
            for i in tensor.range {
                let wanted = Double(base[i]) + 0.7 * (Double(art[i]) - Double(base[i])) - (isIn ? 0.3 * (Double(birds[i]) - Double(base[i])) : 0)
                #expect(abs(Double(got[i]) - wanted) < 1e-6)
            }
        }
    }

    /// What no source moves is the base's to the last bit.
    @Test func unmovedValuesStay() throws {
        let got = try domains.bits("0.7*art+0.3*birds - 1.5*cars")
        let all = try ["art", "birds", "cars"].map { try domains.bits($0) }, base = domains.base.vector.values.map(\.bitPattern)
        var unmoved = 0
        for i in base.indices where all.allSatisfy({ $0[i] == base[i] }) {
            #expect(got[i] == base[i])
            unmoved += 1
        }
        #expect(unmoved > 50)
    }

    @Test func blocksOfTwoDomainsAreThoseDomains() throws {
        let got = try domains.bits("art@0-1+birds@2-3"), art = try domains.bits("art"), birds = try domains.bits("birds")
        for tensor in domains.base.layout.tensors {
            // The embedders belong to the first block, the final layer to the last.
            let isArt = tensor.block.map { $0 < 2 } ?? tensor.name.contains("embedder")
            for i in tensor.range { #expect(got[i] == (isArt ? art : birds)[i]) }
        }
    }

    @Test func classesAreUnitedAndNeverAveraged() throws {
        let both = try domains.compose("0.7*birds+0.3*art")
        #expect(both.classes.names == ["art/portrait", "art/oak", "birds/rose", "birds/oak"])
        let art = try domains.resolve("art").adapter.classes, birds = try domains.resolve("birds").adapter.classes
        #expect(Array(both.classes.row(1)) == Array(art.row(1)))
        #expect(Array(both.classes.row(2)) == Array(birds.row(0)))
        #expect(try domains.compose("0.5*birds").classes.names == ["rose", "oak"])
        // The null row is no class of a domain: it is the weighted sum, as the vector is.
        let null = domains.base.classes.row(3)
        for (i, value) in both.classes.row(4).enumerated() {
            let wanted = null[null.startIndex + i] * (1 - 1) + 0.3 * Array(art.row(2))[i] + 0.7 * Array(birds.row(2))[i]
            #expect(abs(value - wanted) < 1e-5)
        }
        let labelled = try domains.compose("0.7*birds+0.3*art", labelsFrom: "art")
        #expect(labelled.classes == art)
        #expect(labelled.vector == both.vector)
        #expect(labelled.digest != both.digest)
        #expect(
            throws: ComposerError.noLabels(
                name: "cars", among: both.manifest.parents?.map { $0 == domains.resolvedAdapters["art"]?.digest ? "art" : "birds" } ?? [])
        ) {
            try domains.compose("0.7*birds+0.3*art", labelsFrom: "cars")
        }
    }

    @Test func aComposedAdapterSaysWhatItIs() throws {
        let composed = try domains.compose("0.7*birds+0.3*art")
        let digests = try ["art", "birds"].map { try domains.resolve($0).digest }.sorted()
        #expect(composed.manifest.parents == digests)
        #expect(composed.manifest.trainableSet == TrainableSet(.difffit, gammaDepth: 2))
        #expect(try composed.manifest.recipe == domains.canonical("0.3*art+0.7*birds").text)
    }

    @Test func whatDoesNotFitIsRefusedByName() throws {
        var domains = domains
        var dice = Dice(state: 9)
        let other = Domains(depth: 3, names: ["elsewhere"])
        let strange = domains.random("strange", &dice, kind: "speed")
        #expect(throws: ComposerError.otherKind(name: "strange", kind: "speed")) {
            try CanonicalRecipe(Recipe("strange"), over: domains.base) { _ in strange }
        }
        #expect(throws: ComposerError.self) {
            try CanonicalRecipe(Recipe("elsewhere+art"), over: domains.base) { try ($0 == "art" ? domains : other).resolve($0) }
        }
        domains = Domains(names: ["big"])
        let big = try domains.resolve("big")
        let huge = Adapter(
            manifest: big.adapter.manifest, vector: TunableVector(big.adapter.vector.values.map { _ in .greatestFiniteMagnitude }, layout: domains.base.layout),
            classes: big.adapter.classes)
        #expect(throws: ComposerError.self) {
            try CanonicalRecipe(Recipe("1000*big"), over: domains.base) { _ in ResolvedAdapter(name: "big", digest: huge.digest, adapter: huge) }
                .oneVector().adapter(over: domains.base)
        }
    }
}
