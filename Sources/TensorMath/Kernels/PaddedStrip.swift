import CKernels

/// What happens to a pixel's channels on their way into a convolution: nothing, or x * scale + shift per channel, or its SiLU.
package enum PixelActivation {
    case none
    case scaled(Matrix, shift: Matrix)
    case scaledSilu(Matrix, shift: Matrix)
}

/// Some rows of an image with the border that a convolution reads beyond them: (rows, columns, channels), dense.
// @unchecked: each thread has a strip of its own.
@safe package struct PaddedStrip: @unchecked Sendable {
    package let rows: Int
    package let columns: Int
    package let channels: Int
    /// What the convolution reads: `f32`, or `bf16` with sums in float32.
    package let dtype: DType
    let base: UnsafeMutableRawPointer
    let owner: AnyObject

    private init(base: UnsafeMutableRawPointer, rows: Int, columns: Int, channels: Int, dtype: DType, owner: AnyObject) {
        unsafe self.base = base
        (self.rows, self.columns, self.channels, self.dtype, self.owner) = (rows, columns, channels, dtype, owner)
    }

    /// A strip in scratch memory of at least `PaddedStrip.values(...)` float32 values.
    package init(in scratch: Matrix, rows: Int, columns: Int, channels: Int, dtype: DType) {
        let values = PaddedStrip.values(rows: rows, columns: columns, channels: channels, dtype: dtype)
        precondition(scratch.isContiguous && scratch.count >= values, "a strip of \(values) values in \(scratch.count)")
        unsafe self.init(
            base: UnsafeMutableRawPointer(scratch.base), rows: rows, columns: columns, channels: channels, dtype: dtype,
            owner: scratch.owner)
    }

    /// Float32 values of memory that a strip takes.
    package static func values(rows: Int, columns: Int, channels: Int, dtype: DType) -> Int {
        (rows * columns * channels * dtype.size + 3) / 4
    }

    /// Rows from `first` on, in the same memory.
    package func rows(from first: Int, count: Int) -> PaddedStrip {
        precondition(first >= 0 && first + count <= rows, "rows \(first)..<\(first + count) of \(rows)")
        return unsafe PaddedStrip(
            base: base + first * columns * channels * dtype.size, rows: count, columns: columns, channels: channels, dtype: dtype,
            owner: owner)
    }

    /// Fills the strip with rows of an image, and with zeros where it reaches beyond the image.
    /// - Parameters:
    ///   - x: (H W, C), contiguous.
    ///   - width: W.
    ///   - first: the image's row in the strip's first row; may lie above the image.
    ///   - left: columns of border on the left; what the image does not fill on the right is border too.
    package func load(_ x: Matrix, width: Int, from first: Int, left: Int, _ activation: PixelActivation) {
        precondition(x.isContiguous && x.columns == channels && left + width <= columns, "\(x.columns) channels, \(width) columns")
        let height = x.rows / width
        for row in 0..<rows {
            guard (0..<height).contains(first + row) else {
                clear(row, 0, columns)
                continue
            }
            clear(row, 0, left)
            clear(row, left + width, columns - left - width)
            let source = x.rows(((first + row) * width)..<((first + row + 1) * width))
            unsafe fill(base + (row * columns + left) * channels * dtype.size, source, activation)
        }
    }

    private func clear(_ row: Int, _ column: Int, _ count: Int) {
        let bytes = channels * dtype.size
        unsafe (base + (row * columns + column) * bytes).initializeMemory(as: UInt8.self, repeating: 0, count: count * bytes)
    }

    private func fill(_ target: UnsafeMutableRawPointer, _ x: Matrix, _ activation: PixelActivation) {
        switch dtype {
        case .f32:
            let out = unsafe target.assumingMemoryBound(to: Float.self)
            switch activation {
            case .none: unsafe out.update(from: x.base, count: x.count)
            case .scaled(let scale, let shift): unsafe ck_scale_shift(out, x.base, scale.base, shift.base, x.rows, x.columns)
            case .scaledSilu(let scale, let shift): unsafe ck_scale_shift_silu(out, x.base, scale.base, shift.base, x.rows, x.columns)
            }
        case .bf16:
            let out = unsafe target.assumingMemoryBound(to: UInt16.self)
            switch activation {
            case .none: unsafe ck_round_bf16(out, x.base, x.count)
            case .scaled(let scale, let shift): unsafe ck_scale_shift_bf16(out, x.base, scale.base, shift.base, x.rows, x.columns)
            case .scaledSilu(let scale, let shift):
                unsafe ck_scale_shift_silu_bf16(out, x.base, scale.base, shift.base, x.rows, x.columns)
            }
        default: noKernel(for: dtype)
        }
    }
}

/// Mean and sum of squared distances of each group of channels over the pixels of x (pixels, C); scratch has 2 C values.
package func groupMoments(_ x: Matrix, mean: Matrix, deviation: Matrix, scratch: Matrix) {
    precondition(x.isContiguous && mean.count == deviation.count && x.columns % mean.count == 0 && scratch.count >= 2 * x.columns)
    unsafe ck_group_moments(mean.base, deviation.base, x.base, x.rows, x.columns, mean.count, scratch.base)
}

/// x = max(x, 0).
package func rectify(_ x: Matrix) {
    precondition(x.isContiguous)
    unsafe ck_relu(x.base, x.count)
}

/// Copies the rows of `source` (pixels, C) to every second pixel of a row of an image, from pixel `first` on.
package func copyToEverySecond(_ source: Matrix, of row: Matrix, from first: Int) {
    precondition(source.columns == row.columns && source.isContiguous && row.isContiguous && first + 2 * source.rows <= row.rows + 1)
    for pixel in 0..<source.rows {
        unsafe (row.base + (first + 2 * pixel) * row.columns).update(from: source.base + pixel * source.columns, count: source.columns)
    }
}
