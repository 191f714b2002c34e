import Foundation
import TensorFiles
import Testing

/// Matrices of which a file holds two values of every four.
@Suite struct TwoOfFourTests {
    /// Rows of 12 values end within a byte of their bits.
    static let columns = [8, 12]

    private func matrix(_ columns: Int) -> [Float] {
        (0..<(3 * columns)).map { index in
            let (row, column) = (index / columns, index % columns)
            // Also groups with fewer values than two.
            return (row + column) % 4 < 2 && index % 11 != 0 ? Float(index) - 7.5 : 0
        }
    }

    private func written(_ columns: Int, as type: DType, _ values: [Float]) -> Data {
        SafetensorsWriter.encoded(
            OutgoingTensor.twoOfFour("a.weight", shape: [3, columns], as: type) { Array(values[$0]) } + [OutgoingTensor("b", shape: [1], [3])])
    }

    @Test(arguments: columns, [DType.f32, .bf16])
    func whatIsWrittenIsReadBack(columns: Int, type: DType) throws {
        let values = matrix(columns)
        try withFile(written(columns, as: type, values)) { path in
            let stored = try TensorFile(path: path), file = try stored.expandingTwoOfFour()
            #expect(stored.entries.map(\.name).sorted() == ["a.bitmask", "a.compressed", "a.shape", "b"])
            #expect(file.entries.map(\.name).sorted() == ["a.weight", "b"])
            let entry = try file.entry("a.weight")
            #expect(entry.shape == [3, columns])
            #expect(entry.dtype == type)
            #expect(entry.isTwoOfFour)
            #expect(try file.floats("a.weight") == values)
            #expect(entry.storedBytes == 3 * columns / 2 * type.size + 3 * ((columns + 7) / 8))
            // Any part of it alone.
            for first in 0..<values.count {
                for last in first..<min(values.count, first + 9) { #expect(entry.floats(first..<last) == Array(values[first..<last])) }
            }
            // Read and written again it is the same file.
            let again = OutgoingTensor.twoOfFour("a.weight", shape: [3, columns], as: type) { entry.floats($0) }
            #expect(SafetensorsWriter.encoded(again + [OutgoingTensor("b", shape: [1], [3])]) == written(columns, as: type, values))
        }
    }

    /// compressed-tensors' own layout, by hand: kept values in order, bits from the lowest on, rows and columns as a column of whole numbers.
    @Test func itIsThePublicLayout() throws {
        let tensors = OutgoingTensor.twoOfFour("m.weight", shape: [1, 8], as: .f32) { Array([0, 1, 0, 2, -3, 0, 0, 0][$0]) }
        try withFile(SafetensorsWriter.encoded(tensors)) { path in
            let file = try TensorFile(path: path)
            #expect(try file.entry("m.shape").shape == [2, 1])
            #expect(try file.integers("m.shape") == [1, 8])
            #expect(try file.entry("m.compressed").shape == [1, 4])
            // Where fewer than two are not zero, the first of the zeros.
            #expect(try file.floats("m.compressed") == [1, 2, -3, 0])
            #expect(try file.entry("m.bitmask").dtype == .u8)
            #expect(try file.integers("m.bitmask") == [0b0011_1010])
        }
    }

    private static let bad: [(String, [Int], [Int], [Int], [Int], String)] = [
        ("bits", [1, 8], [1, 4], [1, 1], [0b0111_0011], "row 0 keeps 3 of the four values from column 4 on, not 2"),
        ("bits", [1, 8], [1, 4], [1, 1], [0b0011_0001], "row 0 keeps 1 of the four values from column 0 on, not 2"),
        ("end", [1, 4], [1, 2], [1, 1], [0b0001_0011], "row 0 keeps values beyond its 4 columns"),
        ("width", [1, 6], [1, 3], [1, 1], [0b0011_0011], "says 1 x 6; rows are taken four values at a time"),
        ("none", [0, 8], [0, 4], [0, 1], [], "says 0 x 8"),
        ("values", [1, 8], [1, 8], [1, 1], [0b0011_0011], "not numbers of shape [1, 4]"),
        ("mask", [1, 16], [1, 8], [1, 1], [0b0011_0011], "not U8 of shape [1, 2]"),
        ("huge", [1 << 40, 1 << 40], [1, 4], [1, 1], [0b0011_0011], "not numbers of shape [1099511627776, 549755813888]"),
    ]

    @Test(arguments: bad.indices)
    func whatIsNotTwoOfFourIsNamed(index: Int) throws {
        let (_, sides, kept, width, bits, sentence) = Self.bad[index]
        let count = kept.reduce(1, *), name = { (suffix: String) in "a.\(suffix)" }
        let header =
            #"{"\#(name("shape"))":{"dtype":"I64","shape":[2,1],"data_offsets":[0,16]},"\#(name("compressed"))":{"dtype":"F32","shape":\#(kept),"data_offsets":[16,\#(16 + 4 * count)]},"\#(name("bitmask"))":{"dtype":"U8","shape":\#(width),"data_offsets":[\#(16 + 4 * count),\#(16 + 4 * count + bits.count)]}}"#
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count)) { Array($0) } + Array(header.utf8)
        for side in sides { bytes += withUnsafeBytes(of: Int64(side)) { Array($0) } }
        bytes += [UInt8](repeating: 0, count: 4 * count) + bits.map(UInt8.init)
        try withFile(bytes) { path in
            let file = try TensorFile(path: path)
            let error = #expect(throws: TensorFileError.self) { try file.expandingTwoOfFour() }
            #expect("\(String(describing: error))".contains(sentence))
        }
    }

    @Test func whatIsNotWholeIsNamed() throws {
        let whole = OutgoingTensor.twoOfFour("a.weight", shape: [1, 8], as: .f32) { [Float](repeating: 0, count: $0.count) }
        let cases: [([OutgoingTensor], String)] = [
            (whole.filter { $0.name != "a.bitmask" }, "'a.bitmask' of a 2:4 matrix"),
            (whole.filter { $0.name != "a.shape" }, "'a.shape' of a 2:4 matrix"),
            (whole + [OutgoingTensor("a.weight", shape: [1], [0])], "names 'a.weight' twice"),
        ]
        for (tensors, sentence) in cases {
            try withFile(SafetensorsWriter.encoded(tensors)) { path in
                let error = #expect(throws: TensorFileError.self) { try TensorFile(path: path).expandingTwoOfFour() }
                #expect("\(String(describing: error))".contains(sentence))
            }
        }
    }
}
