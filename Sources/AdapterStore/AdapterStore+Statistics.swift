import AdapterFormat

/// How large the store is.
package struct StoreStatistics: Sendable, Hashable {
    package let generation: UInt64
    package let names: Int
    package let adapters: Int
    package let bases: Int
    /// Bytes of all compressed frames.
    package let adapterBytes: Int
    /// Bytes of the same adapters as float32.
    package let contentBytes: Int
    package let baseBytes: Int
    /// Bytes of the data file up to its last page in use.
    package let usedBytes: Int
    package let mapBytes: Int
    package let mapSizeLimit: Int
}

extension AdapterStore {
    /// Counts and sizes at one moment.
    package func statistics() throws(StoreError) -> StoreStatistics {
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
