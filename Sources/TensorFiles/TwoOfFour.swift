/// Matrices of whose values two of every four along a row are kept, in the form that compressed-tensors calls `sparse-24-bitmask`: in place of
/// `X.weight` [rows, columns] a file has `X.compressed` [rows, columns / 2], the kept values in order, `X.bitmask` U8 [rows, columns / 8 rounded
/// up], whose bits say which they are, lowest first, and `X.shape` [2, 1], which is rows and columns.
package enum TwoOfFour {
    /// The pattern's name.
    package static let name = "2:4"
    static let compressed = ".compressed", bitmask = ".bitmask", shape = ".shape"

    /// Which of the four values from `first` on are kept where at most two are not zero, as bits: those, and of zeros the first. So the same
    /// values always have the same form.
    static func places(_ values: [Float], from first: Int) -> UInt8 {
        var bits: UInt8 = 0, count = 0
        for place in 0..<4 where values[first + place] != 0 && count < 2 {
            bits |= 1 << UInt8(place)
            count += 1
        }
        for place in 0..<4 where values[first + place] == 0 && count < 2 {
            bits |= 1 << UInt8(place)
            count += 1
        }
        return bits
    }

    /// For each half byte whether two of its bits are set.
    private static let hasTwo = (0..<16).map { UInt8($0).nonzeroBitCount == 2 }

    /// What is wrong with the bits of a matrix; nil where nothing is.
    static func fault(ofBits bits: TensorEntry, columns: Int) -> String? {
        let width = bits.shape[1]
        for row in 0..<bits.shape[0] {
            let bytes = bits.elements((row * width)..<((row + 1) * width), of: UInt8.self) { $0 }
            for group in 0..<(columns / 4) {
                let four = Int(bytes[group / 2] >> (4 * UInt8(group & 1)) & 15)
                guard hasTwo[four] else {
                    return "row \(row) keeps \(four.nonzeroBitCount) of the four values from column \(4 * group) on, not 2"
                }
            }
            if columns % 8 != 0, bytes[width - 1] >> 4 != 0 { return "row \(row) keeps values beyond its \(columns) columns" }
        }
        return nil
    }
}

/// Which values of a part of a file are there: those that are not are zero.
struct TwoOfFourBits: Sendable {
    let file: MappedFile
    let offset: Int
    let columns: Int

    /// Appends elements `range` in row-major order.
    /// - Parameters:
    ///   - first: byte of the first kept element.
    func append<Stored: BitwiseCopyable & AdditiveArithmetic, Element>(
        _ range: Range<Int>, from values: MappedFile, first: Int, to elements: inout [Element], convert: (Stored) -> Element
    ) {
        guard !range.isEmpty else { return }
        // Groups of four, which never go beyond a row.
        let groups = (range.lowerBound / 4)..<((range.upperBound + 3) / 4), size = MemoryLayout<Stored>.size
        var kept: [Element] = []
        kept.reserveCapacity(2 * groups.count)
        values.append(2 * groups.count, from: first + 2 * groups.lowerBound * size, step: size, to: &kept, convert: convert)
        let zero = convert(.zero), perRow = columns / 4, width = (columns + 7) / 8
        var next = 0, row = -1
        var bytes: [UInt8] = []
        for group in groups {
            if group / perRow != row {
                row = group / perRow
                bytes = file.bytes((offset + row * width)..<(offset + (row + 1) * width))
            }
            let place = group % perRow, four = bytes[place / 2] >> (4 * UInt8(place & 1))
            for i in 0..<4 {
                let isKept = four >> UInt8(i) & 1 == 1
                if range.contains(4 * group + i) { elements.append(isKept ? kept[next] : zero) }
                if isKept { next += 1 }
            }
        }
    }
}

extension TensorFile {
    /// The same tensors with each matrix of two in four under its own name and shape; what was not kept reads as zero.
    /// - Throws: `badSparsity` where one is not whole, or its bits do not say two of four.
    package func expandingTwoOfFour() throws(TensorFileError) -> TensorFile {
        guard entries.contains(where: { $0.name.hasSuffix(TwoOfFour.compressed) }) else { return self }
        var expanded: [TensorEntry] = [], used: Set<String> = []
        for entry in entries where entry.name.hasSuffix(TwoOfFour.compressed) {
            let layer = String(entry.name.dropLast(TwoOfFour.compressed.count))
            expanded.append(try matrix(of: layer, entry))
            used.formUnion([TwoOfFour.compressed, TwoOfFour.bitmask, TwoOfFour.shape].map { layer + $0 })
        }
        let names = Set(expanded.map(\.name))
        if let twice = entries.first(where: { names.contains($0.name) }) { throw .duplicateName(path: path, name: twice.name) }
        return TensorFile(
            path: path, metadata: metadata, entries: expanded + entries.filter { !used.contains($0.name) }, section: section, arguments: arguments)
    }

