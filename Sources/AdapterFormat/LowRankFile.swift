import Foundation
import TensorFiles

/// A LoRA adapter as other software wrote it, bound to the base completely: pairs under whatever names, each with its scale, and
/// what was trained beside them.
///
/// Queries, keys and values, which diffusers keeps apart, become one pair of the base's fused layer: their A above each other,
/// their B each in its own third of the outputs. The product is exactly theirs.
struct LowRankFile {
    private(set) var lowRank = LowRank(ranks: [:], scale: 1)
    /// Factors by their names in the layout, row-major.
    private(set) var factors: [String: [Float]] = [:]
    /// Biases that are not the base's, by name.
    private(set) var biases: [String: [Float]] = [:]
    /// The class table where it is not the base's.
    private(set) var table: (rows: Int, values: [Float])?
    /// What its metadata says otherwise than its tensors, a sentence.
    private(set) var remarks: [String] = []

    /// One pair as its file has it.
    private struct Source {
        let layer: String
        let place: LowRankNames.Place
        let rank: Int
        let scale: Double
        let a, b: [Float]
    }

    /// - Parameter config: where an `adapter_config.json` may be.
    /// - Throws: `AdapterFormatError` with the layer and shape that does not fit.
    init(_ file: TensorFile, base: BaseFile, config: String?, reading: AdapterReading) throws {
        if let name = file.entries.first(where: { LowRankNames.otherMethod($0.name) != nil })?.name, let method = LowRankNames.otherMethod(name) {
            throw AdapterFormatError.otherMethod(file: file.path, what: "holds '\(name)', of \(method); pairs of plain LoRA are read here")
        }
        var layers: [String: [LowRankNames.Part: TensorEntry]] = [:]
        var rest: [TensorEntry] = []
        for entry in file.entries {
            guard let (layer, part) = LowRankNames.split(entry.name) else {
                rest.append(entry)
                continue
            }
            guard layers[layer, default: [:]].updateValue(entry, forKey: part) == nil else {
                throw AdapterFormatError.inconsistentShapes(file: file.path, reason: "it has two tensors for one part of the pair of '\(layer)'")
            }
        }
        let stated = try LowRankConfiguration(of: file, config: config)
        let places = LowRankNames.places(depth: base.configuration.depth)
        let own = LowRankFile.Reader(file: file, base: base, stated: stated, reading: reading)
        var sources: [LowRankNames.Place: Source] = [:]
        for (layer, parts) in layers.sorted(by: { $0.key < $1.key }) {
            if parts[.embeddingA] != nil || parts[.embeddingB] != nil {
                guard layer == TunableLayout.classTableName.dropLast(".weight".count) else {
                    throw AdapterFormatError.noPairPlace(file: file.path, layer: layer)
                }
                table = try own.embedding(layer, parts)
                continue
            }
            guard let place = places[layer] else { throw AdapterFormatError.noPairPlace(file: file.path, layer: layer) }
            let (source, remark) = try own.source(layer, place, parts)
            if let remark, remarks.isEmpty { remarks.append(remark) }
            guard sources.updateValue(source, forKey: place) == nil else {
                throw AdapterFormatError.inconsistentShapes(file: file.path, reason: "it has two pairs for '\(layer)'")
            }
            if let bias = parts[.bias] { try add(bias, of: source, file, base) }
        }
        lowRank = try Self.pairs(sources, base.configuration, file, into: &factors)
        for entry in rest { try take(entry, file, base) }
    }

