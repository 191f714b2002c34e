import AdapterFormat
import TensorFiles

/// How the values of a stored adapter are kept: a frame's codec, with the element type that it keeps them in.
package enum StoredPrecision: Sendable, Hashable {
    /// Lossless.
    case f32
    /// The adapter's values are bfloat16 values already; the error is what rounding them cost (`BFloat16.round`).
    case bf16(RoundingError)

    package var dtype: DType { self == .f32 ? .f32 : .bf16 }
}

/// The fixed head of a blob frame, 208 bytes, little-endian; the compressed payload follows.
///
///     0 magic "DFAB" · 4 version u16 · 6 codec u16 (1 float32, 2 bfloat16; 3 and 4 the same, sparse) · 8 values u64 · 16 class table values u64 · 24 classes u32
///     28 bytes of class names u32 · 32 payload bytes u64 · 40 rounding error max f32 · 44 rms f32
///     48 digest · 80 base digest · 112 layout digest · 144 base vector digest · 176 SHA-256 of bytes 0 ..< 176 and content
///
/// The content is the vector's values, the class table's values (float32) and the packed class names.
struct BlobHeader: Equatable {
    static let size = 208
    static let digestedSize = 176
    private static let magic: UInt32 = 0x4241_4644
    private static let version: UInt16 = 1
    /// Far above any class table (a million classes at width 1152 need 4.6 GB and are not stored here).
    private static let mostValues: UInt64 = 1 << 28
    private static let mostNameBytes = 1 << 26

    let valueCount: Int
    let tableCount: Int
    let classCount: Int
    let nameBytes: Int
    var payloadBytes: Int
    let precision: StoredPrecision
    /// Whether only values that differ from the base are there (`SparseValues`).
    var isSparse = false
    let digest: Digest
    let baseDigest: Digest
    let layoutDigest: Digest
    let baseVectorDigest: Digest
    var contentDigest: Digest?

    /// Bytes of one value inside the payload.
    var width: Int { precision.dtype.size }
    /// Bytes of the payload once decompressed, with so many of the vector's values in it.
    func planeBytes(kept: Int) -> Int { (isSparse ? SparseValues.bitBytes(valueCount) : 0) + (kept + tableCount) * width + nameBytes }
    /// Bytes of the adapter as float32 values and names.
    var contentBytes: Int { (valueCount + tableCount) * 4 + nameBytes }

    /// The bytes before the content digest.
    var digestedBytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: BlobHeader.magic)
        bytes.append(number: BlobHeader.version)
        bytes.append(number: UInt16((width == 4 ? 1 : 2) + (isSparse ? 2 : 0)))
        bytes.append(number: UInt64(valueCount))
        bytes.append(number: UInt64(tableCount))
        bytes.append(number: UInt32(classCount))
        bytes.append(number: UInt32(nameBytes))
        bytes.append(number: UInt64(payloadBytes))
        var error = RoundingError(max: 0, rms: 0)
        if case .bf16(let measured) = precision { error = measured }
        bytes.append(number: error.max.bitPattern)
        bytes.append(number: error.rms.bitPattern)
        return [digest, baseDigest, layoutDigest, baseVectorDigest].reduce(bytes) { $0 + $1.bytes }
    }

    /// Reads the head of a frame; `bytes` may end behind it.
    init(_ bytes: [UInt8], item: String) throws(StoreError) {
        func fault(_ reason: String) -> StoreError { .damaged(item: item, reason: reason) }
        guard bytes.count >= BlobHeader.size else { throw fault("it has \(bytes.count, "byte") and a head has \(BlobHeader.size)") }
        guard bytes.number(UInt32.self, at: 0) == BlobHeader.magic else { throw fault("it is not an adapter frame") }
        let version = bytes.number(UInt16.self, at: 4)
        guard version == BlobHeader.version else { throw .incompatible("The \(item) has format version \(version); this program reads 1.") }
        let codec = bytes.number(UInt16.self, at: 6)
        let error = RoundingError(
            max: Float(bitPattern: bytes.number(UInt32.self, at: 40)), rms: Float(bitPattern: bytes.number(UInt32.self, at: 44)))
        switch codec {
        case 1, 3: precision = .f32
        case 2, 4: precision = .bf16(error)
        default: throw .incompatible("The \(item) is stored with codec \(codec); this program reads 1 to 4.")
        }
        isSparse = codec > 2
        let values = bytes.number(UInt64.self, at: 8)
        let table = bytes.number(UInt64.self, at: 16)
        let payload = bytes.number(UInt64.self, at: 32)
        classCount = Int(bytes.number(UInt32.self, at: 24))
        nameBytes = Int(bytes.number(UInt32.self, at: 28))
        guard values <= BlobHeader.mostValues, table <= BlobHeader.mostValues, nameBytes <= BlobHeader.mostNameBytes,
            classCount * 4 <= nameBytes, payload <= UInt64(Int.max), table.isMultiple(of: UInt64(classCount + 1))
        else { throw fault("the sizes in its head cannot be") }
        valueCount = Int(values)
        tableCount = Int(table)
        payloadBytes = Int(payload)
        func digest(_ offset: Int) -> Digest { Digest(bytes: bytes[offset..<(offset + 32)])! }
        self.digest = digest(48)
        baseDigest = digest(80)
        layoutDigest = digest(112)
        baseVectorDigest = digest(144)
        contentDigest = digest(176)
    }

    /// The head for an adapter, before its payload and content digest are known.
    init(_ adapter: StoredAdapter, nameBytes: Int, over base: BaseValues, _ precision: StoredPrecision) throws(StoreError) {
        valueCount = adapter.vector.values.count
        tableCount = adapter.classes.values.count
        classCount = adapter.classes.names.count
        self.nameBytes = nameBytes
        guard UInt64(valueCount) <= BlobHeader.mostValues, UInt64(tableCount) <= BlobHeader.mostValues,
            nameBytes <= BlobHeader.mostNameBytes
        else { throw .tooLarge(item: "adapter \(adapter.digest.short)", size: 4 * (valueCount + tableCount), limit: 4 << 28) }
        payloadBytes = 0
        self.precision = precision
        digest = adapter.digest
        baseDigest = base.digest
        layoutDigest = base.layoutDigest
        baseVectorDigest = base.vectorDigest
    }
}

/// Little-endian numbers in bytes that came from a file; the caller has checked the length.
extension Array where Element == UInt8 {
    func number<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type, at offset: Int) -> T {
        var value: T = 0
        for i in (0..<MemoryLayout<T>.size).reversed() { value = value << 8 | T(self[offset + i]) }
        return value
    }

    mutating func append(number: some FixedWidthInteger) {
        for i in 0..<(number.bitWidth / 8) { append(UInt8(truncatingIfNeeded: number >> (8 * i))) }
    }
}
