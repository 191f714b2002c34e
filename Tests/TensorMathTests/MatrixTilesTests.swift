import CKernels
import Foundation
import TensorMath
import Testing

/// Products of matrices in tiles of 16 rows x 64 bytes, and how rows get into tiles.
@Suite struct MatrixTilesTests {
    /// Rows, outputs and inputs: whole tiles and parts of them, one block and several, even and odd numbers.
    static let shapes = [(1, 1, 1), (16, 16, 64), (17, 33, 65), (5, 100, 31), (64, 48, 130), (33, 16, 320), (48, 80, 7)].map(Shape.init)
    static let all = [MatrixTiles.plain, .native].compactMap { $0 }

    struct Shape: Sendable {
        let rows, outputs, inputs: Int
    }

    @Test(arguments: shapes)
    func integersAreExact(shape: Shape) {
        let x = (0..<(shape.rows * shape.inputs)).map { UInt8(truncatingIfNeeded: $0 * 37 + $0 / 11) }
        let w = (0..<(shape.outputs * shape.inputs)).map { Int8(truncatingIfNeeded: $0 * 73 + $0 / 7) }
        let exact = products(shape) { row, output in
            (0..<shape.inputs).reduce(Int32(0)) { $0 + Int32(x[row * shape.inputs + $1]) * Int32(w[output * shape.inputs + $1]) }
        }
        for tiles in Self.operations { #expect(inTiles(shape, x, w, tiles) { ck_tile_product_u8($0, $1, $2, $3, $4, $5) } == exact) }
    }

    @Test(arguments: shapes)
    func bfloat16ProductsAreNearTheExactOnes(shape: Shape) {
        let (x, w) = halves(shape)
        let sums: [Float] = inTiles(shape, x, w, CK_TILES_PLAIN) { ck_tile_product_bf16($0, $1, $2, $3, $4, $5) }
        let errors = products(shape) { row, output in
            let terms = (0..<shape.inputs).map { Double(value(x[row * shape.inputs + $0])) * Double(value(w[output * shape.inputs + $0])) }
            return abs(Double(sums[row * shape.outputs + output]) - terms.reduce(0, +)) / terms.reduce(1e-30) { $0 + abs($1) }
        }
        #expect(errors.allSatisfy { $0 < 1e-6 })
    }

    /// The sums are defined to the last bit, so every processor has the same: those of the manual's pseudo-code for TDPBF16PS.
    @Test(arguments: shapes)
    func bfloat16SumsHaveTheBitsOfTheirDefinition(shape: Shape) {
        let (x, w) = halves(shape)
        let defined = products(shape) { row, output in
            var sum: Float = 0
            for tile in stride(from: 0, to: shape.inputs, by: 32) {
                var parts: [Float] = [0, 0]
                for k in tile..<min(shape.inputs, tile + 32) {
                    parts[k % 2] = flushed(parts[k % 2].addingProduct(value(x[row * shape.inputs + k]), value(w[output * shape.inputs + k])))
                }
                sum = flushed(sum + flushed(parts[0] + parts[1]))
            }
            return sum.bitPattern
        }
        for tiles in Self.operations {
            let sums: [Float] = inTiles(shape, x, w, tiles) { ck_tile_product_bf16($0, $1, $2, $3, $4, $5) }
            #expect(sums.map(\.bitPattern) == defined)
        }
    }

    /// In a process of its own: the level is global.
    @Test func everyInstructionSetGivesTheSameBits() async {
        await #expect(processExitsWith: .success) {
            let tests = MatrixTilesTests(), shape = Shape(rows: 17, outputs: 33, inputs: 65)
            let (x, w) = tests.halves(shape)
            func sums() -> [Float] { tests.inTiles(shape, x, w, CK_TILES_PLAIN) { ck_tile_product_bf16($0, $1, $2, $3, $4, $5) } }
            ck_set_level(CK_SCALAR)
            let plain = sums()
            for level in [CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level { #expect(sums() == plain) }
        }
    }

    /// Norms, quantising, attention and the GELU epilogue write into tiles what they write row by row.
    @Test(arguments: [(35, 72), (16, 64), (9, 40)])
    func rowsInTilesAreThoseRowByRow(rows: Int, columns: Int) throws {
        let memory = Memory(capacity: 1 << 18)
        let x = memory.take(rows, columns), one = memory.take(columns), shift = memory.take(columns), line = memory.take(2 * columns)
        Philox(seed: 5, stream: 0).normals(into: x)
        Philox(seed: 5, stream: 1).normals(into: shift)
        one.fill(1)
        func pair(_ dtype: DType) -> [QuantizedMatrix] { [false, true].map { memory.take(rows, columns, dtype, tiled: $0) } }
        func values(_ matrix: QuantizedMatrix) -> [Float] { matrix.floats(in: memory.take(rows, columns)).array }
        let (halves, bytes, ofHalves, attended) = (pair(.bf16), pair(.u8), pair(.u8), pair(.bf16))
        for tiled in 0...1 {
            normModulate(x, scale: one, shift: shift, epsilon: 1e-6, line: line, into: halves[tiled])
            normModulate(x, scale: one, shift: shift, epsilon: 1e-6, line: line, into: bytes[tiled])
            quantise(halves[0], line: line, into: ofHalves[tiled])
            // Two heads: the second begins inside a tile.
            for head in 0..<2 {
                let own = (head * columns / 2)..<((head + 1) * columns / 2)
                let part = halves[0].columns(own)
                let attention = HeadAttention(tokens: rows, head: own.count, isTiled: tiled == 1, matrixTiles: nil)
                let scratch = memory.take(attention.scratchCount)
                attention.forward(q: part, k: part, v: part, scale: 0.3, scratch: scratch, into: attended[tiled], columns: own)
            }
        }
        for made in [halves, bytes, ofHalves, attended] {
            #expect(made[1].isTiled)
            #expect(values(made[0]) == values(made[1]))
            #expect(values(made[0]).contains { $0 != 0 })
        }
    }

    /// Every epilogue of a product in tiles, from rows of bytes, has the bits of the one by oneDNN; a row's are the same without the others.
    @Test(.enabled("needs oneDNN and a processor for int8") { Precision.int8.isSupported }, arguments: all, [(35, 96, 72), (16, 144, 40)])
    func epiloguesHaveTheBitsOfOneDNN(tiles: MatrixTiles, shape: (Int, Int, Int)) throws {
        let (rows, outputs, inputs) = shape
        let memory = Memory(capacity: 1 << 20)
        let w = memory.take(outputs, inputs), x = memory.take(rows, inputs), one = memory.take(inputs), zero = memory.take(inputs)
        let bias = memory.take(outputs), gate = memory.take(outputs)
        for (stream, matrix) in [w, x, bias, gate].enumerated() { Philox(seed: 6, stream: UInt64(stream)).normals(into: matrix) }
        one.fill(1)

        func results(_ matrixTiles: MatrixTiles?, rows range: Range<Int>) throws -> [[Float]] {
            let isTiled = matrixTiles != nil, packer = WeightPacker(heights: [range.count], matrixTiles: matrixTiles)
            let packed = try PackedMatrix(QuantizedMatrix(w), .packed(.u8), with: packer)
            let workspace = ProductWorkspace(packer.need([packed]), line: inputs, take: memory.take)
            let operand = memory.take(range.count, inputs, .u8, tiled: isTiled), activated = memory.take(range.count, outputs, .bf16, tiled: isTiled)
            let scaled = memory.take(range.count, outputs, .bf16), residual = memory.take(range.count, outputs)
            normModulate(x.rows(range), scale: one, shift: zero, epsilon: 1e-6, line: workspace.line, into: operand)
            for panel in 0..<packed.panels {
                let accumulators = packed.multiply(operand, panel: panel, in: workspace)
                biasGelu(accumulators, bias: bias, into: activated)
                biasGamma(accumulators, bias: bias, gamma: gate, into: scaled)
                addResidual(accumulators, bias: bias, gate: gate, to: residual)
            }
            return [activated, scaled].map { $0.floats(in: memory.take(range.count, outputs)).array } + [residual.array]
        }
        let together = try results(tiles, rows: 0..<rows)
        #expect(try together == results(nil, rows: 0..<rows))
        // Law 5.
        for row in [0, rows / 2, rows - 1] {
            #expect(try results(tiles, rows: row..<(row + 1)) == together.map { Array($0[(row * outputs)..<((row + 1) * outputs)]) })
        }
    }

    /// Attention on tiles against the closed form in double precision, over tokens and features that do and do not fill tiles; into tiles
    /// and row by row the same bits.
    @Test(arguments: [(1, 8), (15, 40), (33, 72), (64, 64), (100, 17), (256, 72)])
    func attentionOnTilesIsNearTheExactOne(tokens: Int, head: Int) throws {
        let memory = Memory(capacity: 1 << 20), columns = head + 3
        let x = memory.take(tokens, 3 * columns), one = memory.take(3 * columns), shift = memory.take(3 * columns)
        Philox(seed: 4, stream: 0).normals(into: x)
        Philox(seed: 4, stream: 1).normals(into: shift)
        one.fill(1.5)
        let qkv = memory.take(tokens, 3 * columns, .bf16)
        normModulate(x, scale: one, shift: shift, epsilon: 1e-6, line: memory.take(6 * columns), into: qkv)
        let values = qkv.floats(in: memory.take(tokens, 3 * columns)).array
        let scale: Float = 1 / Float(head).squareRoot()
        func exact(_ row: Int) -> [Double] {
            func value(_ third: Int, _ row: Int, _ feature: Int) -> Double { Double(values[(3 * row + third) * columns + feature]) }
            let scores = (0..<tokens).map { key in Double(scale) * (0..<head).reduce(0.0) { $0 + value(0, row, $1) * value(1, key, $1) } }
            let weights = scores.map { exp($0 - scores.max()!) }
            let sum = weights.reduce(0, +)
            return (0..<head).map { feature in (0..<tokens).reduce(0.0) { $0 + weights[$1] / sum * value(2, $1, feature) } }
        }
        let rows = stride(from: 0, to: tokens, by: max(1, tokens / 9))
        let expected = rows.flatMap(exact)
        func outputs(_ tiles: MatrixTiles) -> [[UInt32]] {
            [false, true].map { isTiled in
                // Neither what the scratch held before nor the other heads' columns matter.
                let attention = HeadAttention(tokens: tokens, head: head, isTiled: isTiled, matrixTiles: tiles)
                let scratch = memory.take(attention.scratchCount), out = memory.take(tokens, columns, .bf16, tiled: isTiled)
                scratch.fill(.nan)
                let part = { (third: Int) in qkv.columns((third * columns)..<(third * columns + head)) }
                attention.forward(q: part(0), k: part(1), v: part(2), scale: scale, scratch: scratch, into: out, columns: 3..<columns)
                let floats = out.floats(in: memory.take(tokens, columns)).array
                return (0..<tokens).flatMap { row in floats[(row * columns + 3)..<((row + 1) * columns)].map(\.bitPattern) }
            }
        }
        let plain = outputs(.plain)
        let own = rows.flatMap { plain[0][($0 * head)..<(($0 + 1) * head)] }
        let largest = zip(own, expected).map { abs(Double(Float(bitPattern: $0)) - $1) }.max()!
        #expect(largest < 0.005 * expected.map(abs).max()!)
        for tiles in Self.all { #expect(outputs(tiles) == [plain[0], plain[0]]) }
    }

    private static let operations = all.map { $0 == .amx ? CK_TILES_AMX : CK_TILES_PLAIN }

    private func products<Value>(_ shape: Shape, _ value: (_ row: Int, _ output: Int) -> Value) -> [Value] {
        (0..<shape.rows).flatMap { row in (0..<shape.outputs).map { value(row, $0) } }
    }

    /// Packs both factors, multiplies them, and takes the sums of what is no padding.
    private func inTiles<X, W, Sum: Numeric>(
        _ shape: Shape, _ x: [X], _ w: [W], _ operations: ck_tile_operations,
        _ product: (ck_tile_operations, UnsafeMutablePointer<Sum>, Int, UnsafeRawPointer, UnsafeRawPointer, ck_tile_shape) -> Void
    ) -> [Sum] {
        let rowBytes = shape.inputs * MemoryLayout<X>.size
        let blocks = ck_tile_shape(rows: (shape.rows + 15) / 16, outputs: (shape.outputs + 15) / 16, inputs: (rowBytes + 63) / 64)
        var rows = [UInt8](repeating: 0, count: blocks.rows * blocks.inputs * Int(CK_TILE_BYTES))
        var weights = [UInt8](repeating: 0xff, count: blocks.outputs * blocks.inputs * Int(CK_TILE_BYTES))
        x.withUnsafeBytes { ck_tile_rows(&rows, blocks.inputs * 64, 0, 0, $0.baseAddress, rowBytes, shape.rows, rowBytes) }
        w.withUnsafeBytes { ck_tile_weights(&weights, $0.baseAddress, rowBytes, shape.outputs, rowBytes) }
        let stride = blocks.outputs * 16 + 3
        var sums = [Sum](repeating: 0, count: blocks.rows * 16 * stride)
        product(operations, &sums, stride, rows, weights, blocks)
        return products(shape) { sums[$0 * stride + $1] }
    }

    /// Random bfloat16 values of which some are below float32's normal numbers, and some products are.
    private func halves(_ shape: Shape) -> (x: [UInt16], w: [UInt16]) {
        func random(_ count: Int, stream: UInt64) -> [UInt16] {
            var values = [Float](repeating: 0, count: count)
            Philox(seed: 9, stream: stream).normals(into: &values)
            for index in stride(from: 3, to: count, by: 11) { values[index] *= 1e-25 }
            for index in stride(from: 5, to: count, by: 97) { values[index] = Float(bitPattern: 0x000a_0000) }
            return values.map { UInt16(truncatingIfNeeded: ($0.bitPattern + 0x7fff) >> 16) }
        }
        return (random(shape.rows * shape.inputs, stream: 0), random(shape.outputs * shape.inputs, stream: 1))
    }

    private func value(_ half: UInt16) -> Float { flushed(Float(bitPattern: UInt32(half) << 16)) }

    private func flushed(_ x: Float) -> Float { abs(x) < Float.leastNormalMagnitude ? Float(signOf: x, magnitudeOf: 0) : x }
}
