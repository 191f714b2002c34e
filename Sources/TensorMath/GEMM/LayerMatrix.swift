import CKernels
import COneDNN

/// A matrix W [outputs, inputs] of a linear layer as training multiplies by it: y = x W^T in the forward pass, dx = dy W in the backward pass.
package enum LayerMatrix: Sendable {
    /// As it lies, in float32: it may move between steps. The BLAS packs it at each call.
    case plain(Matrix)
    /// Frozen, and packed once for either pass.
    case packed(TwoWayPackedMatrix)

    /// y = x W^T; x (rows, inputs), y (rows, outputs).
    package func forward(_ x: Matrix, into y: Matrix, scratch: LayerScratch) {
        switch self {
        case .plain(let w): multiply(.plain(x), .transposed(w), into: y)
        case .packed(let w): w.forward.run(x, into: y, scratch: scratch)
        }
    }

    /// dx = dy W; dy (rows, outputs), dx (rows, inputs).
    package func backward(_ dy: Matrix, into dx: Matrix, scratch: LayerScratch) {
        switch self {
        case .plain(let w): multiply(.plain(dy), .plain(w), into: dx)
        case .packed(let w): w.backward.run(dy, into: dx, scratch: scratch)
        }
    }
}

/// What a packed layer needs beside its factors: the rounded rows, and oneDNN's scratch.
package struct LayerScratch: Sendable {
    let rounded: Matrix
    let product: Matrix

    /// - Parameters:
    ///   - values: of the largest x or dy.
    ///   - need: of the layers that will use it.
    package init(values: Int, _ need: Need, take: (Int, Int) -> Matrix) {
        rounded = take(1, need.rounds ? (values + 1) / 2 : 0)
        product = take(1, (need.bytes + 3) / 4)
    }

    /// What a network's layers ask of the scratch.
    package struct Need: Sendable {
        let rounds: Bool
        let bytes: Int

        package static let none = Need(rounds: false, bytes: 0)
    }
}

/// A frozen matrix packed for the forward pass and, transposed, for the backward pass. Its pages are read-only (law 7).
package struct TwoWayPackedMatrix: Sendable {
    fileprivate let forward, backward: OneWay

    /// One product per height of tiles, all over the same packed matrix.
    fileprivate struct OneWay: Sendable {
        let form: QuantizedMatrix.Form
        let products: [GEMMKernel]
        let packed: Matrix

        /// out = rows of x times the packed matrix, tile by tile.
        func run(_ x: Matrix, into out: Matrix, scratch: LayerScratch) {
            guard let product = products.first(where: { x.rows.isMultiple(of: $0.rows) }) else {
                preconditionFailure("\(x.rows) rows are no whole number of tiles of \(products.map(\.rows))")
            }
            precondition(
                x.isContiguous && out.isContiguous && x.rows == out.rows && x.columns == product.inputs && out.columns == product.outputs,
                "\(x.rows) x \(x.columns) into \(out.rows) x \(out.columns)")
            var source = unsafe UnsafeRawPointer(x.base)
            if form == .bf16 {
                precondition(2 * scratch.rounded.count >= x.count, "scratch of \(2 * scratch.rounded.count) values for \(x.count)")
                let rounded = unsafe UnsafeMutableRawPointer(scratch.rounded.base).assumingMemoryBound(to: UInt16.self)
                unsafe ck_round_bf16(rounded, x.base, x.count)
                unsafe source = UnsafeRawPointer(rounded)
            }
            for first in stride(from: 0, to: x.rows, by: product.rows) {
                unsafe product.run(
                    source + first * x.columns * form.bytes, packed.base, out.base + first * out.columns, scratch: scratch.product.base)
            }
        }
    }
}

/// Packs the matrices of a network for training; one product per shape and height serves them all.
package final class TrainingWeightPacker {
    private let form: QuantizedMatrix.Form
    private let heights: [Int]
    private var products: [[Int]: [GEMMKernel]] = [:]

    /// - Parameters:
    ///   - precision: f32 or bf16.
    ///   - heights: rows of the tiles that products will be asked for, the usual one first.
    package init(_ precision: Precision, heights: [Int]) {
        precondition(precision == .f32 || precision == .bf16, "no gradient goes through \(precision)")
        form = precision == .f32 ? .f32 : .bf16
        self.heights = heights
    }

    /// w for either pass; at f32 without oneDNN as it lies.
    package func pack(_ w: Matrix) throws(TensorMathError) -> LayerMatrix {
        guard PackedMatrix.copies(form) else { return .plain(w) }
        let (forward, backward) = (try products(outputs: w.rows, inputs: w.columns), try products(outputs: w.columns, inputs: w.rows))
        let each = [forward, backward].map { Memory.paddedCount(($0[0].packedBytes + 3) / 4) }
        let memory = Memory(capacity: each.reduce(0, +))
        let packed = each.map { memory.take($0) }
        try unsafe forward[0].pack(w.base, OD_F32, into: packed[0].base)
        try unsafe backward[0].pack(w.base, OD_F32, transposed: true, into: packed[1].base)
        memory.seal()
        return .packed(
            TwoWayPackedMatrix(
                forward: .init(form: form, products: forward, packed: packed[0]), backward: .init(form: form, products: backward, packed: packed[1])))
    }

    private func products(outputs: Int, inputs: Int) throws(TensorMathError) -> [GEMMKernel] {
        if let found = products[[outputs, inputs]] { return found }
        var made: [GEMMKernel] = []
        for height in heights { made.append(try GEMMKernel(form, rows: height, outputs: outputs, inputs: inputs, like: made.first)) }
        products[[outputs, inputs]] = made
        return made
    }

    /// What the matrices packed so far need.
    package var need: LayerScratch.Need {
        LayerScratch.Need(rounds: form == .bf16, bytes: products.values.joined().map(\.scratchBytes).max() ?? 0)
    }
}
