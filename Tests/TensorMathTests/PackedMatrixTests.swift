import Foundation
import TensorMath
import Testing

/// Products with packed matrices against sums in double precision.
@Suite struct PackedMatrixTests {
    private let rows = 16, outputs = 64, inputs = 40
    /// A form, and where rows lie in matrix tiles what multiplies them.
    struct Way: Sendable {
        let form: WeightForm
        let matrixTiles: MatrixTiles?
    }
    /// Those of the precisions, and what runs on any machine.
    static let ways =
        Set([WeightForm.plain] + Precision.supported.map { WeightForm($0.dtype(isMLPOutput: false)) }).map { Way(form: $0, matrixTiles: nil) }
        + [MatrixTiles.plain, .native].compactMap { $0 }.flatMap { tiles in
            [WeightForm.packed(.bf16), .packed(.u8)].map { Way(form: $0, matrixTiles: tiles) }
        }

    @Test(arguments: ways)
    func productsAreTheirDefinition(way: Way) throws {
        let form = way.form
        let memory = Memory(capacity: 1 << 20)
        let x = memory.take(rows, inputs), w = memory.take(outputs, inputs), residual = memory.take(rows, outputs)
        Philox(seed: 3, stream: 0).normals(into: x)
        Philox(seed: 3, stream: 1).normals(into: w)
        let packer = WeightPacker(heights: [rows], matrixTiles: way.matrixTiles)
        let packed = try PackedMatrix(QuantizedMatrix(w), form, with: packer)
        #expect(packed.panels > 1)
        // The norm of a row with these vectors is the row itself, but for mean and deviation: taken out below.
        let one = memory.take(inputs), zero = memory.take(inputs), gate = memory.take(outputs), bias = memory.take(outputs)
        one.fill(1)
        gate.fill(0.5)
        Philox(seed: 3, stream: 2).normals(into: bias)
        let workspace = ProductWorkspace(packer.need([packed]), line: inputs, take: memory.take)
        let operand = memory.take(rows, inputs, form.dtype, tiled: way.matrixTiles != nil)
        normModulate(x, scale: one, shift: zero, epsilon: 0, line: workspace.line, into: operand)
        for panel in 0..<packed.panels {
            addResidual(packed.multiply(operand, panel: panel, in: workspace), bias: bias, gate: gate, to: residual)
        }
        // Errors of rounded factors add up like a random walk; 8 bits over a range of 6 deviations, or 8 bits of mantissa.
        let tolerance =
            switch form.dtype {
            case .f32: 1e-5
            case .bf16: 0.06
            default: 0.15
            }
        for r in 0..<rows {
            let row = (0..<inputs).map { Double(x[r, $0]) }
            let mean = row.reduce(0, +) / Double(inputs)
            let deviation = (row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(inputs)).squareRoot()
            for j in 0..<outputs {
                let exact = 0.5 * ((0..<inputs).reduce(0.0) { $0 + (row[$1] - mean) / deviation * Double(w[j, $1]) } + Double(bias[0, j]))
                #expect(abs(Double(residual[r, j]) - exact) < tolerance, "\(form), row \(r), output \(j)")
            }
        }
    }

    /// A matrix that a file holds in bfloat16 is packed as its values in float32 are, to the last bit of every product.
    @Test(arguments: ways)
    func storedHalvesArePackedAsTheirValues(way: Way) throws {
        let memory = Memory(capacity: 1 << 20)
        let x = memory.take(rows, inputs), values = memory.take(outputs, inputs), one = memory.take(inputs), zero = memory.take(inputs)
        Philox(seed: 3, stream: 0).normals(into: x)
        Philox(seed: 3, stream: 1).normals(into: values)
        one.fill(1)
        let bits = values.array.map { UInt16(truncatingIfNeeded: $0.bitPattern >> 16) }
        values.copy(from: bits.map { Float(bitPattern: UInt32($0) << 16) })
        let kept = Kept(bits)
        let bfloat16 = unsafe QuantizedMatrix(readOnlyBFloat16: kept.address, rows: outputs, columns: inputs, owner: kept)

        func products(_ w: QuantizedMatrix) throws -> [Float] {
            let packer = WeightPacker(heights: [rows], matrixTiles: way.matrixTiles), packed = try PackedMatrix(w, way.form, with: packer)
            let workspace = ProductWorkspace(packer.need([packed]), line: inputs, take: memory.take)
            let operand = memory.take(rows, inputs, way.form.dtype, tiled: way.matrixTiles != nil), out = memory.take(rows, outputs),
                gate = memory.take(outputs), bias = memory.take(outputs)
            normModulate(x, scale: one, shift: zero, epsilon: 0, line: workspace.line, into: operand)
            gate.fill(1)
            for panel in 0..<packed.panels { addResidual(packed.multiply(operand, panel: panel, in: workspace), bias: bias, gate: gate, to: out) }
            return out.array
        }
        let fromHalves = try products(bfloat16)
        #expect(try fromHalves == products(QuantizedMatrix(values)))
        #expect(fromHalves.contains { $0 != 0 })
    }

    private final class Kept {
        let address: UnsafeMutableRawPointer

        init(_ bits: [UInt16]) {
            unsafe address = .allocate(byteCount: 2 * bits.count, alignment: 64)
            unsafe address.copyMemory(from: bits, byteCount: 2 * bits.count)
        }

        deinit { unsafe address.deallocate() }
    }

    /// Law 7: the bytes of a packed copy lie on pages that can not be written. In a process of its own, where nothing else maps.
    @Test func packedCopiesAreReadOnly() async {
        await #expect(processExitsWith: .success) {
            // A part at a time: the file has no size, and Foundation reads the first part of it alone.
            func maps() throws -> String {
                let file = open("/proc/self/maps", O_RDONLY)
                try #require(file >= 0)
                defer { close(file) }
                var text: [UInt8] = [], part = [UInt8](repeating: 0, count: 1 << 16)
                while case let count = read(file, &part, part.count), count > 0 { text += part[..<count] }
                return String(decoding: text, as: UTF8.self)
            }
            func readOnlyBytes() throws -> Int {
                try maps().split(separator: "\n").reduce(0) { total, line in
                    let fields = line.split(separator: " ")
                    guard fields.count == 5, fields[1] == "r--p" else { return total }
                    let ends = fields[0].split(separator: "-").compactMap { Int($0, radix: 16) }
                    return total + ends[1] - ends[0]
                }
            }
            let w = Memory(capacity: 4096 * 1024).take(4096, 1024)
            for way in PackedMatrixTests.ways where way.form != .plain {
                let before = try readOnlyBytes()
                let matrix = try PackedMatrix(QuantizedMatrix(w), way.form, with: WeightPacker(heights: [16], matrixTiles: way.matrixTiles))
                #expect(matrix.bytes >= way.form.dtype.size * 4096 * 1024)
                #expect(try readOnlyBytes() - before >= matrix.bytes, "\(way)")
                guard way.form.dtype != .f32 else { continue }
                let whole = try readOnlyBytes()
                let packer = WeightPacker(heights: [16], matrixTiles: way.matrixTiles, compressesZeros: true)
                let compressed = try PackedMatrix(QuantizedMatrix(w), way.form, with: packer)
                #expect(try readOnlyBytes() - whole >= compressed.bytes, "compressed \(way)")
                #expect(compressed.bytes < matrix.bytes)
            }
        }
    }
}
