import AdapterComposer
import AdapterFormat
import Foundation
import Testing

/// Vectors for guidance and for steps in recipes: what they add, what they demand, and what contradicts them.
@Suite struct DistilledPartsTests {
    private let domains: Domains

    static func solver(_ times: [Double]) -> SolverProfile {
        let zeros = times.map { _ in 0.0 }
        return SolverProfile(
            times: times, x: zeros, m: times.map { _ in 1 }, m1: zeros, startScale: nil, startShift: nil, guidance: "cfg", guidanceScale: 3,
            guidanceInterval: [0.1, 0.8], family: "free", teacherSampler: "multistep", teacherSteps: 40, psnr: 30, images: 64)
    }

    static func record(_ role: DistillationRecord.Role, steps: [Double]? = nil, interval: [Double] = [0.1, 0.8]) -> DistillationRecord {
        DistillationRecord(
            role: role, method: "test", domains: [], guidance: "cfg", guidanceScale: 3, guidanceInterval: interval, solver: steps.map(solver))
    }

    init() {
        var domains = Domains(names: ["art", "birds"])
        domains.add(distilled: "guide", Self.record(.guidance))
        domains.add(distilled: "guides", Self.record(.guidance))
        domains.add(distilled: "wideguide", Self.record(.guidance, interval: [0, 1]))
        domains.add(distilled: "turbo", Self.record(.steps, steps: [0, 0.5]))
        domains.add(distilled: "turbo-2", Self.record(.steps, steps: [0, 0.4]))
        self.domains = domains
    }

    /// A domain keeps its own class names beside a vector that has none; the vector alone is a sum with the base.
    @Test func classesAreTheDomains() throws {
        #expect(try domains.compose("birds+guide").classes.names == ["rose", "oak"])
        #expect(try domains.compose("birds+0.5*guide").classes.values.prefix(16) == domains.resolve("birds").adapter.classes.values.prefix(16))
        #expect(try domains.compose("0.5*birds+0.5*art+guide").classes.names == ["art/portrait", "art/oak", "birds/rose", "birds/oak"])
        #expect(try domains.compose("guide").classes == domains.base.classes)
        #expect(throws: ComposerError.noLabels(name: "guide", among: ["birds"])) { try domains.compose("birds+guide", labelsFrom: "guide") }
    }

    /// base + (domain - base) + weight (guide - base), value by value.
    @Test func valuesAdd() throws {
        let (sum, birds, guide) = (try domains.compose("birds+0.5*guide"), try domains.resolve("birds").adapter, try domains.resolve("guide").adapter)
        for (index, base) in domains.base.vector.values.enumerated() {
            let wanted = Double(birds.vector.values[index]) + 0.5 * (Double(guide.vector.values[index]) - Double(base))
            #expect(abs(Double(sum.vector.values[index]) - wanted) < 1e-6)
        }
    }

    /// The dial: 1 + weight (3 - 1), and the record of what is in a composed vector.
    @Test(arguments: [("birds+guide", 3.0), ("birds+0.5*guide", 2), ("birds+0.5*guide+0.25*guides", 2.5), ("0.5*art+0.5*birds - 0.5*guide", 0)])
    func weightsAreADial(recipe: String, scale: Double) throws {
        let folded = FoldedGuidance(kind: "cfg", scale: scale, interval: [0.1, 0.8])
        #expect(try domains.canonical(recipe).foldedGuidance() == folded)
        #expect(try domains.compose(recipe).manifest.foldedGuidance == folded)
    }

    @Test func othersHaveNoGuidance() throws {
        #expect(try domains.canonical("birds+art").foldedGuidance() == nil)
        #expect(try domains.compose("birds+art").manifest.foldedGuidance == nil)
        #expect(try domains.canonical("birds+turbo").foldedGuidance() == FoldedGuidance(kind: "cfg", scale: 3, interval: [0.1, 0.8]))
    }

