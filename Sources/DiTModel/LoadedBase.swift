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
    /// The network over a base file. float32 matrices are used where they lie in the mapped file; others are converted once.
    /// Both are read-only from then on (law 7).
    package init(_ base: BaseFile, preset: Preset = .original) throws {
        let file = base.file
        let isMapped = { (entry: TensorEntry) in entry.type == .f32 && entry.range.lowerBound % 4 == 0 }
        let converted = file.entries.filter { !isMapped($0) }.reduce(0) { $0 + Memory.paddedCount($1.count) }
        let memory = Memory(capacity: converted)
        let weights = try Weights(base.configuration) { name, rows, columns in
            let entry = try file.entry(name)
            if isMapped(entry) {
                return unsafe Matrix(readOnly: file.file.address(entry.range), rows: rows, columns: columns, owner: file.file)
            }
            let matrix = memory.take(rows, columns)
            matrix.copy(from: try file.floats(name))
            return matrix
        }
        memory.seal()
        if let positions = base.positions {
            let largest = zip(positions, Patches.positions(base.configuration)).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
            guard largest < 1e-4 else { throw DiTModelError.otherPositions(file: file.path, largest: largest) }
        }
        self.init(base.configuration, weights: weights, preset: preset)
    }
}
