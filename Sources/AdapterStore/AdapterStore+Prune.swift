import AdapterFormat
import Foundation

/// What `prune` removed, or would.
public struct PruneReport: Sendable, Hashable {
    /// Adapters that no name led to.
    public internal(set) var adapters: [Digest] = []
    /// Base files and left-over copies that no entry named.
    public internal(set) var files: [String] = []
    /// Bytes of both.
    public internal(set) var bytes = 0
}

extension AdapterStore {
    /// Removes adapters without a name and files without an entry. The data file does not shrink; its pages are used again.
    /// - Parameter dryRun: only reports.
    /// - Throws: `locked`, `mapFull`, `diskFull`.
    public func prune(dryRun: Bool = false) throws(StoreError) -> PruneReport {
        if dryRun {
            let (report, known) = try environment.read { transaction throws(StoreError) in
                (try AdapterStore.unnamed(transaction), try knownFiles(transaction))
            }
            return addingFiles(to: report, known: known, remove: false)
        }
        return try environment.lock.withLock(timeout: options.lockTimeout) { () throws(StoreError) in
            let (report, known) = try environment.write(limit: options.mapSizeLimit) { transaction throws(StoreError) in
                let report = try AdapterStore.unnamed(transaction)
                for digest in report.adapters {
                    try transaction.delete(.blobs, digest.bytes)
                    try transaction.delete(.records, digest.bytes)
                }
                if !report.adapters.isEmpty { try transaction.raiseGeneration() }
                return (report, try knownFiles(transaction))
            }
            return addingFiles(to: report, known: known, remove: true)
        }
    }

    private static func unnamed(_ transaction: borrowing some Transaction & ~Copyable) throws(StoreError) -> PruneReport {
        let named = Set(try transaction.allNames().map(\.digest))
        let stored = Set(try digests(.blobs, transaction)).union(try digests(.records, transaction))
        var report = PruneReport(adapters: stored.subtracting(named).sorted())
        for digest in report.adapters {
            if let head = try transaction.value(.blobs, digest.bytes, limit: BlobHeader.size) {
                report.bytes += (try? BlobHeader(head, item: "adapter")).map { BlobHeader.size + $0.payloadBytes } ?? 0
            }
        }
        return report
    }

    private func addingFiles(to report: PruneReport, known: Set<String>, remove: Bool) -> PruneReport {
        var report = report
        for file in looseBaseFiles(known) {
            let size = ((try? FileCalls.status(file)) ?? nil)?.size ?? 0
            if remove, !removeLooseFile(file) { continue }
            report.files.append(file)
            report.bytes += size
        }
        return report
    }
}
