import AdapterComposer
import AdapterFormat
import Foundation
import Testing

/// Adapters of a dense base on a sparse one: what they become, and how often the recovery may be in a sum.
@Suite struct RecoveryTests {
    private var domains: Domains
    private let dense: ComposingBase

    init() throws {
        domains = Domains(names: ["birds", "cars"])
        let own = domains.base
        // The sparse base's own values have moved too, as training moves them.
        dense = ComposingBase(
            digest: Digest(of: Data("dense".utf8)), layout: own.layout,
            vector: TunableVector(own.vector.values.enumerated().map { $0 % 3 == 0 ? $1 + 0.25 : $1 }, layout: own.layout), classes: own.classes,
            prediction: own.prediction, path: own.path)
        for name in ["recovery", "another"] {
            var record = DistillationRecord(role: .recovery, method: "test", domains: [], guidance: "none", guidanceScale: 1, guidanceInterval: [0, 1])
            record.recovers = dense.digest
            domains.add(distilled: name, record)
        }
        domains.add(lora: "pairs", LowRank(ranks: ["blocks.1.mlp.fc1": 2], scale: 2))
    }

    /// An adapter of the dense base.
    private func adapter(_ name: String) throws -> ResolvedAdapter {
        let own = try domains.resolve(name).adapter
        var manifest = own.manifest
        manifest.baseDigest = dense.digest
        let vector = TunableVector(
            dense.vector.values.enumerated().map { $1 + own.vector.values[$0] - domains.base.vector.values[$0] }
                + own.vector.values[domains.base.layout.count...],
            layout: manifest.layout(over: dense.layout))
        let adapter = Adapter(manifest: manifest, vector: vector, classes: own.classes)
        return ResolvedAdapter(name: name, digest: adapter.digest, adapter: adapter)
    }

    private func recovered(_ name: String, through recovery: String = "recovery") throws -> Adapter {
        try adapter(name).recovered(from: dense, through: domains.resolve(recovery), over: domains.base)
    }

    /// sparse + (adapter - dense) + (recovery - sparse), value by value, with both as parents; it is another adapter, of the sparse base.
    @Test func theDifferencesAdd() throws {
        let made = try recovered("birds"), own = try adapter("birds"), recovery = try domains.resolve("recovery")
        for (index, base) in domains.base.vector.values.enumerated() {
            let wanted = Double(recovery.adapter.vector.values[index]) + Double(own.adapter.vector.values[index]) - Double(dense.vector.values[index])
            #expect(abs(Double(made.vector.values[index]) - wanted) < 1e-5, "\(index), over \(base)")
        }
        #expect(made.manifest.baseDigest == domains.base.digest)
        #expect(made.manifest.isDomain)
        #expect(made.classes == own.adapter.classes)
        #expect(Set(made.manifest.parents ?? []) == [own.digest, recovery.digest])
        #expect(made.manifest.recovery == recovery.digest)
        #expect(made.digest != own.digest)
        // A later program's field is no earlier program's silence.
        #expect(made.manifest.schemaVersion == 2)
        let again = try JSONDecoder().decode(AdapterManifest.self, from: Data(sortedJSON(made.manifest).utf8))
        #expect(again == made.manifest)
    }

    /// Low-rank pairs stand beside the recovery as they are.
    @Test func pairsComeOverToo() throws {
        let made = try recovered("pairs"), own = try adapter("pairs"), recovery = try domains.resolve("recovery")
        #expect(made.vector.lowRank?.ranks == ["blocks.1.mlp.fc1": 2])
        let count = domains.base.layout.count
        for index in 0..<count { #expect(abs(made.vector.values[index] - recovery.adapter.vector.values[index]) < 1e-5) }
        #expect(own.adapter.manifest.kind == made.manifest.kind)
    }

    @Test func whatCannotComeOverIsNamed() throws {
        let recovery = try domains.resolve("recovery"), birds = try adapter("birds")
        #expect(throws: ComposerError.self) { try birds.recovered(from: dense, through: domains.resolve("cars"), over: domains.base) }
        // An adapter of the sparse base is none of the dense one.
        #expect(throws: ComposerError.otherBase(name: "birds", base: domains.base.digest, wanted: dense.digest)) {
            try domains.resolve("birds").recovered(from: dense, through: recovery, over: domains.base)
        }
        // What a vector for guidance was measured on is gone.
        var manifest = birds.adapter.manifest
        manifest.distillation = DistilledPartsTests.record(.guidance)
        let guide = Adapter(manifest: manifest, vector: birds.adapter.vector, classes: birds.adapter.classes)
        let error = #expect(throws: ComposerError.self) {
            try ResolvedAdapter(name: "guide", digest: guide.digest, adapter: guide).recovered(from: dense, through: recovery, over: domains.base)
        }
        #expect("\(String(describing: error))".contains("distil it anew"))
    }

    /// The recovery is in every sum once: weights that say otherwise are refused with the term that mends it.
    @Test func aRecoveryCountsOnce() throws {
        var all = domains
        for name in ["birds", "cars"] {
            let made = try recovered(name)
            all.put("\(name)-24", made)
        }
        all.put("other-24", try recovered("birds", through: "another"))
        let recovery = try domains.resolve("recovery").digest.short
        for recipe in ["birds-24", "0.5*birds-24+0.5*cars-24", "0.7*birds-24+0.3*recovery", "recovery", "birds-24+cars-24 - recovery"] {
            #expect(try all.compose(recipe).vector.values.count == all.base.layout.count, "\(recipe)")
        }
        let doubled = #expect(throws: ComposerError.self) { try all.compose("birds-24+cars-24") }
        #expect("\(String(describing: doubled))".contains("add -1*\(recovery)"))
        let half = #expect(throws: ComposerError.self) { try all.compose("0.5*birds-24") }
        #expect("\(String(describing: half))".contains("0.5 times, and it is to be there once: add 0.5*\(recovery)"))
        #expect(throws: ComposerError.self) { try all.compose("birds-24@0-1+cars-24@1-3") }
        #expect(throws: ComposerError.otherRecovery(first: "birds-24", second: "other-24")) { try all.compose("0.5*birds-24+0.5*other-24") }
        let merged = #expect(throws: ComposerError.self) { try all.compose("ties(birds-24,cars-24;0.5)") }
        #expect("\(String(describing: merged))".contains("a merge would keep a share of it"))
        // The sum of the recovery and nothing is what it recovers: the base's classes, and nothing of guidance.
        let alone = try all.compose("recovery")
        #expect(alone.classes == all.base.classes)
        #expect(alone.manifest.foldedGuidance == nil)
        #expect(try all.compose("0.5*birds-24+0.5*cars-24").manifest.recovery == (try domains.resolve("recovery")).digest)
    }

    @Test func aRecordNamesWhatItRecovers() {
        var record = DistillationRecord(role: .recovery, method: "regression", domains: [], guidance: "none", guidanceScale: 1, guidanceInterval: [0, 1])
        #expect(record.fault?.contains("names the dense base") == true)
        record.recovers = dense.digest
        #expect(record.fault == nil)
        record.guidance = "cfg"
        #expect(record.fault != nil)
    }
}
