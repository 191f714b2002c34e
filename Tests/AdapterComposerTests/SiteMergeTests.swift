import AdapterComposer
import AdapterFormat
import Testing

@Suite struct SiteMergeTests {
    private let domains = Domains(names: ["a", "b", "c"])

    private func site(_ name: String, _ samples: Double) throws -> SiteMerge.Site { SiteMerge.Site(try domains.resolve(name), samples: samples) }

    @Test(arguments: SiteMerge.Rule.allCases) func oneSiteIsItself(rule: SiteMerge.Rule) throws {
        let a = try domains.resolve("a")
        #expect(try SiteMerge(rule, [site("a", 7)]).adapter(over: domains.base).digest == a.digest)
        // The same site twice: what a mean of equals gives.
        #expect(try SiteMerge(rule, [site("a", 7), site("a", 2)]).adapter(over: domains.base).vector == a.adapter.vector)
    }

    @Test func theMeanIsBySamplesAndOrderDoesNotMatter() throws {
        let merged = try SiteMerge(.average, [site("a", 300), site("b", 100)]).adapter(over: domains.base)
        let (a, b) = try (domains.resolve("a").adapter, domains.resolve("b").adapter)
        for i in merged.vector.values.indices {
            #expect(abs(merged.vector.values[i] - (0.75 * a.vector.values[i] + 0.25 * b.vector.values[i])) < 1e-5)
        }
        #expect(merged.classes.names == ["rose", "oak"])
        for i in merged.classes.values.indices { #expect(abs(merged.classes.values[i] - (0.75 * a.classes.values[i] + 0.25 * b.classes.values[i])) < 1e-5) }
        #expect(try SiteMerge(.average, [site("b", 100), site("a", 300)]).adapter(over: domains.base).digest == merged.digest)
    }

    @Test func theMajorityKeepsWhatHalfMoved() throws {
        let sites = try [site("a", 1), site("b", 2), site("c", 3)]
        let merged = try SiteMerge(.majority, sites).adapter(over: domains.base)
        for (i, base) in domains.base.vector.values.enumerated() {
            let moves = sites.map { Double($0.resolved.adapter.vector.values[i]) - Double(base) }
            let wanted = moves.count { $0 != 0 } >= 2 ? zip(moves, [1, 2, 3]).reduce(0) { $0 + $1.0 * $1.1 } / 6 : 0
            #expect(abs(Double(merged.vector.values[i]) - Double(base) - wanted) < 1e-5)
        }
    }

    /// Sites that saw different classes: all are there, and a row is averaged over those that have it.
    @Test func classesOfSomeSitesStay() throws {
        var dice = Dice(state: 11)
        let a = try site("a", 3), other = domains.random("d", &dice, classes: ["oak", "fern"])
        let merged = try SiteMerge(.average, [a, SiteMerge.Site(other, samples: 1)]).adapter(over: domains.base)
        #expect(Set(merged.classes.names) == ["rose", "oak", "fern"])
        let (one, two) = (a.resolved.adapter.classes, other.adapter.classes)
        let row = { (name: String) in Array(merged.classes.row(merged.classes.names.firstIndex(of: name) ?? 0)) }
        #expect(row("rose") == Array(one.row(0)))
        #expect(row("fern") == Array(two.row(1)))
        for (i, value) in row("oak").enumerated() { #expect(abs(value - (0.75 * Array(one.row(1))[i] + 0.25 * Array(two.row(0))[i])) < 1e-5) }
    }

    @Test func whatCanNotBeMergedIsSaid() throws {
        #expect(throws: ComposerError.nothingToMerge) { try SiteMerge(.average, []) }
        #expect(throws: ComposerError.badCount(name: "a", count: 0)) { try SiteMerge(.average, [site("a", 0)]) }
        let other = try Domains(depth: 3, names: ["e"]).resolve("e")
        #expect(throws: ComposerError.self) { try SiteMerge(.average, [site("a", 1), SiteMerge.Site(other, samples: 1)]).adapter(over: domains.base) }
    }
}
