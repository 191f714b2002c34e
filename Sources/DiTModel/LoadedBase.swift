import AdapterFormat
import TensorFiles
import TensorMath

extension DiT {
    /// The network over a base file, for training.
    /// - Parameter preset: in place of what the base's card says.
    package init(_ base: BaseFile, preset: Preset? = nil) throws {
        let lasting = try base.convertedMemory { _ in true }
        let weights = try Weights(base.configuration) { name, rows, columns in try base.matrix(name, rows, columns, lasting) }
        lasting.seal()
        self.init(base.configuration, weights: weights, preset: preset ?? Preset(base.card))
    }
}

extension PackedDiT {
    /// The network over a base file, for sampling. A matrix that is packed leaves no second copy in memory, and one that lies in the
    /// file in the form in which it is packed is not converted.
    /// - Parameter preset: in place of what the base's card says.
    /// - Throws: also `TensorMathError`, where the precision cannot be had; ask `Precision.fallback` first.
    package init(_ base: BaseFile, precision: Precision = .f32, preset: Preset? = nil) throws {
        let lasting = try base.convertedMemory { !PackedDiT.isPacked($0, at: precision) }
        try self.init(base.configuration, precision: precision, preset: preset ?? Preset(base.card)) { name, rows, columns in
            guard PackedDiT.isPacked(name, at: precision) else { return .floats(try base.matrix(name, rows, columns, lasting)) }
            if let stored = try base.bfloat16(name, rows, columns) { return .bfloat16(stored) }
            return .floats(try base.matrix(name, rows, columns, Memory(capacity: Memory.paddedCount(rows * columns))))
        }
        lasting.seal()
    }
}

extension BaseFile {
    /// A matrix where it lies in the mapped file, if it is float32 there; else converted into the next place of `memory`. Both
    /// are read-only from then on (law 7).
    fileprivate func matrix(_ name: String, _ rows: Int, _ columns: Int, _ memory: Memory) throws -> Matrix {
        let entry = try file.entry(name)
        if let (map, range) = entry.mapped, BaseFile.isUsable(entry) {
            return unsafe Matrix(readOnly: map.address(range), rows: rows, columns: columns, owner: map)
        }
        let matrix = memory.take(rows, columns)
        if let stored = try bfloat16(name, rows, columns) { return stored.floats(in: matrix) }
        matrix.copy(from: try file.floats(name))
        return matrix
    }

    /// A matrix where it lies in the mapped file, if it is bfloat16 there.
    fileprivate func bfloat16(_ name: String, _ rows: Int, _ columns: Int) throws -> QuantizedMatrix? {
        let entry = try file.entry(name)
        guard entry.type == .bf16, let (map, range) = entry.mapped, range.lowerBound.isMultiple(of: 2) else { return nil }
        return unsafe QuantizedMatrix(readOnlyBFloat16: map.address(range), rows: rows, columns: columns, owner: map)
    }

    /// Whether the mapped bytes are float32 values that may be read where they lie.
    private static func isUsable(_ entry: TensorEntry) -> Bool {
        entry.type == .f32 && entry.mapped.map { $0.range.lowerBound % 4 == 0 } ?? false
    }

    /// Memory for those of the chosen tensors that have to be converted.
    fileprivate func convertedMemory(_ isChosen: (String) -> Bool) throws -> Memory {
        let chosen = try Weights.names(configuration).filter { isChosen($0.name) }.map { try file.entry($0.name) }
        return Memory(capacity: chosen.filter { !BaseFile.isUsable($0) }.reduce(0) { $0 + Memory.paddedCount($1.count) })
    }
}
