/// A row-major float32 view into memory that it keeps alive: `rows` rows of `columns` values, `stride` values apart.
///
/// A vector is a matrix of one row. Views are cheap values; slices share the memory.
// @unchecked: as for `Memory`, threads are given disjoint rows by the passes.
@safe package struct Matrix: @unchecked Sendable {
    package let rows: Int
    package let columns: Int
    package let stride: Int
    let base: UnsafeMutablePointer<Float>
    let owner: AnyObject

    init(base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int, owner: AnyObject) {
        unsafe self.base = base
        self.rows = rows
        self.columns = columns
        self.stride = stride
        self.owner = owner
    }

    /// A view of other memory, alive at least as long as another matrix is.
    init(base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int, keeping other: Matrix) {
        unsafe self.init(base: base, rows: rows, columns: columns, stride: stride, owner: other.owner)
    }

    /// A read-only view of float32 values that lie elsewhere (a mapped file); writing through it faults.
    @unsafe package init(readOnly address: UnsafeRawPointer, rows: Int, columns: Int, owner: AnyObject) {
        unsafe self.init(
            base: UnsafeMutableRawPointer(mutating: address).assumingMemoryBound(to: Float.self),
            rows: rows, columns: columns, stride: columns, owner: owner)
    }

    package var count: Int { rows * columns }
    package var isContiguous: Bool { stride == columns || rows == 1 }

    package func rows(_ range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        return unsafe Matrix(
            base: base + range.lowerBound * stride, rows: range.count, columns: columns, stride: stride, owner: owner)
    }

    package func row(_ index: Int) -> Matrix { rows(index..<(index + 1)) }

    package func columns(_ range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
        return unsafe Matrix(base: base + range.lowerBound, rows: rows, columns: range.count, stride: stride, owner: owner)
    }

    /// Values `range` of a contiguous matrix as one row.
    package func values(_ range: Range<Int>) -> Matrix {
        precondition(isContiguous && range.lowerBound >= 0 && range.upperBound <= count, "values \(range) of \(count)")
        return unsafe Matrix(base: base + range.lowerBound, rows: 1, columns: range.count, stride: range.count, owner: owner)
    }

    /// The same contiguous values under another shape.
    package func reshaped(_ rows: Int, _ columns: Int) -> Matrix {
        precondition(isContiguous && rows * columns == count, "\(rows) x \(columns) of \(count) values")
        return unsafe Matrix(base: base, rows: rows, columns: columns, stride: columns, owner: owner)
    }

    /// Parts of one row in the order of a table: the next `count` values at `offset`, which moves on.
    package func next(_ count: Int, at offset: inout Int) -> Matrix {
        defer { offset += count }
        return values(offset..<(offset + count))
    }
}

extension Matrix {
    /// The values, row by row.
    package var array: [Float] {
        (0..<rows).flatMap { r in unsafe [Float](UnsafeBufferPointer(start: base + r * stride, count: columns)) }
    }

    package subscript(row: Int, column: Int) -> Float {
        get {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns)
            return unsafe base[row * stride + column]
        }
        nonmutating set {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns)
            unsafe base[row * stride + column] = newValue
        }
    }

    /// Overwrites a contiguous matrix with as many values.
    package func copy(from values: [Float]) {
        precondition(isContiguous && values.count == count, "\(values.count) values into \(count)")
        unsafe values.withUnsafeBufferPointer { source in
            if let start = source.baseAddress { unsafe base.update(from: start, count: count) }
        }
    }

    /// Overwrites a contiguous matrix with the values of another.
    package func copy(from other: Matrix) {
        precondition(isContiguous && other.isContiguous && other.count == count, "\(other.count) values into \(count)")
        unsafe base.update(from: other.base, count: count)
    }

    /// Copies a contiguous matrix out into an array that already has the room.
    package func copy(into values: inout [Float]) {
        precondition(isContiguous && values.count == count, "\(count) values into \(values.count)")
        unsafe values.withUnsafeMutableBufferPointer { target in
            if let start = target.baseAddress { unsafe start.update(from: base, count: count) }
        }
    }

    package func fill(_ value: Float) {
        for r in 0..<rows { unsafe (base + r * stride).update(repeating: value, count: columns) }
    }

    /// The values of a contiguous matrix, for code that takes spans.
    package func withSpan<Result>(_ body: (Span<Float>) -> Result) -> Result {
        precondition(isContiguous)
        return unsafe body(Span(_unsafeStart: base, count: count))
    }

    package func withMutableSpan<Result>(_ body: (inout MutableSpan<Float>) -> Result) -> Result {
        precondition(isContiguous)
        var span = unsafe MutableSpan(_unsafeStart: base, count: count)
        return body(&span)
    }
}
