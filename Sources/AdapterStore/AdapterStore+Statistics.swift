import AdapterFormat

/// How large the store is.
public struct StoreStatistics: Sendable, Hashable {
    /// Raised by every change.
    public let generation: UInt64
    /// Names, adapters and bases.
    public let names: Int
    public let adapters: Int
    public let bases: Int
    /// Bytes of all compressed frames.
    public let adapterBytes: Int
    /// Bytes of the same adapters as float32.
    public let contentBytes: Int
    /// Bytes of all base files.
    public let baseBytes: Int
    /// Bytes of the data file up to its last page in use.
    public let usedBytes: Int
    /// Bytes of the map now, and at most.
    public let mapBytes: Int
    public let mapSizeLimit: Int
}

extension AdapterStore {
    /// Counts and sizes at one moment.
    public func statistics() throws(StoreError) -> StoreStatistics {
        let bases = try listBases()
        let sizes = try environment.sizes()
        return try environment.read { transaction throws(StoreError) in
            var stored = 0
            var content = 0
            try transaction.scan(.blobs, limit: BlobHeader.size) { _, head throws(StoreError) in
                let header = try BlobHeader(head, item: "adapter")
                stored += BlobHeader.size + header.payloadBytes
                content += header.contentBytes
                return true
            }
            return StoreStatistics(
                generation: try transaction.generation(), names: try transaction.count(.names), adapters: try transaction.count(.blobs),
                bases: bases.count, adapterBytes: stored, contentBytes: content, baseBytes: bases.reduce(0) { $0 + $1.size },
                usedBytes: sizes.used, mapBytes: sizes.map, mapSizeLimit: options.mapSizeLimit)
        }
    }
}
