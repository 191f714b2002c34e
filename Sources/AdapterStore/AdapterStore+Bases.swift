import AdapterFormat
import Foundation
import TensorFiles

/// A base file in the store.
public struct BaseEntry: Sendable, Hashable {
    /// SHA-256 of the file.
    public let digest: Digest
    package let path: String
    /// Bytes of the file.
    public let size: Int
    /// The card's JSON, opaque to the store but for the autoencoder that it names.
    package let card: Data
    /// Nil where the card cannot be read.
    package let decodedCard: BaseCard?
    /// The autoencoder that belongs to the base, and the tiny one, where the card names them.
    package let vae, tinyVAE: StoredVAE?

    /// nil where the base's card cannot be read.
    public var name: String? { decodedCard?.name }

    init(digest: Digest, size: Int, card: Data, folder: String) {
        (self.digest, self.size, self.card) = (digest, size, card)
        path = "\(folder)/\(digest).safetensors"
        decodedCard = try? JSONDecoder().decode(BaseCard.self, from: card)
        vae = decodedCard?.vae.map { StoredVAE(digest: $0, folder: folder) }
        tinyVAE = decodedCard?.tinyVAE.map { StoredVAE(digest: $0, folder: folder) }
    }

    /// Every autoencoder's file that the base needs.
    var autoencoders: [StoredVAE] { [vae, tinyVAE].compactMap { $0 } }
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

    /// Writes a base, and the autoencoders that its card names, into the store. The same again changes nothing, but the card.
    /// - Throws: `digestMismatch`, `diskFull`, `locked`; the store is then as before.
    package func importBase(_ content: FileContent, vae: FileContent? = nil, tinyVAE: FileContent? = nil, card: Data) throws(StoreError) {
        var file = try ImportedFile(writing: content.pieces, into: basesFolder)
        try check(file, "base", content.digest)
        try enter(&file, with: [vae, tinyVAE].compactMap { $0 }[...], card: card) { () throws(StoreError) in }
    }

    /// Writes the autoencoders one after the other, then puts all in place at once.
    private func enter(
        _ file: inout ImportedFile, with autoencoders: ArraySlice<FileContent>, card: Data, others: () throws(StoreError) -> Void
    ) throws(StoreError) {
        guard let vae = autoencoders.first else { return try enter(&file, card: card, others: others) }
        var other = try ImportedFile(writing: vae.pieces, into: basesFolder)
        try check(other, "autoencoder", vae.digest)
        try enter(&file, with: autoencoders.dropFirst(), card: card) { () throws(StoreError) in
            try others()
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
            let name = try baseEntry(digest, value).decodedCard?.name
            try environment.read { transaction throws(StoreError) in try check(name: name, of: digest, transaction) }
            if try !holds(digest, size, at: place) { try file.place(at: place, in: basesFolder) }
            try others()
            try environment.write(limit: options.mapSizeLimit) { transaction throws(StoreError) in
                if try transaction.checksummed(.bases, digest.bytes) == value { return }
                try transaction.putChecksummed(.bases, digest.bytes, value)
                try transaction.raiseGeneration()
            }
        }
    }

    /// A base keeps the name that it has; a new one takes a name that is free.
    private func check(name: String?, of digest: Digest, _ transaction: borrowing ReadTransaction) throws(StoreError) {
        guard let name else { return }
        for entry in try baseEntries(transaction) {
            guard let known = entry.decodedCard?.name else { continue }
            if entry.digest == digest {
                guard known == name else { throw .baseNamed(known, digest: digest, wanted: name) }
                return
            }
            if known == name { throw .baseNameTaken(name: name, digest: entry.digest) }
        }
        try AdapterStore.check(name: name)
    }

    /// Gives a base another name. Its adapters belong to its digest, and stay.
    /// - Throws: `baseNotFound`, `badName`, `baseNameTaken`, `damaged` where its card cannot be read, `locked`, `mapFull`, `diskFull`.
    package func renameBase(_ digest: Digest, to name: String) throws(StoreError) {
        try AdapterStore.check(name: name)
        try change { transaction throws(StoreError) in
            guard let value = try transaction.checksummed(.bases, digest.bytes) else { throw .baseNotFound(digest) }
            var card = try baseEntry(digest, value).readCard()
            if card.name == name { return }
            if let other = try baseEntries(transaction).first(where: { $0.decodedCard?.name == name }) {
                throw .baseNameTaken(name: name, digest: other.digest)
            }
            card.name = name
            guard let text = try? sortedJSON(card) else { throw .damaged(item: "base \(digest.short)", reason: "its card cannot be written") }
            try transaction.putChecksummed(.bases, digest.bytes, value.prefix(8) + Array(text.utf8))
            try transaction.raiseGeneration()
        }
    }

    /// The base that a reference means: its name, digest or the digest's first digits (four or more); nil means the only one there is.
    /// - Throws: `noBase`, `unknownBase`, `severalBases`.
    package func base(_ reference: String?) throws(StoreError) -> BaseEntry {
        let entries = try listBases()
        let found = entries.filter { entry in
            guard let reference else { return true }
            return entry.decodedCard?.name == reference || (reference.count >= 4 && entry.digest.description.hasPrefix(reference))
        }
        guard let first = found.first else {
            guard let reference else { throw .noBase(path: path) }
            throw .unknownBase(reference: reference, path: path, nearest: nearestNames(to: reference, among: entries.compactMap { $0.decodedCard?.name }))
        }
        guard found.count == 1 else { throw .severalBases(found.map { "\($0.decodedCard?.name ?? "?")@\($0.digest.short)" }) }
        return first
    }

