/// One tensor of a file: its name, form, and where its elements lie.
public struct TensorEntry: Sendable {
    /// As the model names it, such as `blocks.0.attn.qkv.weight`.
    public let name: String
    /// How its elements are stored.
    public let dtype: DType
    /// Sides, the slowest first; empty for a single value.
    public let shape: [Int]
    /// Stacked along the first side, in order; one, but for tensors that were put together from several.
    let parts: [TensorPart]

    init(name: String, type: DType, shape: [Int], parts: [TensorPart]) {
        (self.name, dtype, self.shape, self.parts) = (name, type, shape, parts)
    }

    /// Elements.
    public var count: Int { shape.reduce(1, *) }

    /// Where the bytes lie in a mapped file; nil where they are not in one piece in row-major order.
    package var mapped: (file: MappedFile, range: Range<Int>)? {
        guard parts.count == 1, let part = parts.first, part.isContiguous else { return nil }
        return (part.file, part.offset..<(part.offset + (part.count * dtype.bits + 7) / 8))
    }

    package func renamed(_ name: String) -> TensorEntry { TensorEntry(name: name, type: dtype, shape: shape, parts: parts) }

    /// Several tensors as one, stacked along the first side; nil where their types or other sides differ.
    package static func stacked(_ name: String, _ entries: [TensorEntry]) -> TensorEntry? {
        guard let first = entries.first else { return nil }
        let fits = entries.allSatisfy { $0.dtype == first.dtype && !$0.shape.isEmpty && $0.shape.dropFirst() == first.shape.dropFirst() }
        // Sides beside a side of 0 may be of any size.
        guard fits, entries.allSatisfy({ $0.count > 0 }) else { return nil }
        let rows = entries.reduce(0) { $0 + $1.shape[0] }
        return TensorEntry(name: name, type: first.dtype, shape: [rows] + first.shape.dropFirst(), parts: entries.flatMap(\.parts))
    }

    /// Elements `range` in row-major order as float32; the type must be a floating-point type.
    package func floats(_ range: Range<Int>) -> [Float] {
        switch dtype {
        case .f32: elements(range, of: Float.self) { $0 }
        case .bf16: elements(range, of: UInt16.self, convert: BFloat16.value)
        case .f16: elements(range, of: UInt16.self) { Float(Float16(bitPattern: $0)) }
        case .f64: elements(range, of: Double.self) { Float($0) }
        case .f8E4M3: elements(range, of: UInt8.self, convert: Float8.e4m3)
        case .f8E5M2: elements(range, of: UInt8.self, convert: Float8.e5m2)
        default: preconditionFailure("'\(name)' is \(dtype.rawValue), no floating-point type")
        }
    }

    /// Ranges of elements that are small enough to be in memory at once.
    package var pieces: some Sequence<Range<Int>> { TensorEntry.pieces(of: count) }

    static func pieces(of count: Int) -> some Sequence<Range<Int>> {
        let piece = 1 << 16
        return stride(from: 0, to: count, by: piece).lazy.map { $0..<min(count, $0 + piece) }
    }

    /// Whether every value is a finite number; the type must be a floating-point type.
    package var isFinite: Bool { pieces.allSatisfy { floats($0).allSatisfy(\.isFinite) } }

    /// Whether another tensor has the same shape and, bit for bit, the same values as float32.
    package func hasSameValues(as other: TensorEntry) -> Bool {
        guard shape == other.shape, dtype.isFloatingPoint, other.dtype.isFloatingPoint else { return false }
        return pieces.allSatisfy { zip(floats($0), other.floats($0)).allSatisfy { $0.bitPattern == $1.bitPattern } }
    }

    /// Elements `range` in row-major order, each made from its stored bits.
    func elements<Stored: BitwiseCopyable & AdditiveArithmetic, Element>(_ range: Range<Int>, of: Stored.Type, convert: (Stored) -> Element) -> [Element] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "elements \(range) of \(count) in '\(name)'")
        var values: [Element] = []
        values.reserveCapacity(range.count)
        var first = 0
        for part in parts {
            let own = range.clamped(to: first..<(first + part.count))
            if let kept = part.kept {
                kept.append((own.lowerBound - first)..<(own.upperBound - first), from: part.file, first: part.offset, to: &values, convert: convert)
                first += part.count
                continue
            }
            part.forEachRun(in: (own.lowerBound - first)..<(own.upperBound - first)) { start, count, step in
                part.file.append(
                    count, from: part.offset + start * MemoryLayout<Stored>.size, step: step * MemoryLayout<Stored>.size, to: &values, convert: convert)
            }
            first += part.count
        }
        return values
    }
}

/// Elements of a mapped file, `strides` apart along each side: views, transposes and shared storages are all this. Or those of a matrix in
/// row-major order of which the file holds two of every four.
struct TensorPart: Sendable {
    let file: MappedFile
    /// Byte of the first element.
    let offset: Int
    let shape: [Int]
    /// In elements, none negative.
    let strides: [Int]
    /// Which of them the file holds; nil where it holds all.
    let kept: TwoOfFourBits?

    init(file: MappedFile, offset: Int, shape: [Int], strides: [Int], kept: TwoOfFourBits? = nil) {
        (self.file, self.offset, self.shape, self.strides, self.kept) = (file, offset, shape, strides, kept)
    }

    /// Row-major, without gaps.
    init(file: MappedFile, offset: Int, shape: [Int]) {
        var strides = [Int](repeating: 1, count: shape.count)
        for side in shape.indices.dropLast().reversed() { strides[side] = strides[side + 1] &* max(shape[side + 1], 1) }
        self.init(file: file, offset: offset, shape: shape, strides: strides)
    }

    var count: Int { shape.reduce(1, *) }
    var isContiguous: Bool { kept == nil && (count <= 1 || run.length == count && run.step == 1) }

    /// The longest stretch of row-major neighbours that lie at one distance, and how many sides come before it; `count` is not 0.
    private var run: (length: Int, step: Int, outer: Int) {
        var (length, step, outer) = (1, 1, 0)
        for side in shape.indices.reversed() where shape[side] != 1 {
            if length == 1 {
                (length, step) = (shape[side], strides[side])
            } else if strides[side] == length * step {
                length *= shape[side]
            } else {
                outer = side + 1
                break
            }
        }
        return (length, step, outer)
    }

    /// Calls `body` with the offset of the first element from the part's own, the count, and the distance, all in elements.
    func forEachRun(in range: Range<Int>, _ body: (_ start: Int, _ count: Int, _ step: Int) -> Void) {
        guard !range.isEmpty else { return }
        let (length, step, outer) = run
        var at = range.lowerBound
        while at < range.upperBound {
            let inner = at % length
            let count = min(length - inner, range.upperBound - at)
            var (index, start) = (at / length, inner * step)
            for side in (0..<outer).reversed() {
                start += index % shape[side] * strides[side]
                index /= shape[side]
            }
            body(start, count, step)
            at += count
        }
    }
}
