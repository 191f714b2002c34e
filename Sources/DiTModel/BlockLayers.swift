import AdapterFormat
import TensorMath

/// One value for each of a block's four linear layers, which its tokens go through: a matrix, a packed matrix, a low-rank pair.
package struct BlockLayers<Layer> {
    package let qkv: Layer  // (3D, D)
    package let proj: Layer  // (D, D)
    package let fc1: Layer  // (4D, D)
    package let fc2: Layer  // (D, 4D)

    /// The value of each layer, in state-dict order.
    init<E>(_ value: (LowRank.Linear) throws(E) -> Layer) throws(E) {
        qkv = try value(.qkv)
        proj = try value(.proj)
        fc1 = try value(.fc1)
        fc2 = try value(.fc2)
    }

    package subscript(linear: LowRank.Linear) -> Layer {
        switch linear {
        case .qkv: qkv
        case .proj: proj
        case .fc1: fc1
        case .fc2: fc2
        }
    }

    package var all: [Layer] { [qkv, proj, fc1, fc2] }

    func map<Other, E>(_ transform: (Layer) throws(E) -> Other) throws(E) -> BlockLayers<Other> {
        try BlockLayers<Other> { linear throws(E) in try transform(self[linear]) }
    }

    /// Of every block, from values by the reference names of their matrices.
    static func blocks(of configuration: DiTConfiguration, _ values: [String: Layer]) -> [BlockLayers] {
        (0..<configuration.depth).map { block in
            BlockLayers { linear in
                let name = linear.name(block: block) + ".weight"
                guard let value = values[name] else { preconditionFailure("there is no \(name)") }
                return value
            }
        }
    }
}

extension BlockLayers: Sendable where Layer: Sendable {}
