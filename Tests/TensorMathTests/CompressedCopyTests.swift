import CKernels
import TensorMath
import Testing

/// Packed matrices whose zeros are held as a bit each.
@Suite struct CompressedCopyTests {
    private static let ways = PackedMatrixTests.ways.filter { $0.form.dtype != .f32 }

    /// In a process of its own: the level is global.
    @Test func everyInstructionSetExpandsWhatWasHeld() async {
        await #expect(processExitsWith: .success) {
            for (lines, share) in [(1, Float(0.5)), (7, 0.5), (5, 0), (5, 1), (64, 0.1)] {
                let random = Philox(seed: 9, stream: UInt64(lines)), draws = (0..<UInt64(lines * 64)).map(random.uniform)
                // Never a byte of zero where an element is, and some whose lower or upper half is.
                let bytes = draws.enumerated().map { $1 < share ? UInt8($0 % 255 + 1) : 0 }
                let halves = draws.prefix(lines * 32).enumerated().map { $1 < share ? UInt16([1, 0x100, 0x8000, 0x3f81][$0 % 4]) : 0 }
                for level in [CK_SCALAR, CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                    #expect(CompressedCopyTests.expanded(bytes, lines) { ck_expand_1($0, $1, $2, $3) } == bytes, "level \(level.rawValue)")
                    #expect(CompressedCopyTests.expanded(halves, lines) { ck_expand_2($0, $1, $2, $3) } == halves, "level \(level.rawValue)")
                }
            }
        }
    }

    private static func expanded<Element: FixedWidthInteger, Word: FixedWidthInteger>(
        _ elements: [Element], _ lines: Int, _ expand: (UnsafeMutablePointer<Element>, UnsafePointer<Word>, UnsafePointer<Element>, Int) -> Void
    ) -> [Element] {
        let size = MemoryLayout<Element>.size, count = ck_count_elements(elements, lines, size)
        #expect(count == elements.count { $0 != 0 })
        var bits = [Word](repeating: 0, count: lines), held = [Element](repeating: .max, count: count + 64 / size)
        ck_hold_elements(&bits, &held, elements, lines, size)
        let out = UnsafeMutableRawPointer.allocate(byteCount: lines * 64, alignment: 64)
        defer { out.deallocate() }
        let first = out.bindMemory(to: Element.self, capacity: elements.count)
        expand(first, bits, held, lines)
        return Array(UnsafeBufferPointer(start: first, count: elements.count))
    }

    /// The products of a matrix with zeros have the same bytes however it is held, also where a row of tiles is cut otherwise later.
    @Test(arguments: ways)
    func productsHaveTheBytesOfTheWholeMatrix(way: PackedMatrixTests.Way) throws {
        let (rows, outputs, inputs) = (32, 192, 200), memory = Memory(capacity: 1 << 20)
        let x = memory.take(rows, inputs), w = memory.take(outputs, inputs), one = memory.take(inputs), zero = memory.take(inputs)
        let gate = memory.take(outputs), bias = memory.take(outputs)
        Philox(seed: 3, stream: 0).normals(into: x)
        Philox(seed: 3, stream: 1).normals(into: w)
        for row in 0..<outputs {
            for column in 0..<inputs where (row + column) % 4 < 2 { w[row, column] = 0 }
        }
        one.fill(1)
        gate.fill(1)
        func products(compressed: Bool, heights: [Int]) throws -> (values: [UInt32], bytes: Int) {
            let packer = { WeightPacker(heights: $0, matrixTiles: way.matrixTiles, compressesZeros: compressed) }
            let first = packer([16])
            var packed = try PackedMatrix(QuantizedMatrix(w), way.form, with: first), need = first.need([packed])
            for height in heights {
                let next = packer([height])
                packed = try packed.retiled(with: next)
                need = next.need([packed])
            }
            let workspace = ProductWorkspace(need, line: inputs, take: memory.take), out = memory.take(rows, outputs)
            let operand = memory.take(rows, inputs, way.form.dtype, tiled: way.matrixTiles != nil)
            normModulate(x, scale: one, shift: zero, epsilon: 0, line: workspace.line, into: operand)
            for tile in 0..<packed.tiles(of: rows) {
                let part = packed.tile(tile, of: rows)
                for panel in 0..<packed.panels {
                    addResidual(packed.multiply(operand.rows(part), panel: panel, in: workspace), bias: bias, gate: gate, to: out.rows(part))
                }
            }
            return (out.array.map(\.bitPattern), packed.bytes)
        }
        for heights in [[], [32]] {
            let whole = try products(compressed: false, heights: heights), compressed = try products(compressed: true, heights: heights)
            #expect(compressed.values == whole.values)
            #expect(Set(compressed.values).count > rows)
            // 9 of 16 bits, or 5 of 8 in bytes, where rounding may make zeros more.
            let share = way.form.dtype == .bf16 ? 9.0 / 16 : 5.0 / 8
            #expect(Double(compressed.bytes) <= share * Double(whole.bytes) + 64)
        }
    }

    /// What has no zeros is held whole, for bits of its own would only add to it.
    @Test(arguments: ways)
    func aMatrixWithoutZerosIsHeldWhole(way: PackedMatrixTests.Way) throws {
        let w = Memory(capacity: 1 << 16).take(256, 128)
        w.fill(1)
        let bytes = try [false, true].map {
            try PackedMatrix(QuantizedMatrix(w), way.form, with: WeightPacker(heights: [16], matrixTiles: way.matrixTiles, compressesZeros: $0)).bytes
        }
        #expect(bytes[0] == bytes[1])
    }
}
