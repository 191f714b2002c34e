import AdapterFormat

/// An adapter as a recipe's reference stands for it.
package struct ResolvedAdapter: Sendable, Hashable {
    /// The name it was asked for by; its classes bear it where several domains are united.
    package let name: String
    package let digest: Digest
    package let adapter: Adapter

    package init(name: String, digest: Digest, adapter: Adapter) {
        self.name = name
        self.digest = digest
        self.adapter = adapter
    }
}

/// What differences are taken against.
package struct ComposingBase: Sendable {
    package let digest: Digest
    package let layout: TunableLayout
    package let layoutDigest: Digest
    package let vector: TunableVector
    package let classes: ClassTable
    package let prediction: String
    package let path: String

    package init(_ base: BaseFile) {
        self.init(
            digest: base.digest, layout: base.layout, vector: base.vector, classes: base.classes, prediction: base.card.prediction,
            path: base.card.path)
    }

    package init(digest: Digest, layout: TunableLayout, vector: TunableVector, classes: ClassTable, prediction: String, path: String) {
        self.digest = digest
        self.layout = layout
        self.layoutDigest = layout.digest
        self.vector = vector
        self.classes = classes
        self.prediction = prediction
        self.path = path
    }

    var depth: Int { layout.configuration.depth }
    /// Whether the base knows a class that stands for none.
    var hasNullRow: Bool { classes.hasNullRow }
    var nullRow: ArraySlice<Float> { classes.row(classes.nullClass) }

    /// The base as an adapter of itself.
    package var adapter: Adapter {
        let manifest = AdapterManifest(
            name: nil, baseDigest: digest, layoutDigest: layoutDigest, trainableSet: TrainableSet(.bitfit, gammaDepth: 0), classes: classes.names,
            prediction: prediction, path: path)
        return Adapter(manifest: manifest, vector: vector, classes: classes)
    }

    /// Refuses what cannot be a term over this base.
    package func check(_ resolved: ResolvedAdapter) throws(ComposerError) {
        let (name, manifest) = (resolved.name, resolved.adapter.manifest)
        guard ["difffit", "lora"].contains(manifest.kind) else { throw .otherKind(name: name, kind: manifest.kind) }
        guard manifest.baseDigest == digest else { throw .otherBase(name: name, base: manifest.baseDigest, wanted: digest) }
        let count = resolved.adapter.vector.values.count
        let own = manifest.layout(over: layout)
        guard manifest.layoutDigest == (own.count == layout.count ? layoutDigest : own.digest), count == own.count,
            resolved.adapter.classes.width == classes.width
        else {
            throw .otherLayout(name: name, values: count, wanted: own.count)
        }
    }

    /// Values of block `block`; the embedders' lie in the first block's range, the final layer's in the last's.
    func range(ofBlock block: Int) -> Range<Int> {
        let first = block == 0 ? 0 : start(of: block)
        return first..<(block == depth - 1 ? layout.count : start(of: block + 1))
    }

    private func start(of block: Int) -> Int { layout["blocks.\(block).norm1.weight"]?.range.lowerBound ?? layout.count }
}

extension ClassTable {
    package func row(_ index: Int) -> ArraySlice<Float> { values[(index * width)..<((index + 1) * width)] }
}
