import AdapterFormat
import Foundation

import struct Crypto.SHA256

/// An adapter's values as one frame of bytes: head, then byte planes of the difference against the base, compressed.
package enum BlobFrame {
    /// - Parameter level: zstd compression level.
    /// - Throws: `incompatible` where adapter and base do not fit, `notRounded`, `tooLarge`.
    package static func encode(
        _ adapter: StoredAdapter, over ownBase: BaseValues, _ precision: StoredPrecision, level: Int
    ) throws(StoreError) -> [UInt8] {
        let base = try ownBase.over(layoutOf: adapter.manifest)
        try checkFits(adapter, base)
        let names = pack(adapter.classes.names)
        var header = try BlobHeader(adapter, nameBytes: names.count, over: base, precision)
        var payload: [UInt8]?
        if precision == .f32 || isRounded(adapter.vector.values + adapter.classes.values) {
            payload = try Zstd.compress(planes(adapter.vector.values, over: base.vector.values, adapter.classes, precision) + names, level: level)
        }
        // Where most values are the base's own; and these need not be rounded ones, since they are not stored.
        let sparse = SparseValues.split(adapter.vector.values, base.vector.values)
        let pays = payload == nil || 2 * sparse.values.count <= adapter.vector.values.count
        if pays, precision == .f32 || isRounded(sparse.values + adapter.classes.values) {
            var prefix: [UInt8] = []
            prefix.append(number: UInt64(sparse.values.count))
            let values = planes(sparse.values, over: sparse.prediction, adapter.classes, precision)
            let small = try prefix + Zstd.compress(sparse.bits + values + names, level: level)
            if small.count < payload?.count ?? .max { (payload, header.isSparse) = (small, true) }
        }
        guard let payload else {
            let values = adapter.vector.values + adapter.classes.values
            throw .notRounded(index: values.firstIndex { $0.bitPattern & 0xFFFF != 0 } ?? 0)
        }
        header.payloadBytes = payload.count
        let digested = header.digestedBytes
        return digested + contentDigest(digested, adapter.vector.values, adapter.classes.values, names).bytes + payload
    }

    /// The values of a frame, checked against its digest.
    /// - Parameter digest: the key under which the frame was found.
    /// - Throws: `damaged`, `digestMismatch`, `incompatible` where the frame was made over another base.
    package static func decode(
        _ frame: [UInt8], digest: Digest, manifest: Data, over ownBase: BaseValues
    ) throws(StoreError) -> StoredAdapter {
        let base = try ownBase.over(layoutOf: manifest)
        let item = "adapter \(digest.short)"
        func fault(_ reason: String) -> StoreError { .damaged(item: item, reason: reason) }
        let header = try checkedHeader(frame, digest: digest)
        guard header.baseDigest == base.digest else {
            throw .incompatible("The \(item) belongs to the base \(header.baseDigest.short), not to \(base.digest.short).")
        }
        guard header.layoutDigest == base.layoutDigest, header.valueCount == base.layout.count,
            header.tableCount == (header.classCount + 1) * base.layout.configuration.hiddenSize
        else { throw .incompatible("The \(item) was made for another layout of tunable values than its base has now.") }
        guard header.baseVectorDigest == base.vectorDigest else {
            throw .incompatible("The \(item) is stored against other values of the base \(base.digest.short) than were given.")
        }
        let planes = try decompress(frame, header)
        let bits = header.isSparse ? SparseValues.bitBytes(header.valueCount) : 0
        let kept = (planes.count - bits - header.nameBytes) / header.width - header.tableCount
        let count = kept + header.tableCount
        func values(_ range: Range<Int>, _ prediction: [Float]?) -> [Float] {
            let planes = bits == 0 ? planes : Array(planes[bits...])
            return header.width == 4
                ? BytePlanes.join(planes, count: count, range: range, prediction: prediction, UInt32.self)
                : BytePlanes.join(planes, count: count, range: range, prediction: prediction, UInt16.self)
        }
        var vector = base.vector.values
        if header.isSparse {
            guard let indices = SparseValues.indices(planes[..<bits], count: header.valueCount, kept: kept) else {
                throw fault("its bits name another number of values than it has")
            }
            for (index, value) in zip(indices, values(0..<kept, indices.map { base.vector.values[$0] })) { vector[index] = value }
        } else {
            vector = values(0..<kept, base.vector.values)
        }
        let table = values(kept..<count, nil)
        let packed = Array(planes[(bits + count * header.width)...])
        guard contentDigest(Array(frame[..<BlobHeader.digestedSize]), vector, table, packed) == header.contentDigest else {
            throw fault("its values do not have the digest in its head")
        }
        guard let names = unpack(packed, count: header.classCount) else { throw fault("its class names cannot be read") }
        return StoredAdapter(
            digest: digest, manifest: manifest, baseDigest: header.baseDigest, vector: TunableVector(vector, layout: base.layout),
            classes: ClassTable(names: names, values: table))
    }

    /// The head of a whole frame, which must be as long as its head says.
    static func checkedHeader(_ frame: [UInt8], digest: Digest) throws(StoreError) -> BlobHeader {
        let header = try BlobHeader(frame, item: "adapter \(digest.short)")
        guard header.digest == digest else {
            throw .digestMismatch(item: "adapter \(digest.short)", expected: digest, found: header.digest)
        }
        guard header.payloadBytes == frame.count - BlobHeader.size else {
            throw .damaged(
                item: "adapter \(digest.short)",
                reason: "it has \(frame.count - BlobHeader.size, "byte") of data instead of \(header.payloadBytes)")
        }
        return header
    }

    /// The decompressed planes and names; zstd's checksum has been compared.
    static func decompress(_ frame: [UInt8], _ header: BlobHeader) throws(StoreError) -> [UInt8] {
        var start = BlobHeader.size, kept = header.valueCount
        if header.isSparse {
            guard header.payloadBytes >= SparseValues.prefixBytes, frame.number(UInt64.self, at: start) <= UInt64(header.valueCount) else {
                throw .damaged(item: "adapter \(header.digest.short)", reason: "its count of values cannot be")
            }
            kept = Int(frame.number(UInt64.self, at: start))
            start += SparseValues.prefixBytes
        }
        switch Zstd.decompress(frame[start...], size: header.planeBytes(kept: kept)) {
        case .success(let planes): return planes
        case .failure(let fault): throw .damaged(item: "adapter \(header.digest.short)", reason: fault.reason)
        }
    }

    private static func checkFits(_ adapter: StoredAdapter, _ base: BaseValues) throws(StoreError) {
        let item = "adapter \(adapter.digest.short)"
        guard adapter.baseDigest == base.digest else {
            throw .incompatible("The \(item) belongs to the base \(adapter.baseDigest.short), not to \(base.digest.short).")
        }
        guard adapter.vector.values.count == base.layout.count else {
            throw .incompatible("The \(item) has \(adapter.vector.values.count, "value"); its base takes \(base.layout.count).")
        }
        guard adapter.classes.width == base.layout.configuration.hiddenSize else {
            throw .incompatible(
                "The class table of the \(item) has rows of \(adapter.classes.width, "value"); "
                    + "its base takes \(base.layout.configuration.hiddenSize).")
        }
    }

    private static func contentDigest(_ digested: [UInt8], _ vector: [Float], _ table: [Float], _ names: [UInt8]) -> Digest {
        var hash = SHA256()
        hash.update(data: digested)
        hash.update(values: vector)
        hash.update(values: table)
        hash.update(data: names)
        return Digest(hash.finalize())
    }

    private static func planes(_ values: [Float], over prediction: [Float], _ classes: ClassTable, _ precision: StoredPrecision) -> [UInt8] {
        let parts = [BytePlanes.Part(values: values, prediction: prediction), BytePlanes.Part(values: classes.values, prediction: nil)]
        return precision == .f32 ? BytePlanes.split(parts, UInt32.self) : BytePlanes.split(parts, UInt16.self)
    }

    private static func isRounded(_ values: [Float]) -> Bool { values.allSatisfy { $0.bitPattern & 0xFFFF == 0 } }

    /// Each name as its length in bytes (u32) and its UTF-8.
    private static func pack(_ names: [String]) -> [UInt8] {
        var bytes: [UInt8] = []
        for name in names {
            bytes.append(number: UInt32(name.utf8.count))
            bytes += Array(name.utf8)
        }
        return bytes
    }

    private static func unpack(_ bytes: [UInt8], count: Int) -> [String]? {
        var names: [String] = []
        var offset = 0
        for _ in 0..<count {
            guard offset + 4 <= bytes.count else { return nil }
            let end = offset + 4 + Int(bytes.number(UInt32.self, at: offset))
            guard end <= bytes.count, let name = String(validating: bytes[(offset + 4)..<end], as: UTF8.self) else { return nil }
            names.append(name)
            offset = end
        }
        return offset == bytes.count ? names : nil
    }
}