    /// The pairs of each layer of the base as one.
    private static func pairs(
        _ sources: [LowRankNames.Place: Source], _ c: DiTConfiguration, _ file: TensorFile, into factors: inout [String: [Float]]
    ) throws -> LowRank {
        var ranks: [String: Int] = [:]
        var scales: [String: Float] = [:]
        for (name, own) in Dictionary(grouping: sources.values, by: \.place.name) {
            let parts = own.sorted { ($0.place.third ?? -1) < ($1.place.third ?? -1) }
            guard parts.count == 1 || parts.allSatisfy({ $0.place.third != nil }) else {
                throw AdapterFormatError.inconsistentShapes(file: file.path, reason: "it has pairs for '\(name)' and for parts of it")
            }
            let linear = parts[0].place.linear
            let names = LowRank.names(of: name)
            if parts.count == 3, parts.dropFirst().allSatisfy({ $0.a == parts[0].a && $0.scale == parts[0].scale && $0.rank == parts[0].rank }) {
                // One pair of the fused layer that was taken apart for diffusers.
                (factors[names.a], factors[names.b]) = (parts[0].a, parts.flatMap(\.b))
                (ranks[name], scales[name]) = (parts[0].rank, Float(parts[0].scale))
                continue
            }
            let outputs = linear.outputs(c), rank = parts.reduce(0) { $0 + $1.rank }
            guard rank <= linear.largestRank(c) else {
                throw AdapterFormatError.inconsistentShapes(file: file.path, reason: "rank \(rank) of '\(name)' does not fit the base")
            }
            let isCommon = parts.allSatisfy { $0.scale == parts[0].scale }
            var b = [Float](repeating: 0, count: outputs * rank)
            var first = 0
            for part in parts {
                let rows = part.b.count / part.rank, top = (part.place.third ?? 0) * rows
                for row in 0..<rows {
                    for column in 0..<part.rank {
                        let value = part.b[row * part.rank + column]
                        b[(top + row) * rank + first + column] = isCommon ? value : Float(Double(value) * part.scale)
                    }
                }
                first += part.rank
            }
            (factors[names.a], factors[names.b]) = (parts.flatMap(\.a), b)
            (ranks[name], scales[name]) = (rank, isCommon ? Float(parts[0].scale) : 1)
        }
        return LowRank(ranks: ranks, scales: scales)
    }

