import CKernels

/// Who multiplies matrices that lie in tiles of 16 rows x 64 bytes (`CKernelsTiles.h`).
package enum MatrixTiles: Sendable, Hashable, CaseIterable {
    /// The processor, by AMX.
    case amx
    /// The same operations in C, bit by bit, on any processor: far slower than oneDNN, for tests.
    case plain

    /// AMX where this processor has it and the system grants it.
    package static var native: MatrixTiles? { ck_tiles() == CK_TILES_GRANTED ? .amx : nil }

    /// Whether rows of an element type are multiplied in tiles.
    package func multiplies(_ dtype: DType) -> Bool { dtype == .bf16 || dtype == .u8 }

    /// For logs and benchmarks.
    package var description: String {
        switch self {
        case .amx: "AMX tiles"
        case .plain: "AMX tiles in plain C"
        }
    }

    var operations: ck_tile_operations {
        switch self {
        case .amx: CK_TILES_AMX
        case .plain: CK_TILES_PLAIN
        }
    }

    /// Rows of a tile, and outputs of one of weights.
    static let rows = Int(CK_TILE_ROWS)
    /// Bytes of the inputs of one row in one tile.
    static let rowBytes = Int(CK_TILE_ROW_BYTES)

    /// Values of one row in one tile.
    static func columns(_ dtype: DType) -> Int { rowBytes / dtype.size }

    static func wholeTiles(_ count: Int, of size: Int) -> Int { (count + size - 1) / size * size }
}

/// A panel of a frozen matrix, [outputs, inputs], in matrix tiles, with what multiplies them.
struct TileWeights: Sendable {
    private let tiles: MatrixTiles
    /// Of the rows that it multiplies.
    private let dtype: DType
    private let outputs, inputs: Int
    private let copy: Matrix

    /// - Parameter copy: where the weights are packed to.
    init(_ tiles: MatrixTiles, _ dtype: DType, outputs: Int, inputs: Int, copy: Matrix) {
        (self.tiles, self.dtype, self.outputs, self.inputs, self.copy) = (tiles, dtype, outputs, inputs, copy)
    }

    /// Values that the packed copy takes.
    static func count(_ dtype: DType, outputs: Int, inputs: Int) -> Int {
        MatrixTiles.wholeTiles(outputs, of: MatrixTiles.rows) * MatrixTiles.wholeTiles(inputs * dtype.size, of: MatrixTiles.rowBytes) / 4
    }

    var bytes: Int { copy.count * 4 }

    /// The same over another packed copy.
    func reading(_ copy: Matrix) -> TileWeights { TileWeights(tiles, dtype, outputs: outputs, inputs: inputs, copy: copy) }

    /// Outputs of a panel: an even share of all that fills whole tiles where bfloat16 rows are made of it, and so small that its accumulators
    /// with a tile of rows stay in the second cache. Where there is none, all.
    static func panel(outputs: Int) -> Int {
        let step = MatrixTiles.columns(.bf16)
        return stride(from: 256, through: step, by: -step).first { outputs > $0 && outputs.isMultiple(of: $0) } ?? outputs
    }

    /// Rows of one product: those that lie in a second cache of 2 MiB beside a pair of weights' blocks and the accumulators.
    static func tileRows(_ dtype: DType, inputs: Int) -> Int {
        let pair = 2 * MatrixTiles.rows
        return max(pair, min(256, (5 << 18) / (inputs * dtype.size) / pair * pair))
    }

    /// Values of the accumulators of so many rows.
    func sumCount(rows: Int) -> Int { MatrixTiles.wholeTiles(rows, of: MatrixTiles.rows) * MatrixTiles.wholeTiles(outputs, of: MatrixTiles.rows) }

    /// - Parameters:
    ///   - w: [outputs, inputs] without gaps.
    ///   - type: of its values: `f32` is rounded to bfloat16, `bf16` and `i8` stay.
    func pack(_ w: UnsafeRawPointer, _ type: DType) {
        guard type == .f32 else {
            precondition(type.size == dtype.size, "\(type) for rows of \(dtype)")
            return unsafe ck_tile_weights(copy.base, w, inputs * type.size, outputs, inputs * type.size)
        }
        precondition(dtype == .bf16, "float32 for rows of \(dtype)")
        var rounded = [UInt16](repeating: 0, count: outputs * inputs)
        unsafe ck_round_bf16(&rounded, w.assumingMemoryBound(to: Float.self), rounded.count)
        unsafe ck_tile_weights(copy.base, rounded, inputs * dtype.size, outputs, inputs * dtype.size)
    }

    /// x times the weights, on the calling thread; a row's sums depend on nothing but the row (law 5).
    /// - Parameters:
    ///   - x: (rows, inputs) in tiles.
    ///   - memory: at least `sumCount` values.
    /// - Returns: (rows, outputs); 32-bit integers where x is in bytes.
    func multiply(_ x: QuantizedMatrix, into memory: Matrix) -> Matrix {
        precondition(x.isTiled && x.dtype == dtype && x.columns == inputs, "\(x.rows) x \(x.columns) of \(x.dtype) by \(outputs) x \(inputs) in tiles")
        let stride = MatrixTiles.wholeTiles(outputs, of: MatrixTiles.rows)
        let shape = ck_tile_shape(
            rows: MatrixTiles.wholeTiles(x.rows, of: MatrixTiles.rows) / MatrixTiles.rows, outputs: stride / MatrixTiles.rows,
            inputs: MatrixTiles.wholeTiles(inputs * dtype.size, of: MatrixTiles.rowBytes) / MatrixTiles.rowBytes)
        let sums = unsafe memory.values(0..<sumCount(rows: x.rows)).base
        if dtype == .bf16 {
            unsafe ck_tile_product_bf16(tiles.operations, sums, stride, x.base, copy.base, shape)
        } else {
            let integers = unsafe UnsafeMutableRawPointer(sums).assumingMemoryBound(to: Int32.self)
            unsafe ck_tile_product_u8(tiles.operations, integers, stride, x.base, copy.base, shape)
        }
        return unsafe Matrix(base: sums, rows: x.rows, columns: outputs, stride: stride, keeping: memory)
    }
}