    private func matrix(of layer: String, _ values: TensorEntry) throws(TensorFileError) -> TensorEntry {
        func refusal(_ name: String, _ reason: String) -> TensorFileError { .badSparsity(path: path, name: layer + name, reason: reason) }
        for name in [TwoOfFour.bitmask, TwoOfFour.shape] where self[layer + name] == nil { throw refusal(name, "is missing beside '\(values.name)'") }
        let bits = try entry(layer + TwoOfFour.bitmask), sides = try entry(layer + TwoOfFour.shape)
        guard sides.dtype.isInteger, sides.count == 2 else { throw refusal(TwoOfFour.shape, "is not the two sides of a matrix") }
        let (rows, columns) = (try integers(sides.name)[0], try integers(sides.name)[1])
        guard rows > 0, columns > 0, columns % 4 == 0 else {
            throw refusal(TwoOfFour.shape, "says \(rows) x \(columns); rows are taken four values at a time")
        }
        guard values.dtype.isFloatingPoint, values.shape == [rows, columns / 2] else {
            throw refusal(TwoOfFour.compressed, "is \(values.dtype.rawValue) of shape \(values.shape), not numbers of shape [\(rows), \(columns / 2)]")
        }
        guard bits.dtype == .u8, bits.shape == [rows, (columns + 7) / 8] else {
            throw refusal(TwoOfFour.bitmask, "is \(bits.dtype.rawValue) of shape \(bits.shape), not U8 of shape [\(rows), \((columns + 7) / 8)]")
        }
        guard let kept = values.mapped, let mask = bits.mapped else { throw refusal(TwoOfFour.compressed, "is not in one piece: save it as a plain tensor") }
        if let fault = TwoOfFour.fault(ofBits: bits, columns: columns) { throw refusal(TwoOfFour.bitmask, "cannot be used: \(fault)") }
        let part = TensorPart(
            file: kept.file, offset: kept.range.lowerBound, shape: [rows, columns], strides: [columns, 1],
            kept: TwoOfFourBits(file: mask.file, offset: mask.range.lowerBound, columns: columns))
        return TensorEntry(name: layer + ".weight", type: values.dtype, shape: [rows, columns], parts: [part])
    }
}

extension TensorEntry {
    /// Whether it is held as two values of every four.
    package var isTwoOfFour: Bool { parts.contains { $0.kept != nil } }

    /// Bytes that its elements take in the file.
    package var storedBytes: Int { isTwoOfFour ? count / 2 * dtype.size + shape[0] * ((shape[1] + 7) / 8) : count * dtype.size }

    /// Whether of every four values along a row at most two are not zero, however it is held; the type must be a floating-point type.
    package var hasTwoOfFour: Bool {
        guard !isTwoOfFour else { return true }
        guard shape.count == 2, shape[1] % 4 == 0 else { return false }
        return pieces.allSatisfy { range in
            let values = floats(range)
            return stride(from: 0, to: values.count, by: 4).allSatisfy { first in values[first..<(first + 4)].count { $0 != 0 } <= 2 }
        }
    }
}

extension OutgoingTensor {
    /// The three tensors of a matrix of which at most two of every four values along a row are not zero.
    /// - Parameters:
    ///   - name: such as `blocks.0.attn.qkv.weight`.
    ///   - shape: rows, and columns in fours.
    ///   - type: of the kept values: F32 or BF16.
    ///   - values: elements of the matrix in row-major order.
    package static func twoOfFour(
        _ name: String, shape: [Int], as type: DType, values: @escaping @Sendable (Range<Int>) -> [Float]
    ) -> [OutgoingTensor] {
        precondition(shape.count == 2 && shape[1] % 4 == 0 && name.hasSuffix(".weight"), "'\(name)' of shape \(shape)")
        let layer = String(name.dropLast(".weight".count)), (rows, columns) = (shape[0], shape[1]), width = (columns + 7) / 8
        // As they will be read again: a number may be so small that bfloat16 has none for it.
        let stored: @Sendable (Range<Int>) -> [Float] = { range in type == .bf16 ? values(range).map(BFloat16.rounded) : values(range) }
        let compressed = OutgoingTensor(layer + TwoOfFour.compressed, shape: [rows, columns / 2], as: type) { range in
            let fours = stored((range.lowerBound / 2 * 4)..<((range.upperBound + 1) / 2 * 4))
            var kept: [Float] = []
            kept.reserveCapacity(fours.count / 2)
            for first in stride(from: 0, to: fours.count, by: 4) {
                let places = TwoOfFour.places(fours, from: first)
                for place in 0..<4 where places >> UInt8(place) & 1 == 1 { kept.append(fours[first + place]) }
            }
            let before = range.lowerBound % 2
            return Array(kept[before..<(before + range.count)])
        }
        let bitmask = OutgoingTensor(layer + TwoOfFour.bitmask, .u8, [rows, width]) { range in
            // Bytes follow each other without a gap but where a row ends within one.
            let isEven = columns % 8 == 0
            let all = isEven ? stored((8 * range.lowerBound)..<(8 * range.upperBound)) : []
            return range.map { index in
                let row = index / width, first = row * columns + index % width * 8
                let values = isEven ? all : stored(first..<min(first + 8, (row + 1) * columns)), at = isEven ? first - 8 * range.lowerBound : 0
                let low = TwoOfFour.places(values, from: at)
                return at + 4 < values.count ? low | TwoOfFour.places(values, from: at + 4) << 4 : low
            }
        }
        return [OutgoingTensor(layer + TwoOfFour.shape, shape: [2, 1], integers: shape), compressed, bitmask]
    }
}