    /// Each step has its own vector and what else is in the stage that it falls in; the text is the recipe's still.
    @Test func stepsBecomeStages() throws {
        let recipe = try domains.canonical("(birds+turbo)>0.5>(art+turbo)")
        let laid = try recipe.laidOverSteps(over: domains.base)
        #expect(laid.stages.map(\.start) == [0, 0.5])
        #expect(try recipe.solver()?.times == [0, 0.5])
        let turbo = try domains.resolve("turbo").adapter, count = domains.base.layout.count
        for (step, name) in ["birds", "art"].enumerated() {
            let found = try laid.stages[step].parts[0].sum.adapter(over: domains.base)
            let domain = try domains.resolve(name).adapter
            for (index, base) in domains.base.vector.values.enumerated() {
                let wanted = Double(domain.vector.values[index]) + Double(turbo.vector.values[step * count + index]) - Double(base)
                #expect(abs(Double(found.vector.values[index]) - wanted) < 1e-6)
            }
        }
        let plain = try domains.canonical("birds")
        #expect(try plain.laidOverSteps(over: domains.base) == plain)
    }

    @Test func contradictionsAreRefused() throws {
        #expect(throws: ComposerError.guidanceTwice(first: "guide", second: "wideguide")) { try folded("birds+guide+wideguide") }
        #expect(throws: ComposerError.self) { try folded("birds+guide+turbo") }
        #expect(throws: ComposerError.self) { try folded("(birds+guide)>0.5>birds") }
        #expect(throws: ComposerError.distilledInMerge(name: "guide")) { try folded("ties(birds,guide;0.5)") }
        #expect(throws: ComposerError.self) { try domains.canonical("birds+turbo+turbo-2").solver() }
        #expect(throws: ComposerError.stepsOnlyInPart(name: "turbo")) { try domains.canonical("birds>0.5>birds+turbo").solver() }
        #expect(throws: ComposerError.stepsAsOneVector(name: "turbo")) { try domains.compose("birds+turbo") }
    }

    private func folded(_ text: String) throws -> FoldedGuidance? { try domains.canonical(text).foldedGuidance() }

    /// What a vector is for is part of its identity, as are its steps' times; the figure that was measured of it is not.
    @Test func theRecordIsPartOfTheIdentity() throws {
        let turbo = try domains.resolve("turbo").adapter
        var other = turbo
        other.manifest.distillation?.solver?.times = [0, 0.6]
        #expect(other.digest != turbo.digest)
        other = turbo
        other.manifest.distillation?.psnr = 31
        #expect(other.digest == turbo.digest)
    }

    /// Programs of the first version refuse what they would sample with guidance twice, and read everything else.
    @Test func whatChangesNumbersHasAVersionOfItsOwn() throws {
        #expect(try domains.compose("birds+guide").manifest.schemaVersion == 2)
        #expect(try domains.resolve("turbo").adapter.manifest.schemaVersion == 2)
        #expect(try domains.compose("birds+art").manifest.schemaVersion == 1)
    }

    /// Of a manifest from elsewhere, whose noise levels are read later on.
    @Test(arguments: [("[0.1, 0.8]", false), ("[]", true), ("[1, 0]", true)]) func foldedGuidanceIsChecked(interval: String, isFaulty: Bool) throws {
        var manifest = try domains.resolve("birds").adapter.manifest
        let json = #"{"kind": "cfg", "scale": 3, "interval": \#(interval)}"#
        manifest.foldedGuidance = try JSONDecoder().decode(FoldedGuidance.self, from: Data(json.utf8))
        #expect((manifest.distillationFault != nil) == isFaulty)
    }

    @Test(arguments: [
        (#"{"role": "guidance", "method": "x", "domains": [], "guidance": "cfg", "guidance_scale": 1, "guidance_interval": [0, 1]}"#, true),
        (#"{"role": "guidance", "method": "x", "domains": [], "guidance": "cfg", "guidance_scale": 3, "guidance_interval": [1, 0]}"#, true),
        (#"{"role": "steps", "method": "x", "domains": [], "guidance": "cfg", "guidance_scale": 3, "guidance_interval": [0, 1]}"#, true),
        (#"{"role": "guidance", "method": "x", "domains": [], "guidance": "cfg", "guidance_scale": 3, "guidance_interval": [0, 1]}"#, false),
    ])
    func recordsAreChecked(json: String, isFaulty: Bool) throws {
        let record = try JSONDecoder().decode(DistillationRecord.self, from: Data(json.utf8))
        #expect((record.fault != nil) == isFaulty)
    }
}
