import AdapterFormat
import TensorFiles
import TensorMath

/// What can be wrong between a base file and the network.
package enum DiTModelError: Error, Equatable, CustomStringConvertible {
    case otherPositions(file: String, largest: Float)

    package var description: String {
        switch self {
        case .otherPositions(let file, let largest):
            "the positions in '\(file)' differ from the sine-cosine table by up to \(largest); this network computes that table"
        }
    }
}

extension DiT {
    /// The network over a base file, for training.
    package init(_ base: BaseFile, preset: Preset = .original) throws {
        let lasting = base.convertedMemory { _ in true }
        let weights = try Weights(base.configuration) { name, rows, columns in try base.matrix(name, rows, columns, lasting) }
        lasting.seal()
        try base.checkPositions()
        self.init(base.configuration, weights: weights, preset: preset)
    }
}

extension PackedDiT {
    /// The network over a base file, for sampling. A matrix that is packed leaves no second copy in memory.
    /// - Throws: also `TensorMathError`, where the precision cannot be had; ask `Precision.fallback` first.
    package init(_ base: BaseFile, precision: Precision = .f32, preset: Preset = .original) throws {
        let lasting = base.convertedMemory { !PackedDiT.isPacked($0, at: precision) }
        try self.init(base.configuration, precision: precision, preset: preset) { name, rows, columns in
            let memory = PackedDiT.isPacked(name, at: precision) ? Memory(capacity: Memory.paddedCount(rows * columns)) : lasting
            return try base.matrix(name, rows, columns, memory)
        }
        lasting.seal()
        try base.checkPositions()
    }
}

extension BaseFile {
    /// A matrix where it lies in the mapped file, if it is float32 there; else converted into the next place of `memory`. Both
    /// are read-only from then on (law 7).
    fileprivate func matrix(_ name: String, _ rows: Int, _ columns: Int, _ memory: Memory) throws -> Matrix {
        let entry = try file.entry(name)
        if BaseFile.isMapped(entry) {
            return unsafe Matrix(readOnly: file.file.address(entry.range), rows: rows, columns: columns, owner: file.file)
        }
        let matrix = memory.take(rows, columns)
        matrix.copy(from: try file.floats(name))
        return matrix
    }

    private static func isMapped(_ entry: TensorEntry) -> Bool { entry.type == .f32 && entry.range.lowerBound % 4 == 0 }

    /// Memory for those of the chosen tensors that have to be converted.
    fileprivate func convertedMemory(_ isChosen: (String) -> Bool) -> Memory {
        let names = Set(configuration.frozenTensors.map(\.name).filter(isChosen))
        let converted = file.entries.filter { names.contains($0.name) && !BaseFile.isMapped($0) }
        return Memory(capacity: converted.reduce(0) { $0 + Memory.paddedCount($1.count) })
    }

    fileprivate func checkPositions() throws(DiTModelError) {
        guard let positions else { return }
        let largest = zip(positions, Patches.positions(configuration)).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        guard largest < 1e-4 else { throw .otherPositions(file: file.path, largest: largest) }
    }
}
