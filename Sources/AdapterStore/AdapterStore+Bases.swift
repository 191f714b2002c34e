import AdapterFormat
import Foundation

/// A base file in the store.
package struct BaseEntry: Sendable, Hashable {
    /// SHA-256 of the file.
    package let digest: Digest
    package let path: String
    /// Bytes of the file.
    package let size: Int
    /// The card's JSON, opaque to the store.
    package let card: Data
}

extension AdapterStore {
    private var basesFolder: String { path + "/bases" }

    func basePath(_ digest: Digest) -> String { "\(basesFolder)/\(digest).safetensors" }

    /// Copies a base file into the store under its digest. The same file again changes nothing, but its card.
    /// - Parameter expected: the digest that the file must have.
    /// - Throws: `badFile`, `digestMismatch`, `diskFull`, `locked`; the store is then as before.
    @discardableResult
    package func importBase(from source: String, card: Data, expected: Digest? = nil) throws(StoreError) -> Digest {
        guard !source.utf8.contains(0) else { throw .badFile(path: source, reason: "has a NUL in its name") }
        guard card.count <= AdapterStore.manifestLimit else {
            throw .tooLarge(item: "card", size: card.count, limit: AdapterStore.manifestLimit)
        }
        var file = try ImportedFile(copying: source, into: basesFolder)
        let (digest, size) = (file.digest, file.size)
        if let expected, expected != digest { throw .digestMismatch(item: "file '\(source)'", expected: expected, found: digest) }
        var value: [UInt8] = []
        value.append(number: UInt64(size))
        value += Array(card)
        // The file is in place before the entry is; a file without an entry is left for `prune`.
        try environment.lock.withLock(timeout: options.lockTimeout) { () throws(StoreError) in
            let isPresent = try FileCalls.status(basePath(digest)).map { $0.size == size } ?? false
            if !isPresent { try file.place(at: basePath(digest), in: basesFolder) }
            try environment.write(limit: options.mapSizeLimit) { transaction throws(StoreError) in
                if try transaction.sealed(.bases, digest.bytes) == value { return }
                try transaction.putSealed(.bases, digest.bytes, value)
                try transaction.raiseGeneration()
            }
        }
        return digest
    }

    /// A base by its digest, its file's length compared.
    /// - Throws: `baseNotFound`, `damaged`.
    package func base(_ digest: Digest) throws(StoreError) -> BaseEntry {
        let value = try environment.read { transaction throws(StoreError) in try transaction.sealed(.bases, digest.bytes) }
        guard let value else { throw .baseNotFound(digest) }
        let entry = try baseEntry(digest, value)
        guard let status = try FileCalls.status(entry.path) else {
            throw .damaged(item: "base \(digest.short)", reason: "its file is missing")
        }
        guard status.size == entry.size else {
            throw .damaged(item: "base \(digest.short)", reason: "its file has \(status.size) bytes instead of \(entry.size)")
        }
        return entry
    }

    /// Every base, by digest.
    package func listBases() throws(StoreError) -> [BaseEntry] {
        try environment.read { transaction throws(StoreError) in
            var entries: [BaseEntry] = []
            for digest in try AdapterStore.digests(.bases, transaction) {
                guard let value = try transaction.sealed(.bases, digest.bytes) else { continue }
                entries.append(try baseEntry(digest, value))
            }
            return entries
        }
    }

    /// Forgets a base and removes its file; whoever has it mapped keeps it.
    /// - Throws: `baseNotFound`, and `baseInUse` while an adapter, named or not, is stored against it.
    package func removeBase(_ digest: Digest) throws(StoreError) {
        let file = basePath(digest)
        try environment.lock.withLock(timeout: options.lockTimeout) { () throws(StoreError) in
            try environment.write(limit: options.mapSizeLimit) { transaction throws(StoreError) in
                guard try transaction.value(.bases, digest.bytes, limit: 0) != nil else { throw .baseNotFound(digest) }
                let users = try AdapterStore.adapters(over: digest, transaction)
                guard users.isEmpty else { throw .baseInUse(digest, adapters: users) }
                try transaction.delete(.bases, digest.bytes)
                try transaction.raiseGeneration()
            }
            // A file that stays behind here is left for `prune`.
            try? FileManager.default.removeItem(atPath: file)
        }
    }

    /// Names, or digests where there is none, of the adapters stored against a base; at most ten.
    private static func adapters(over base: Digest, _ transaction: borrowing WriteTransaction) throws(StoreError) -> [String] {
        let names = try transaction.allNames()
        var users: [String] = []
        try transaction.scan(.blobs, limit: BlobHeader.size) { key, head throws(StoreError) in
            guard let digest = Digest(bytes: key), let header = try? BlobHeader(head, item: "adapter"), header.baseDigest == base
            else { return true }
            users.append(names.first { $0.digest == digest }?.name ?? digest.short)
            return users.count < 10
        }
        return users
    }

    private func baseEntry(_ digest: Digest, _ value: [UInt8]) throws(StoreError) -> BaseEntry {
        guard value.count >= 8 else { throw .damaged(item: "base \(digest.short)", reason: "its entry has \(value.count) bytes") }
        return BaseEntry(
            digest: digest, path: basePath(digest), size: Int(clamping: value.number(UInt64.self, at: 0)), card: Data(value.dropFirst(8)))
    }

    /// Files below `bases/` that no entry names and no import is writing.
    func looseBaseFiles(_ known: Set<Digest>) -> [String] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: basesFolder)) ?? []
        return files.sorted().filter { file in
            if file.hasSuffix(ImportedFile.suffix) { return ImportedFile.isLeftOver("\(basesFolder)/\(file)") }
            guard file.hasSuffix(".safetensors"), let digest = Digest(hex: file.dropLast(".safetensors".count)) else { return false }
            return !known.contains(digest)
        }.map { "\(basesFolder)/\($0)" }
    }
}
