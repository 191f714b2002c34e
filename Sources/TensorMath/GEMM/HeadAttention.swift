import CKernels

/// How the attention of one head runs on bfloat16 values, and what scratch it takes.
package struct HeadAttention: Sendable {
    private let tokens, head: Int
    private let isTiled: Bool
    private let matrixTiles: MatrixTiles?

    /// - Parameters:
    ///   - head: features of one.
    ///   - isTiled: whether what it gives goes into matrix tiles.
    ///   - matrixTiles: what multiplies in place of this processor's vectors; nil is those.
    package init(tokens: Int, head: Int, isTiled: Bool, matrixTiles: MatrixTiles?) {
        (self.tokens, self.head, self.isTiled, self.matrixTiles) = (tokens, head, isTiled, matrixTiles)
    }

    /// Values of scratch.
    package var scratchCount: Int { ownCount + (isTiled ? (tokens * head + 1) / 2 : 0) }

    private var ownCount: Int {
        let bytes = matrixTiles == nil ? ck_attention_scratch(tokens, head) : ck_attention_tiles_scratch(tokens, head)
        return (Int(bytes) + 3) / 4
    }

    /// out = softmax(scale q k^T) v, sums and exponentials in float32.
    /// - Parameters:
    ///   - q, k, v: (T, hd).
    ///   - scratch: `scratchCount` values.
    ///   - out: of all heads, (T, D).
    ///   - columns: of this head.
    package func forward(
        q: QuantizedMatrix, k: QuantizedMatrix, v: QuantizedMatrix, scale: Float, scratch: Matrix, into out: QuantizedMatrix, columns: Range<Int>
    ) {
        precondition([q, k, v].allSatisfy { $0.dtype == .bf16 && $0.rows == tokens && $0.columns == head && $0.stride == q.stride })
        precondition(
            out.dtype == .bf16 && out.isTiled == isTiled && out.rows == tokens && columns.count == head && scratch.count >= scratchCount,
            "\(out.rows) x \(out.columns) of \(out.dtype), \(scratch.count) values of scratch")
        // A head's columns begin inside a tile: its rows are put there when they are made.
        let target =
            isTiled ? QuantizedMatrix(bfloat16: scratch.values(ownCount..<scratch.count), rows: tokens, columns: head) : out.columns(columns)
        if let matrixTiles {
            unsafe ck_attention_tiles(
                matrixTiles.operations, target.bfloat16, target.stride, q.bfloat16, k.bfloat16, v.bfloat16, q.stride, tokens, head, scale, scratch.base)
        } else {
            unsafe ck_attention_bf16(
                target.bfloat16, target.stride, q.bfloat16, k.bfloat16, v.bfloat16, q.stride, tokens, head, scale, scratch.base)
        }
        if isTiled { unsafe out.putIntoTiles(target.base, stride: target.stride * target.dtype.size, rows: 0..<tokens, columns: columns) }
    }
}