    /// A base by its digest, its file's length compared.
    /// - Throws: `baseNotFound`, `damaged`.
    package func base(_ digest: Digest) throws(StoreError) -> BaseEntry {
        let value = try environment.read { transaction throws(StoreError) in try transaction.checksummed(.bases, digest.bytes) }
        guard let value else { throw .baseNotFound(digest) }
        let entry = try baseEntry(digest, value)
        guard let status = try FileCalls.status(entry.path) else {
            throw .damaged(item: "base \(digest.short)", reason: "its file is missing")
        }
        guard status.size == entry.size else {
            throw .damaged(item: "base \(digest.short)", reason: "its file has \(status.size, "byte") instead of \(entry.size)")
        }
        return entry
    }

    /// Every base, by digest.
    public func listBases() throws(StoreError) -> [BaseEntry] {
        try environment.read { transaction throws(StoreError) in try baseEntries(transaction) }
    }

    private func baseEntries(_ transaction: borrowing some Transaction & ~Copyable) throws(StoreError) -> [BaseEntry] {
        var entries: [BaseEntry] = []
        for digest in try AdapterStore.digests(.bases, transaction) {
            guard let value = try transaction.checksummed(.bases, digest.bytes) else { continue }
            entries.append(try baseEntry(digest, value))
        }
        return entries
    }

    /// The names of the files below `bases/` that entries name.
    func knownFiles(_ transaction: borrowing some Transaction & ~Copyable) throws(StoreError) -> Set<String> {
        var files: Set<String> = []
        for digest in try AdapterStore.digests(.bases, transaction) {
            files.insert("\(digest).safetensors")
            if let value = try? transaction.checksummed(.bases, digest.bytes), let entry = try? baseEntry(digest, value) {
                for vae in entry.autoencoders { files.insert("\(vae.digest)\(StoredVAE.suffix)") }
            } else {
                // A damaged entry no longer says which autoencoders it needs.
                let all = (try? FileManager.default.contentsOfDirectory(atPath: basesFolder)) ?? []
                files.formUnion(all.filter { $0.hasSuffix(StoredVAE.suffix) })
            }
        }
        return files
    }

    /// Forgets a base and removes its file, and those of its autoencoders where no other base names them; whoever has them mapped keeps them.
    /// - Returns: bytes of the files that were removed.
    /// - Throws: `baseNotFound`, and `baseInUse` while an adapter, named or not, is stored against it.
    @discardableResult
    public func removeBase(_ digest: Digest) throws(StoreError) -> Int {
        try environment.lock.withLock(timeout: options.lockTimeout) { () throws(StoreError) in
            let loose = try environment.write(limit: options.mapSizeLimit) { transaction throws(StoreError) in
                guard let value = try transaction.value(.bases, digest.bytes) else { throw .baseNotFound(digest) }
                let users = try AdapterStore.adapters(over: digest, transaction)
                guard users.isEmpty else { throw .baseInUse(digest, adapters: users) }
                let entry = try? baseEntry(digest, Checksummed.open(value, table: .bases, key: digest.bytes))
                try transaction.delete(.bases, digest.bytes)
                try transaction.raiseGeneration()
                let files = ["\(digest).safetensors"] + (entry?.autoencoders.map { "\($0.digest)\(StoredVAE.suffix)" } ?? [])
                return Set(files).subtracting(try knownFiles(transaction))
            }
            // A file that stays behind here is left for `prune`.
            return loose.reduce(0) { freed, file in
                let size = ((try? FileCalls.status("\(basesFolder)/\(file)")) ?? nil)?.size ?? 0
                return (try? FileManager.default.removeItem(atPath: "\(basesFolder)/\(file)")) == nil ? freed : freed + size
            }
        }
    }

    /// Names, or digests where there is none, of the adapters stored against a base; the first ten, and how many more there are.
    private static func adapters(over base: Digest, _ transaction: borrowing WriteTransaction) throws(StoreError) -> [String] {
        let names = try transaction.allNames()
        var users: [String] = []
        try transaction.scan(.blobs, limit: BlobHeader.size) { key, head throws(StoreError) in
            guard let digest = Digest(bytes: key), let header = try? BlobHeader(head, item: "adapter"), header.baseDigest == base
            else { return true }
            let own = names.filter { $0.digest == digest }.map(\.name)
            users += own.isEmpty ? [digest.short] : own
            return true
        }
        return users.count > 10 ? users.prefix(10) + ["\(users.count - 10) more"] : users
    }

    private func baseEntry(_ digest: Digest, _ value: [UInt8]) throws(StoreError) -> BaseEntry {
        guard value.count >= 8 else { throw .damaged(item: "base \(digest.short)", reason: "its entry has \(value.count, "byte")") }
        return BaseEntry(digest: digest, size: Int(clamping: value.number(UInt64.self, at: 0)), card: Data(value.dropFirst(8)), folder: basesFolder)
    }

    /// Files below `bases/` that no entry names and no import is writing.
    func looseBaseFiles(_ known: Set<String>) -> [String] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: basesFolder)) ?? []
        let loose = files.sorted().filter { file in
            let suffix = file.hasSuffix(StoredVAE.suffix) ? StoredVAE.suffix : ".safetensors"
            return file.hasSuffix(suffix) && Digest(hex: file.dropLast(suffix.count)) != nil && !known.contains(file)
        }.map { "\(basesFolder)/\($0)" }
        return (ImportedFile.leftOvers(in: basesFolder) + loose).sorted()
    }

    /// - Returns: false where the file is in use again, or stays for another reason.
    func removeLooseFile(_ path: String) -> Bool {
        path.hasSuffix(ImportedFile.suffix) ? ImportedFile.removeLeftOver(path) : (try? FileManager.default.removeItem(atPath: path)) != nil
    }
}
