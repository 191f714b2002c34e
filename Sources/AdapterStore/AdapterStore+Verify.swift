import AdapterFormat
import Foundation

/// One checked thing in the store.
package struct VerifyEntry: Sendable, Hashable {
    package enum Subject: Sendable, Hashable, CustomStringConvertible {
        case name(String)
        case adapter(Digest)
        case base(Digest)
        /// Something in a table with a key that cannot be read.
        case table(String)

        package var description: String {
            switch self {
            case .name(let name): "name \(name)"
            case .adapter(let digest): "adapter \(digest)"
            case .base(let digest): "base \(digest)"
            case .table(let name): "table \(name)"
            }
        }
    }

    package enum Finding: Sendable, Equatable, Hashable, CustomStringConvertible {
        case sound
        /// Checked as far as possible without its base's values.
        case partlyChecked(String)
        case damaged(String)

        package var description: String {
            switch self {
            case .sound: "sound"
            case .partlyChecked(let what): "partly checked: \(what)"
            case .damaged(let what): "damaged: \(what)"
            }
        }
    }

    package let subject: Subject
    package let finding: Finding

    package init(subject: Subject, finding: Finding) {
        self.subject = subject
        self.finding = finding
    }
}

/// What `verify` found, in the order names, adapters, bases, each ascending.
package struct VerifyReport: Sendable, Hashable {
    package var entries: [VerifyEntry] = []

    package var damaged: [VerifyEntry] {
        entries.filter { if case .damaged = $0.finding { true } else { false } }
    }
}

extension AdapterStore {
    /// Reads everything again: every name leads somewhere, every adapter has its digest, every base file its SHA-256.
    /// - Parameter readBases: false compares only the length of base files.
    /// - Parameter values: a base's own values by its digest; nil leaves its adapters checked by checksum alone.
    /// - Throws: only where the store or a base's file may not or cannot be read; damage is an entry of the report.
    package func verify(readBases: Bool = true, values: (Digest) -> BaseValues?) throws(StoreError) -> VerifyReport {
        var report = VerifyReport()
        var adapters: Set<Digest> = []
        var bases: [Digest] = []
        try environment.read { transaction throws(StoreError) in
            for table in [Table.blobs, .records, .bases] {
                try transaction.scan(table, limit: 0) { key, _ throws(StoreError) in
                    if let digest = Digest(bytes: key) {
                        if table == .bases { bases.append(digest) } else { adapters.insert(digest) }
                    } else {
                        report.entries.append(VerifyEntry(subject: .table(table.name), finding: .damaged("A key is not a digest.")))
                    }
                    return true
                }
            }
            try transaction.scan(.names) { key, value throws(StoreError) in
                let name = String(decoding: key, as: UTF8.self)
                report.entries.append(VerifyEntry(subject: .name(name), finding: AdapterStore.check(name, key, value, adapters)))
                return true
            }
        }
        for digest in adapters.sorted() {
            if let finding = check(adapter: digest, values) {
                report.entries.append(VerifyEntry(subject: .adapter(digest), finding: finding))
            }
        }
        for digest in bases {
            if let finding = try check(base: digest, readBases) {
                report.entries.append(VerifyEntry(subject: .base(digest), finding: finding))
            }
        }
        return report
    }

    private static func check(_ name: String, _ key: [UInt8], _ value: [UInt8], _ adapters: Set<Digest>) -> VerifyEntry.Finding {
        guard AdapterName.isValid(name) else { return .damaged(StoreError.badName(name).description) }
        do throws(StoreError) {
            guard let digest = Digest(bytes: try Checksummed.open(value, table: .names, key: key)) else {
                return .damaged("The name '\(name)' holds no digest.")
            }
            return adapters.contains(digest) ? .sound : .damaged("The name '\(name)' leads to \(digest.short), which is not in the store.")
        } catch {
            return .damaged(error.description)
        }
    }

    /// nil for an adapter that another process has pruned meanwhile.
    private func check(adapter digest: Digest, _ values: (Digest) -> BaseValues?) -> VerifyEntry.Finding? {
        do throws(StoreError) {
            let (frame, manifest) = try environment.read { transaction throws(StoreError) in
                (try transaction.value(.blobs, digest.bytes), try transaction.checksummed(.records, digest.bytes))
            }
            guard frame != nil || manifest != nil else { return nil }
            guard let frame, let manifest else {
                return .damaged("The adapter \(digest.short) has no \(frame == nil ? "values" : "manifest").")
            }
            let header = try BlobFrame.checkedHeader(frame, digest: digest)
            guard let base = values(header.baseDigest) else {
                _ = try BlobFrame.decompress(frame, header)
                return .partlyChecked("The values of the base \(header.baseDigest.short) are not at hand.")
            }
            let adapter = try BlobFrame.decode(frame, digest: digest, manifest: Data(manifest), over: base)
            if let found = options.contentDigest?(adapter), found != digest {
                throw .digestMismatch(item: "adapter", expected: digest, found: found)
            }
            return .sound
        } catch {
            return .damaged(error.description)
        }
    }

    /// nil for a base that another process has removed meanwhile.
    /// - Throws: `permission`, since a file that this user may not read says nothing about damage.
    private func check(base digest: Digest, _ readBases: Bool) throws(StoreError) -> VerifyEntry.Finding? {
        do throws(StoreError) {
            let entry = try base(digest)
            for vae in entry.autoencoders where try FileCalls.status(vae.path) == nil {
                throw .damaged(item: "base \(digest.short)", reason: "its autoencoder \(vae.digest.short) is missing")
            }
            guard readBases else { return .sound }
            let files = [("base file", entry.path, digest)] + entry.autoencoders.map { ("autoencoder file", $0.path, $0.digest) }
            for (item, path, expected) in files {
                let found = try FileCalls.digest(ofFile: path)
                guard found == expected else { throw .digestMismatch(item: item, expected: expected, found: found) }
            }
            return .sound
        } catch {
            if case .baseNotFound = error { return nil }
            if case .permission = error { throw error }
            return .damaged(error.description)
        }
    }
}
