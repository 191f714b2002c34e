import AdapterFormat
import TensorFiles
import TensorMath

extension DiT {
    /// The network over a base file. float32 matrices are used where they lie in the mapped file; others are converted once.
    /// Both are read-only from then on (law 7).
    /// - Parameter preset: in place of what the base's card says.
    package init(_ base: BaseFile, preset: Preset? = nil) throws {
        let file = base.file
        let isMapped = { (entry: TensorEntry) in entry.type == .f32 && entry.mapped.map { $0.range.lowerBound % 4 == 0 } ?? false }
        let matrices = try Weights.names(base.configuration).map { try file.entry($0.name) }
        let memory = Memory(capacity: matrices.filter { !isMapped($0) }.reduce(0) { $0 + Memory.paddedCount($1.count) })
        let weights = try Weights(base.configuration) { name, rows, columns in
            let entry = try file.entry(name)
            if let (map, range) = entry.mapped, isMapped(entry) {
                return unsafe Matrix(readOnly: map.address(range), rows: rows, columns: columns, owner: map)
            }
            let matrix = memory.take(rows, columns)
            matrix.copy(from: try file.floats(name))
            return matrix
        }
        memory.seal()
        self.init(base.configuration, weights: weights, preset: preset ?? Preset(base.card))
    }
}
