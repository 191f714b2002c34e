import AdapterFormat
import Foundation
import TensorFiles

/// A base file in the store.
package struct BaseEntry: Sendable, Hashable {
    /// SHA-256 of the file.
    package let digest: Digest
    package let path: String
    /// Bytes of the file.
    package let size: Int
    /// The card's JSON, opaque to the store but for the autoencoder that it names.
    package let card: Data
    /// Nil where the card cannot be read.
    package let decodedCard: BaseCard?
    /// The autoencoder that belongs to the base, where the card names one.
    package let vae: StoredVAE?

    init(digest: Digest, size: Int, card: Data, folder: String) {
        (self.digest, self.size, self.card) = (digest, size, card)
        path = "\(folder)/\(digest).safetensors"
        decodedCard = try? JSONDecoder().decode(BaseCard.self, from: card)
        vae = decodedCard?.vae.map { StoredVAE(digest: $0, folder: folder) }
    }
}

extension BaseEntry {
    /// What the base says of itself.
    /// - Throws: `damaged` where it cannot be read: a default in its place would be another base.
    package func readCard() throws(StoreError) -> BaseCard {
        do { return try JSONDecoder().decode(BaseCard.self, from: card) } catch {
            throw .damaged(item: "card of the base \(digest.short)", reason: plainReason(error))
        }
    }
}

/// An autoencoder's file in the store; several bases may name one.
package struct StoredVAE: Sendable, Hashable {
    /// SHA-256 of the file.
    package let digest: Digest
    package let path: String

    init(digest: Digest, folder: String) {
        self.digest = digest
        path = "\(folder)/\(digest)\(StoredVAE.suffix)"
    }

    static let suffix = ".vae.safetensors"
}

/// The bytes of a file on their way into the store, a piece at a time, and the digest that they must have.
package struct FileContent {
    let pieces: AnySequence<[UInt8]>
    package let digest: Digest

    package init(_ pieces: some Sequence<[UInt8]>, digest: Digest) { (self.pieces, self.digest) = (AnySequence(pieces), digest) }
}

extension AdapterStore {
    private var basesFolder: String { path + "/bases" }

    /// Copies a base file into the store under its digest. The same file again changes nothing, but its card.
    /// - Parameter expected: the digest that the file must have.
    /// - Throws: `badFile`, `digestMismatch`, `diskFull`, `locked`; the store is then as before.
    @discardableResult
    package func importBase(from source: String, card: Data, expected: Digest? = nil) throws(StoreError) -> Digest {
        guard !source.utf8.contains(0) else { throw .badFile(path: source, reason: "has a NUL in its name") }
        var file = try ImportedFile(copying: source, into: basesFolder)
        if let expected { try check(file, "file '\(source)'", expected) }
        let digest = file.digest
        try enter(&file, card: card) { () throws(StoreError) in }
        return digest
    }

    /// Writes a base, and the autoencoder that its card names, into the store. The same again changes nothing, but the card.
    /// - Throws: `digestMismatch`, `diskFull`, `locked`; the store is then as before.
    package func importBase(_ content: FileContent, vae: FileContent? = nil, card: Data) throws(StoreError) {
        var file = try ImportedFile(writing: content.pieces, into: basesFolder)
        try check(file, "base", content.digest)
        guard let vae else {
            try enter(&file, card: card) { () throws(StoreError) in }
            return
        }
        var other = try ImportedFile(writing: vae.pieces, into: basesFolder)
        try check(other, "autoencoder", vae.digest)
        try enter(&file, card: card) { () throws(StoreError) in
            let place = StoredVAE(digest: vae.digest, folder: basesFolder).path
            if try !holds(vae.digest, other.size, at: place) { try other.place(at: place, in: basesFolder) }
        }
    }

    private func check(_ file: borrowing ImportedFile, _ item: String, _ expected: Digest) throws(StoreError) {
        if expected != file.digest { throw .digestMismatch(item: item, expected: expected, found: file.digest) }
    }

    /// Whether a file that is there already is whole: an import of the same again mends a damaged one.
    private func holds(_ digest: Digest, _ size: Int, at path: String) throws(StoreError) -> Bool {
        guard try FileCalls.status(path)?.size == size else { return false }
        return try FileCalls.digest(ofFile: path) == digest
    }

    /// Puts a base's file in place, then what else it needs, then its entry; a file without an entry is left for `prune`.
    private func enter(_ file: inout ImportedFile, card: Data, others: () throws(StoreError) -> Void) throws(StoreError) {
        guard card.count <= AdapterStore.manifestLimit else {
            throw .tooLarge(item: "card", size: card.count, limit: AdapterStore.manifestLimit)
        }
        let (digest, size) = (file.digest, file.size)
        let place = "\(basesFolder)/\(digest).safetensors"
        var value: [UInt8] = []
        value.append(number: UInt64(size))
        value += Array(card)
        try environment.lock.withLock(timeout: options.lockTimeout) { () throws(StoreError) in
            if try !holds(digest, size, at: place) { try file.place(at: place, in: basesFolder) }
            try others()
            try environment.write(limit: options.mapSizeLimit) { transaction throws(StoreError) in
                if try transaction.sealed(.bases, digest.bytes) == value { return }
                try transaction.putSealed(.bases, digest.bytes, value)
                try transaction.raiseGeneration()
            }
        }
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

    /// The names of the files below `bases/` that entries name.
    func knownFiles(_ transaction: borrowing some Transaction & ~Copyable) throws(StoreError) -> Set<String> {
        var files: Set<String> = []
        for digest in try AdapterStore.digests(.bases, transaction) {
            files.insert("\(digest).safetensors")
            if let value = try? transaction.sealed(.bases, digest.bytes), let entry = try? baseEntry(digest, value) {
                if let vae = entry.vae { files.insert("\(vae.digest)\(StoredVAE.suffix)") }
            } else {
                // A damaged entry no longer says which autoencoder it needs.
                let all = (try? FileManager.default.contentsOfDirectory(atPath: basesFolder)) ?? []
                files.formUnion(all.filter { $0.hasSuffix(StoredVAE.suffix) })
            }
        }
        return files
    }

    /// Forgets a base and removes its file; whoever has it mapped keeps it. Its autoencoder stays until `prune`.
    /// - Throws: `baseNotFound`, and `baseInUse` while an adapter, named or not, is stored against it.
    package func removeBase(_ digest: Digest) throws(StoreError) {
        let file = "\(basesFolder)/\(digest).safetensors"
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
        return BaseEntry(digest: digest, size: Int(clamping: value.number(UInt64.self, at: 0)), card: Data(value.dropFirst(8)), folder: basesFolder)
    }

    /// Files below `bases/` that no entry names and no import is writing.
    func looseBaseFiles(_ known: Set<String>) -> [String] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: basesFolder)) ?? []
        return files.sorted().filter { file in
            if file.hasSuffix(ImportedFile.suffix) { return ImportedFile.isLeftOver("\(basesFolder)/\(file)") }
            let suffix = file.hasSuffix(StoredVAE.suffix) ? StoredVAE.suffix : ".safetensors"
            return file.hasSuffix(suffix) && Digest(hex: file.dropLast(suffix.count)) != nil && !known.contains(file)
        }.map { "\(basesFolder)/\($0)" }
    }
}