    /// A bias beside B, which PEFT's `lora_bias` trains: a part of the layer's own from here on.
    private mutating func add(_ entry: TensorEntry, of source: Source, _ file: TensorFile, _ base: BaseFile) throws {
        let name = source.place.name + ".bias"
        guard let tensor = base.layout[name] else { throw AdapterFormatError.unknownTensor(file: file.path, name: entry.name) }
        let values = try file.finite(entry.name), count = source.place.third == nil ? tensor.count : tensor.count / 3
        guard entry.shape == [count] else { throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: [count]) }
        var bias = biases[name] ?? Array(base.vector.values[tensor.range])
        let first = (source.place.third ?? 0) * count
        for index in 0..<count { bias[first + index] += Float(source.scale * Double(values[index])) }
        biases[name] = bias
    }

    /// What stands beside the pairs: a class table, biases, and matrices that must be the base's.
    private mutating func take(_ entry: TensorEntry, _ file: TensorFile, _ base: BaseFile) throws {
        let name = LowRankNames.plain(entry.name)
        if let range = name.range(of: ".original_module") {
            // PEFT keeps the untrained original beside what it trains whole.
            let original = name.replacingCharacters(in: range, with: "")
            let own = try original == TunableLayout.classTableName ? base.classes.stored.values : base.file.floats(original)
            guard entry.holds(own) else { throw AdapterFormatError.otherMatrix(file: file.path, name: original, base: base.digest.short) }
            return
        }
        if name == TunableLayout.classTableName {
            let width = base.configuration.hiddenSize
            guard table == nil, entry.shape.count == 2, entry.shape[1] == width else {
                throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: [base.classes.rows, width])
            }
            let values = try file.finite(entry.name)
            if !entry.holds(base.classes.stored.values) { table = (entry.shape[0], values) }
            return
        }
        if let tensor = base.layout[name], tensor.kind == .bias {
            guard entry.shape == tensor.shape else {
                throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: tensor.shape)
            }
            let values = try file.finite(entry.name)
            if !entry.holds(Array(base.vector.values[tensor.range])) { biases[name] = values }
            return
        }
        // Positions follow from the shape.
        guard name != BaseFile.positionsName else { return }
        guard let shape = base.configuration.frozenTensors.first(where: { $0.name == name })?.shape else {
            throw AdapterFormatError.unknownTensor(file: file.path, name: entry.name)
        }
        guard entry.shape == shape else { throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: shape) }
        guard entry.dtype.isFloatingPoint, entry.isClose(to: try base.file.entry(name)) else {
            throw AdapterFormatError.movedMatrix(file: file.path, name: name)
        }
    }

    /// Reads single pairs of a file.
    private struct Reader {
        let file: TensorFile
        let base: BaseFile
        let stated: LowRankConfiguration?
        let reading: AdapterReading

        func source(_ layer: String, _ place: LowRankNames.Place, _ parts: [LowRankNames.Part: TensorEntry]) throws -> (Source, remark: String?) {
            guard let a = parts[.a], let b = parts[.b] else {
                throw AdapterFormatError.halfPair(file: file.path, layer: layer, missing: parts[.a] == nil ? "lora_A" : "lora_B")
            }
            let c = base.configuration, inputs = place.linear.inputs(c)
            let outputs = place.third == nil ? place.linear.outputs(c) : place.linear.outputs(c) / 3
            let rank = a.shape.first ?? 0
            guard (1...place.linear.largestRank(c)).contains(rank) else {
                throw AdapterFormatError.inconsistentShapes(file: file.path, reason: "rank \(rank) of '\(layer)' does not fit the base")
            }
            // kohya's convolutions of one pixel are the same numbers.
            for (entry, expected) in [(a, [rank, inputs]), (b, [outputs, rank])] where entry.shape != expected && entry.shape != expected + [1, 1] {
                throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: expected)
            }
            let scale = try scale(layer, rank: rank, parts[.alpha])
            let remark = try parts[.alpha].flatMap { stated?.contradiction(layer, alpha: try number($0), rank: rank) }
            return (Source(layer: layer, place: place, rank: rank, scale: scale, a: try file.finite(a.name), b: try file.finite(b.name)), remark)
        }

        /// The base's table with the pair of the embedding added: row r changes by scale times column r of B A.
        func embedding(_ layer: String, _ parts: [LowRankNames.Part: TensorEntry]) throws -> (rows: Int, values: [Float]) {
            guard let a = parts[.embeddingA], let b = parts[.embeddingB] else {
                throw AdapterFormatError.halfPair(file: file.path, layer: layer, missing: parts[.embeddingA] == nil ? "lora_embedding_A" : "lora_embedding_B")
            }
            let (shape, own) = base.classes.stored, rank = a.shape.first ?? 0
            for (entry, expected) in [(a, [rank, shape[0]]), (b, [shape[1], rank])] where entry.shape != expected || rank < 1 {
                throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: expected)
            }
            let scale = try scale(layer, rank: rank, parts[.alpha]), x = try file.finite(a.name), y = try file.finite(b.name)
            var values = own
            for row in 0..<shape[0] {
                for column in 0..<shape[1] {
                    let sum = (0..<rank).reduce(0.0) { $0 + Double(y[column * rank + $1]) * Double(x[$1 * shape[0] + row]) }
                    values[row * shape[1] + column] += Float(scale * sum)
                }
            }
            return (shape[0], values)
        }

        private func number(_ alpha: TensorEntry) throws -> Double {
            guard alpha.count == 1 else { throw AdapterFormatError.wrongShape(file: file.path, name: alpha.name, shape: alpha.shape, expected: []) }
            return try alpha.dtype.isInteger ? Double(file.integers(alpha.name)[0]) : Double(file.finite(alpha.name)[0])
        }

        /// From the layer's own tensor, else what accompanies the file, else what the user says; all that speak must agree, but for
        /// kohya's notes beside a tensor.
        private func scale(_ layer: String, rank: Int, _ alpha: TensorEntry?) throws -> Double {
            var said = try alpha.map { try number($0) / Double(rank) }
            let isNoted = said != nil && stated?.isNote == true
            let given = reading.loraScale ?? reading.loraAlpha.map { $0 / Double(rank) }
            for other in [isNoted ? nil : try stated?.scale(of: layer, rank: rank), given] {
                guard let other else { continue }
                if let said, abs(said - other) > 1e-6 * max(abs(said), abs(other)) {
                    throw AdapterFormatError.otherScale(file: file.path, layer: layer, stated: "\(said)", given: "\(other)")
                }
                said = said ?? other
            }
            guard let said, said.isFinite else { throw AdapterFormatError.noScale(file: file.path) }
            return said
        }
    }
}

extension TensorEntry {
    /// Whether these values, rounded to the tensor's own type, are the tensor's.
    fileprivate func holds(_ values: [Float]) -> Bool {
        guard dtype.isFloatingPoint, count == values.count else { return false }
        let own = floats(0..<count)
        switch dtype {
        case .bf16: return own == values.map(BFloat16.rounded)
        case .f16: return own == values.map { Float(Float16($0)) }
        default: return own == values
        }
    }
}

extension TensorFile {
    /// The values of a tensor, refused where one is not finite.
    func finite(_ name: String) throws -> [Float] {
        let values = try floats(name)
        guard values.allSatisfy(\.isFinite) else { throw AdapterFormatError.notFinite(file: path, name: name) }
        return values
    }
}
