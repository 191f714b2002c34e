import AdapterFormat
import DiTModel
import Foundation
import TensorMath

/// A recorded file as these tests need it: name to shape and floats (whole numbers as floats too).
package struct Golden {
    package let tensors: [String: (shape: [Int], values: [Float])]

    package init(_ name: String) throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/\(name).safetensors")
        let all = [UInt8](try Data(contentsOf: path))
        let length = all[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSONSerialization.jsonObject(with: Data(all[8..<(8 + length)])) as! [String: Any]
        var tensors: [String: (shape: [Int], values: [Float])] = [:]
        for (name, entry) in header where name != "__metadata__" {
            let entry = entry as! [String: Any]
            let range = entry["data_offsets"] as! [Int]
            let bytes = Array(all[(8 + length + range[0])..<(8 + length + range[1])])
            let values: [Float] = bytes.withUnsafeBytes { raw in
                entry["dtype"] as! String == "F32"
                    ? (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
                    : (0..<raw.count / 8).map { Float(raw.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)) }
            }
            tensors[name] = (entry["shape"] as! [Int], values)
        }
        self.tensors = tensors
    }

    package subscript(_ name: String) -> [Float] { tensors[name]!.values }

    /// As a matrix of `rows` rows.
    package func matrix(_ name: String, rows: Int) -> Matrix {
        let values = self[name]
        let matrix = Memory(capacity: values.count + 16).take(rows, values.count / rows)
        matrix.copy(from: values)
        return matrix
    }

    package func weights(_ configuration: DiTConfiguration) -> Weights {
        Weights(configuration) { name, rows, columns in
            let matrix = matrix(name, rows: rows)
            precondition(matrix.columns == columns)
            return matrix
        }
    }

    /// The layout's values as far as the file has them, neutral elsewhere.
    package func vector(_ layout: TunableLayout, over base: TunableVector? = nil) -> TunableVector {
        var values = (base ?? .neutral(layout)).values
        for tensor in layout.tensors {
            if let found = tensors[tensor.name] { values.replaceSubrange(tensor.range, with: found.values) }
        }
        return TunableVector(values, layout: layout)
    }

    package func classTable(_ count: Int) -> ClassTable {
        ClassTable(names: (0..<count).map(String.init), values: self[TunableLayout.classTableName])
    }
}

package enum GoldenModels {
    package static let tiny = DiTConfiguration(
        inputSize: 8, patchSize: 2, inChannels: 4, hiddenSize: 64, depth: 4, numHeads: 4, numClasses: 10, learnSigma: true)
    package static let pixel = DiTConfiguration(
        inputSize: 16, patchSize: 4, inChannels: 3, hiddenSize: 48, depth: 3, numHeads: 3, numClasses: 5, learnSigma: false)
}

/// Largest difference over the largest value.
package func relativeError(_ a: [Float], _ b: [Float]) -> Float {
    precondition(a.count == b.count, "\(a.count) values against \(b.count)")
    let scale = b.reduce(0) { max($0, abs($1)) }
    return zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } / max(scale, 1e-30)
}

/// A precision, and what multiplies at it: each way that a network can be computed here.
package struct NetworkForm: Sendable, CustomStringConvertible {
    package let precision: Precision
    /// nil is oneDNN, or at f32 the BLAS.
    package let matrixTiles: MatrixTiles?

    /// The plain tiles are on every processor.
    package static let all: [NetworkForm] =
        Precision.supported.map { NetworkForm(precision: $0, matrixTiles: nil) }
        + [MatrixTiles.plain, .native].compactMap { $0 }.flatMap { tiles in
            Precision.allCases.filter { $0 != .f32 }.map { NetworkForm(precision: $0, matrixTiles: tiles) }
        }

    package var description: String { precision.rawValue + (matrixTiles.map { " on " + $0.description } ?? "") }
}
