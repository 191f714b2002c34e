import Crypto
import Foundation
import TensorFiles

/// What an adapter says about itself. Unknown fields of a later version are passed over.
package struct AdapterManifest: Sendable, Hashable, Codable {
    /// 1, or 2 where the manifest has what programs of version 1 would pass over and sample something else.
    package private(set) var schemaVersion = 1
    /// "difffit" or "lora".
    package var kind: String
    /// The name it was stored or exported under; a label, not part of its identity.
    package var name: String?
    package var baseDigest: Digest
    package var layoutDigest: Digest
    package var trainableSet: TrainableSet
    /// The pairs of a LoRA adapter.
    package var lowRank: LowRank?
    package var classes: [String]
    package var prediction: String
    package var path: String
    /// Side of its images in pixels or latent pixels, where that is not the base's, and what positions were divided by.
    package var resolution: Int?
    package var positionScale: Double?
    package var training: TrainingFacts?
    /// ISO 8601.
    package var created: String?
    /// Digests of the adapters this one was made from, and how.
    package var parents: [Digest]?
    package var recipe: String?
    /// Values of one fixed network call with the adapter applied (`InferenceDiT.goldenValues`).
    package var golden: [Float]?
    package var cacheProfiles: [CacheProfile]?
    package var solverProfiles: [SolverProfile]?
    /// Of a vector that is added to domains; nil for a domain.
    package var distillation: DistillationRecord? { didSet { raiseSchema() } }
    /// Of a domain whose values have guidance in them.
    package var foldedGuidance: FoldedGuidance? { didSet { raiseSchema() } }
    /// Of an adapter that was taken over from a dense base: the recovery of the sparse one that is in its values.
    package var recovery: Digest? { didSet { raiseSchema() } }

    package init(
        name: String?, baseDigest: Digest, layoutDigest: Digest, trainableSet: TrainableSet, classes: [String], prediction: String, path: String,
        lowRank: LowRank? = nil, training: TrainingFacts? = nil, created: String? = nil
    ) {
        kind = lowRank == nil ? "difffit" : "lora"
        self.name = name
        self.baseDigest = baseDigest
        self.layoutDigest = layoutDigest
        self.trainableSet = trainableSet
        self.lowRank = lowRank
        self.classes = classes
        self.prediction = prediction
        self.path = path
        self.training = training
        self.created = created
    }

    enum CodingKeys: String, CodingKey {
        case kind, name, classes, prediction, path, training, created, parents, recipe, golden, resolution
        case lowRank = "low_rank"
        case positionScale = "position_scale"
        case schemaVersion = "schema_version"
        case baseDigest = "base_digest"
        case layoutDigest = "layout_digest"
        case trainableSet = "trainable_set"
        case cacheProfiles = "cache_profiles"
        case solverProfiles = "solver_profiles"
        case distillation, recovery
        case foldedGuidance = "folded_guidance"
    }
}

extension AdapterManifest {
    /// The latest version that this program reads and writes.
    package static let latestSchema = 2

    private mutating func raiseSchema() { schemaVersion = distillation == nil && foldedGuidance == nil && recovery == nil ? 1 : Self.latestSchema }

    /// Drops what was measured of the values, as is right when they change.
    package mutating func forgetMeasurements() { (golden, cacheProfiles, solverProfiles) = (nil, nil, nil) }

    /// The table that the adapter's vector is over: the base's own, or that and the low-rank pairs, once or for each step.
    package func layout(over base: TunableLayout) -> TunableLayout { base.over(lowRank).repeated(steps: distillation?.steps) }

    /// The grid of images that the adapter was trained on, where it is not the base's own.
    package var imageGrid: ImageGrid? { resolution.map { ImageGrid(size: $0, positionScale: positionScale ?? 1) } }
}

/// Side of the images, in pixels or latent pixels, and what the positions of their patches are divided by.
package struct ImageGrid: Sendable, Hashable {
    package let size: Int
    package let positionScale: Double

    package init(size: Int, positionScale: Double) {
        self.size = size
        self.positionScale = positionScale
    }
}

/// A whole adapter: its manifest, the absolute values over the base's layout, and its class table.
package struct Adapter: Sendable, Hashable {
    package var manifest: AdapterManifest
    package let vector: TunableVector
    package let classes: ClassTable

    package init(manifest: AdapterManifest, vector: TunableVector, classes: ClassTable) {
        self.manifest = manifest
        self.vector = vector
        self.classes = classes
    }

    /// The same adapter with every value of its trainable set and class table rounded to bfloat16: half the bytes, and by
    /// its content another adapter. What the set leaves out stays the base's.
    ///
    /// - Parameter base: the base's own table.
    package func roundedToBFloat16(_ base: TunableLayout) -> Adapter {
        let layout = manifest.layout(over: base)
        var values = vector.values
        for tensor in manifest.trainableSet.tensors(of: layout) {
            for index in tensor.range { values[index] = BFloat16.rounded(values[index]) }
        }
        var manifest = manifest
        // What was recorded of the unrounded values is not true of these.
        manifest.forgetMeasurements()
        return Adapter(
            manifest: manifest, vector: TunableVector(values, layout: layout),
            classes: ClassTable(names: classes.names, values: classes.values.map(BFloat16.rounded)))
    }

    /// Identity (law 4): SHA-256 over kind, base, layout, trainable set, a resolution of its own, what a distilled vector is for,
    /// class names and every value. Names, dates and training facts do not change it.
    package var digest: Digest {
        var hash = SHA256()
        let set = manifest.trainableSet
        var head = [manifest.kind, "\(manifest.baseDigest)", "\(manifest.layoutDigest)", "\(set.method.rawValue):\(set.gammaDepth)"]
        if let resolution = manifest.resolution { head.append("\(resolution):\(manifest.positionScale ?? 1)") }
        if let distillation = manifest.distillation { head.append(distillation.identity) }
        for text in head + classes.names {
            // The length first: no two lists of names give one text.
            hash.update(data: Data("\(text.utf8.count):\(text)\n".utf8))
        }
        for values in [vector.values, classes.values] {
            hash.update(data: Data("[\(values.count)]".utf8))
            hash.update(data: littleEndianBytes(values))
        }
        return Digest(hash.finalize())
    }
}

/// float32 little-endian.
func littleEndianBytes(_ values: [Float]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: values.count * 4)
    for (index, value) in values.enumerated() {
        let bits = value.bitPattern
        bytes[4 * index] = UInt8(truncatingIfNeeded: bits)
        bytes[4 * index + 1] = UInt8(truncatingIfNeeded: bits >> 8)
        bytes[4 * index + 2] = UInt8(truncatingIfNeeded: bits >> 16)
        bytes[4 * index + 3] = UInt8(truncatingIfNeeded: bits >> 24)
    }
    return bytes
}
