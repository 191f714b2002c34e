import AdapterComposer
import AdapterFormat
import Foundation

/// A small base and adapters of it with random values, reproducible.
struct Domains {
    let base: ComposingBase
    private(set) var resolvedAdapters: [String: ResolvedAdapter] = [:]

    init(depth: Int = 4, names: [String] = ["art", "birds", "cars"]) {
        let configuration = DiTConfiguration(
            inputSize: 4, patchSize: 2, inChannels: 3, hiddenSize: 8, depth: depth, numHeads: 2, numClasses: 3, learnSigma: false)
        let layout = TunableLayout(configuration)
        var dice = Dice(state: 7)
        let values = TunableVector.neutral(layout).values.map { $0 + dice.normal() * 0.3 }
        let classes = ClassTable(names: ["0", "1", "2"], values: (0..<32).map { _ in dice.normal() })
        base = ComposingBase(
            digest: Digest(of: Data("base".utf8)), layout: layout, vector: TunableVector(values, layout: layout), classes: classes,
            prediction: "x0", path: "linear")
        for name in names { resolvedAdapters[name] = random(name, &dice) }
    }

    /// Half of its values differ from the base's.
    func random(_ name: String, _ dice: inout Dice, classes: [String] = ["rose", "oak"], kind: String = "difffit") -> ResolvedAdapter {
        let vector = TunableVector(base.vector.values.map { dice.below(2) == 0 ? $0 : $0 + dice.normal() }, layout: base.layout)
        let names = name == "art" ? ["portrait", "oak"] : classes
        let table = ClassTable(names: names, values: (0..<((names.count + 1) * 8)).map { _ in dice.normal() })
        var manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: base.layoutDigest,
            trainableSet: TrainableSet(name == "art" ? .bitfit : .difffit, gammaDepth: name == "art" ? 0 : 2), classes: names, prediction: "x0",
            path: "linear")
        manifest.kind = kind
        let adapter = Adapter(manifest: manifest, vector: vector, classes: table)
        return ResolvedAdapter(name: name, digest: adapter.digest, adapter: adapter)
    }

    /// A LoRA adapter with random pairs.
    mutating func add(lora name: String, _ lowRank: LowRank, resolution: Int? = nil) {
        var dice = Dice(state: UInt64(name.count) + 11)
        let layout = base.layout.adding(lowRank)
        let pairs = (base.layout.count..<layout.count).map { _ in dice.normal() }
        var manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: layout.digest, trainableSet: TrainableSet(.lora, gammaDepth: 0), classes: ["rose"],
            prediction: "x0", path: "linear", lowRank: lowRank)
        manifest.resolution = resolution
        let table = ClassTable(names: ["rose"], values: (0..<16).map { _ in dice.normal() })
        let adapter = Adapter(manifest: manifest, vector: TunableVector(base.vector.values + pairs, layout: layout), classes: table)
        resolvedAdapters[name] = ResolvedAdapter(name: name, digest: adapter.digest, adapter: adapter)
    }

    /// A distilled vector with random values in half of its places, or one for each step of a solver of so many.
    mutating func add(distilled name: String, _ record: DistillationRecord) {
        var dice = Dice(state: UInt64(name.count) + 31)
        let layout = base.layout.repeated(steps: record.steps)
        let values = base.vector.extended(to: layout, steps: record.steps).values.map { dice.below(2) == 0 ? $0 : $0 + dice.normal() }
        var manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: layout.digest, trainableSet: TrainableSet(.difffit, gammaDepth: 4), classes: [],
            prediction: "x0", path: "linear")
        manifest.distillation = record
        let adapter = Adapter(
            manifest: manifest, vector: TunableVector(values, layout: layout), classes: ClassTable(names: [], values: Array(base.classes.values.suffix(8))))
        resolvedAdapters[name] = ResolvedAdapter(name: name, digest: adapter.digest, adapter: adapter)
    }

    mutating func put(_ name: String, _ adapter: Adapter) {
        resolvedAdapters[name] = ResolvedAdapter(name: name, digest: adapter.digest, adapter: adapter)
    }

    struct Unknown: Error { let reference: String }

    func resolve(_ reference: String) throws -> ResolvedAdapter {
        let parts = reference.split(separator: "@").map(String.init)
        if let found = resolvedAdapters[parts[0]], parts.count == 1 || found.digest.description.hasPrefix(parts[1]) { return found }
        guard let found = resolvedAdapters.values.first(where: { $0.digest.description.hasPrefix(parts[parts.count - 1]) }) else {
            throw Unknown(reference: reference)
        }
        return found
    }

    func canonical(_ text: String) throws -> CanonicalRecipe { try CanonicalRecipe(Recipe(text), over: base, resolve: resolve) }

    func compose(_ text: String, labelsFrom: String? = nil) throws -> Adapter {
        try canonical(text).oneVector().adapter(over: base, labelsFrom: labelsFrom)
    }

    func bits(_ text: String) throws -> [UInt32] { try compose(text).vector.values.map(\.bitPattern) }
}

/// A small generator with a seed.
struct Dice {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }

    mutating func uniform() -> Double { Double(below(1 << 24)) / Double(1 << 24) }
    /// Near enough to a normal number.
    mutating func normal() -> Float { Float((0..<6).reduce(0) { sum, _ in sum + uniform() } - 3) }
}
