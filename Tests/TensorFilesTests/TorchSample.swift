import Foundation
import TensorFiles

/// A tensor as a torch pickle describes it, over the one storage of a sample.
struct SampleTensor {
    var name = "a"
    var offset = 0
    var shape = [2, 2]
    var strides = [2, 1]
    var storage = "0"
    var type = "FloatStorage"
    var count = 4
}

/// Torch archives written by hand, so that a single number in them can be a lie.
enum TorchSample {
    static func text(_ text: String) -> [UInt8] { [0x58] + bytes(UInt32(text.utf8.count)) + text.utf8 }
    static func integer(_ value: Int) -> [UInt8] { [0x8a, 8] + bytes(UInt64(bitPattern: Int64(value))) }
    static func global(_ module: String, _ name: String) -> [UInt8] { [0x63] + Array("\(module)\n\(name)\n".utf8) }
    static func tuple(_ parts: [UInt8]...) -> [UInt8] { [0x28] + parts.joined() + [0x74] }
    static func integers(_ values: [Int]) -> [UInt8] { [0x28] + values.flatMap(integer) + [0x74] }
    static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (8 * Number($0))) }
    }

    static func tensor(_ t: SampleTensor) -> [UInt8] {
        let storage = tuple(text("storage"), global("torch", t.type), text(t.storage), text("cpu"), integer(t.count)) + [0x51]
        return global("torch._utils", "_rebuild_tensor_v2") + tuple(storage, integer(t.offset), integers(t.shape), integers(t.strides), [0x89], [0x7d]) + [0x52]
    }

    /// A pickle of a dictionary with these tensors.
    static func pickle(_ tensors: [SampleTensor]) -> [UInt8] {
        [0x80, 2, 0x7d, 0x28] + tensors.flatMap { text($0.name) + tensor($0) } + [0x75, 0x2e]
    }

    /// A stored zip archive; `wide` writes every size and offset as zip64 does.
    static func zip(_ members: [(String, [UInt8])], method: UInt16 = 0, wide: Bool = false) -> [UInt8] {
        var file: [UInt8] = []
        var directory: [UInt8] = []
        for (name, data) in members {
            let size = UInt32(data.count), offset = UInt32(file.count)
            file += bytes(UInt32(0x0403_4b50)) + [20, 0, 0, 0] + bytes(method) + [UInt8](repeating: 0, count: 8) + bytes(size) + bytes(size)
            file += bytes(UInt16(name.utf8.count)) + [0, 0] + name.utf8 + data
            let extra = wide ? bytes(UInt16(1)) + bytes(UInt16(24)) + bytes(UInt64(size)) + bytes(UInt64(size)) + bytes(UInt64(offset)) : []
            let sizes = wide ? bytes(UInt32.max) + bytes(UInt32.max) : bytes(size) + bytes(size)
            directory += bytes(UInt32(0x0201_4b50)) + [20, 0, 20, 0, 0, 0] + bytes(method) + [UInt8](repeating: 0, count: 8) + sizes
            directory += bytes(UInt16(name.utf8.count)) + bytes(UInt16(extra.count)) + [UInt8](repeating: 0, count: 10)
            directory += (wide ? bytes(UInt32.max) : bytes(offset)) + name.utf8 + extra
        }
        let (start, size, count) = (file.count, directory.count, members.count)
        file += directory
        if wide {
            let record = file.count
            file += bytes(UInt32(0x0606_4b50)) + bytes(UInt64(44)) + [45, 0, 45, 0] + [UInt8](repeating: 0, count: 8)
            file += bytes(UInt64(count)) + bytes(UInt64(count)) + bytes(UInt64(size)) + bytes(UInt64(start))
            file += bytes(UInt32(0x0706_4b50)) + bytes(UInt32(0)) + bytes(UInt64(record)) + bytes(UInt32(1))
        }
        file += bytes(UInt32(0x0605_4b50)) + [0, 0, 0, 0] + bytes(UInt16(count)) + bytes(UInt16(count))
        return file + (wide ? bytes(UInt32.max) + bytes(UInt32.max) : bytes(UInt32(size)) + bytes(UInt32(start))) + [0, 0]
    }

    /// An archive with this pickle and the storage 1, 2, 3, 4 as float32.
    static func archive(_ pickle: [UInt8], wide: Bool = false) -> [UInt8] {
        zip([("a/data.pkl", pickle), ("a/byteorder", Array("little".utf8)), ("a/data/0", [1, 2, 3, 4].flatMap { bytes(Float($0).bitPattern) })], wide: wide)
    }
}

/// A file of these bytes, removed when the body ends.
@discardableResult
func withFile<Result>(_ bytes: some Sequence<UInt8>, named suffix: String = "", _ body: (String) throws -> Result) throws -> Result {
    let path = NSTemporaryDirectory() + "tensorfiles-\(UUID().uuidString)\(suffix)"
    try Data(bytes).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}

/// A file in Tests/Goldens/containers, which tools/goldens/containers.py records.
func container(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/containers/\(name)").path
}

/// A small repeatable generator for mutations.
struct Mutations {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func number(below limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % limit
    }

    /// The bytes with one to five of them changed, cut off, put in between or copied elsewhere.
    mutating func mutated(_ sound: [UInt8]) -> [UInt8] {
        var bytes = sound
        for _ in 0...number(below: 5) where bytes.count > 1 {
            switch number(below: 6) {
            case 0: bytes[number(below: bytes.count)] = UInt8(number(below: 256))
            case 1: bytes.removeLast(number(below: min(20, bytes.count)))
            case 2: bytes.insert(UInt8(number(below: 256)), at: number(below: bytes.count))
            case 3: bytes[number(below: bytes.count)] ^= 1 << UInt8(number(below: 8))
            case 4: bytes[number(below: bytes.count)] = [0, 1, 0x7f, 0x80, 0xff][number(below: 5)]
            default:
                let start = number(below: bytes.count), length = min(number(below: 16), bytes.count - start)
                bytes.insert(contentsOf: Array(bytes[start..<(start + length)]), at: number(below: bytes.count))
            }
        }
        return bytes
    }
}
