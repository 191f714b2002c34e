import AdapterFormat
import AdapterStore
import Foundation
import TensorFiles
import Testing
import storehammer

struct BaseTests {
    let temporary = try! TemporaryStore()

    func code(_ body: () throws -> Void) -> Int32? {
        do { try body() } catch { return (error as? StoreError)?.exitCode }
        return nil
    }

    @Test func aBaseIsCopiedUnderItsDigest() throws {
        let store = try AdapterStore.create(at: temporary.path)
        // SHA-256 of "a base file", from sha256sum.
        let digest = Digest(hex: "efefa15e5b2512b4438748b3771ae693d8efaac3125dfe84c101637b5a3cbbd6")!
        #expect(try store.importBase(from: temporary.folder + "/base", card: Data("{}".utf8)) == digest)
        #expect(try store.importBase(from: temporary.folder + "/base", card: Data("{}".utf8), expected: digest) == digest)
        let entry = try store.base(digest)
        #expect(try Data(contentsOf: URL(filePath: entry.path)) == Samples.baseFile)
        #expect(entry.path == "\(temporary.path)/bases/\(digest).safetensors")
        #expect(try store.listBases() == [entry])
        #expect(entry.size == 11)
        #expect(entry.card == Data("{}".utf8))
    }

    /// A byte that went wrong on the disk leaves the length as it was.
    @Test func theSameAgainMendsADamagedFile() throws {
        let store = try AdapterStore.create(at: temporary.path)
        let digest = try store.importBase(from: temporary.folder + "/base", card: Data())
        let place = URL(filePath: try store.base(digest).path)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: place.path)
        try Data(Samples.baseFile.reversed()).write(to: place)
        #expect(try store.verify { _ in nil }.damaged.count == 1)
        #expect(try store.importBase(from: temporary.folder + "/base", card: Data()) == digest)
        #expect(try Data(contentsOf: place) == Samples.baseFile)
        #expect(try store.verify { _ in nil }.damaged.isEmpty)
    }

    @Test func aWrongFileLeavesNothing() throws {
        let store = try AdapterStore.create(at: temporary.path)
        #expect(code { try store.importBase(from: temporary.folder + "/base", card: Data(), expected: Samples.adapter(1).digest) } == 6)
        #expect(code { try store.importBase(from: temporary.folder, card: Data()) } != nil)
        #expect(code { try store.importBase(from: temporary.folder + "/none", card: Data()) } != nil)
        #expect(code { try store.importBase(from: "/dev/zero", card: Data()) } == 2)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/bases").isEmpty)
        #expect(try store.listBases().isEmpty)
    }

    @Test func aBaseStaysWhileAdaptersNeedIt() throws {
        let store = try temporary.create()
        let digest = Samples.base.digest
        _ = try store.add(1, as: "a")
        #expect(throws: StoreError.baseInUse(digest, adapters: ["a"])) { try store.removeBase(digest) }
        try store.remove("a")
        #expect(throws: StoreError.baseInUse(digest, adapters: [Samples.adapter(1).digest.short])) { try store.removeBase(digest) }
        _ = try store.prune()
        try store.removeBase(digest)
        #expect(code { try store.removeBase(digest) } == 4)
        #expect(code { _ = try store.base(digest) } == 4)
        #expect(code { _ = try store.add(1, as: "a") } == 4)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/bases").isEmpty)
    }

    @Test func verifySeesADamagedBaseAndImportingAgainRepairsAMissingOne() throws {
        let store = try temporary.create()
        let path = try store.base(Samples.base.digest).path
        try Data("A base file".utf8).write(to: URL(filePath: path))
        #expect(try store.verifySamples().damaged.map(\.subject) == [.base(Samples.base.digest)])
        try FileManager.default.removeItem(atPath: path)
        #expect(code { _ = try store.base(Samples.base.digest) } == 6)
        try store.importBase(from: temporary.folder + "/base", card: Data("{}".utf8))
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    @Test func pruneRemovesLeftOverFilesAndNoOthers() throws {
        let store = try temporary.create()
        let bases = temporary.path + "/bases/"
        let loose = ["1-2.importing", "\(Samples.adapter(1).digest).safetensors"]
        for file in loose + ["README"] { try Data("x".utf8).write(to: URL(filePath: bases + file)) }
        #expect(try Set(store.prune(dryRun: true).files) == Set(loose.map { bases + $0 }))
        #expect(try store.prune().bytes == 2)
        #expect(try Set(FileManager.default.contentsOfDirectory(atPath: bases)) == ["README", "\(Samples.base.digest).safetensors"])
    }

    /// A base with an autoencoder, which its card names.
    private func importWithVAE(_ store: AdapterStore, base: String, vae: String, named: Digest? = nil) throws -> (base: Digest, vae: Digest) {
        let (content, other) = ([[UInt8]([1]), Array(base.utf8)], [Array(vae.utf8)])
        var card = BaseCard.dit
        card.name = base
        card.vae = named ?? Digest(of: other)
        try store.importBase(
            FileContent(content, digest: Digest(of: content)), vae: FileContent(other, digest: Digest(of: other)),
            card: Data(try sortedJSON(card).utf8))
        return (Digest(of: content), Digest(of: other))
    }

    @Test func anAutoencoderStaysAsLongAsABaseNamesIt() throws {
        let store = try temporary.create()
        let first = try importWithVAE(store, base: "one", vae: "pictures"), second = try importWithVAE(store, base: "two", vae: "pictures")
        #expect(first.vae == second.vae)
        #expect(first.base != second.base)
        let kept = try #require(try store.base(first.base).vae)
        #expect(kept.path == "\(temporary.path)/bases/\(first.vae).vae.safetensors")
        #expect(kept.digest == first.vae)
        #expect(try Data(contentsOf: URL(filePath: kept.path)) == Data("pictures".utf8))
        #expect(try store.base(Samples.base.digest).vae == nil)
        #expect(try store.prune().files.isEmpty)
        try store.removeBase(first.base)
        #expect(try store.prune().files.isEmpty)
        #expect(try store.verifySamples().damaged.isEmpty)
        try Data("picturex".utf8).write(to: URL(filePath: kept.path))
        #expect(try store.verifySamples().damaged.map(\.subject) == [.base(second.base)])
        try FileManager.default.removeItem(atPath: kept.path)
        #expect(try store.verifySamples().damaged.map(\.subject) == [.base(second.base)])
        _ = try importWithVAE(store, base: "two", vae: "pictures")
        #expect(try store.verifySamples().damaged.isEmpty)
        #expect(try store.removeBase(second.base) == "\u{1}two".utf8.count + "pictures".utf8.count)
        #expect(try store.prune().files.isEmpty)
        #expect(!FileManager.default.fileExists(atPath: kept.path))
    }

    /// The tiny one is a file of the same kind, and goes the same ways: prune, verify, snapshot, remove.
    @Test func aTinyAutoencoderStaysAsLongAsABaseNamesIt() throws {
        let store = try temporary.create()
        let parts = ["base", "pictures", "tiny"].map { [Array($0.utf8)] }, digests = parts.map { Digest(of: $0) }
        var card = BaseCard.dit
        (card.name, card.vae, card.tinyVAE) = ("one", digests[1], digests[2])
        let content = zip(parts, digests).map { FileContent($0, digest: $1) }
        #expect(code { try store.importBase(content[0], vae: content[1], tinyVAE: FileContent(parts[2], digest: digests[1]), card: Data()) } == 6)
        try store.importBase(content[0], vae: content[1], tinyVAE: content[2], card: Data(try sortedJSON(card).utf8))
        let kept = try #require(try store.base(digests[0]).tinyVAE)
        #expect(kept.path == "\(temporary.path)/bases/\(digests[2]).vae.safetensors")
        #expect(try Data(contentsOf: URL(filePath: kept.path)) == Data("tiny".utf8))
        #expect(try store.prune().files.isEmpty)
        let copy = temporary.folder + "/copy"
        _ = try store.snapshot(at: copy)
        #expect(FileManager.default.fileExists(atPath: "\(copy)/bases/\(digests[2]).vae.safetensors"))
        try FileManager.default.removeItem(atPath: kept.path)
        #expect(try store.verifySamples().damaged.map(\.subject) == [.base(digests[0])])
        try store.importBase(content[0], vae: content[1], tinyVAE: content[2], card: Data(try sortedJSON(card).utf8))
        #expect(try store.verifySamples().damaged.isEmpty)
        #expect(try store.removeBase(digests[0]) == "basepicturestiny".utf8.count)
        #expect(!FileManager.default.fileExists(atPath: kept.path))
    }

    private func importNamed(_ name: String, _ text: String, into store: AdapterStore) throws -> Digest {
        let content = [Array(text.utf8)]
        var card = BaseCard.dit
        card.name = name
        try store.importBase(FileContent(content, digest: Digest(of: content)), card: Data(try sortedJSON(card).utf8))
        return Digest(of: content)
    }

    @Test func anImportRenamesNothingAndTakesNoOthersName() throws {
        let store = try AdapterStore.create(at: temporary.path)
        let first = try importNamed("first", "1", into: store)
        #expect(throws: StoreError.baseNamed("first", digest: first, wanted: "other")) { try importNamed("other", "1", into: store) }
        #expect(throws: StoreError.baseNameTaken(name: "first", digest: first)) { try importNamed("first", "2", into: store) }
        #expect(code { _ = try importNamed("Not a name", "2", into: store) } == 2)
        #expect(try store.listBases().map(\.decodedCard?.name) == ["first"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/bases").count == 1)
        #expect(try importNamed("first", "1", into: store) == first)
    }

    @Test func aBaseIsFoundByItsNameAndTakesAnother() throws {
        let store = try AdapterStore.create(at: temporary.path)
        #expect(throws: StoreError.noBase(path: temporary.path)) { try store.base(nil as String?) }
        let first = try importNamed("first", "1", into: store)
        #expect(try store.base(nil as String?).digest == first)
        #expect(try store.base("first").digest == first)
        let second = try importNamed("second", "2", into: store), generation = try store.generation()
        #expect(code { _ = try store.base(nil as String?) } == 2)
        #expect(code { _ = try store.base("third") } == 4)
        #expect(throws: StoreError.baseNameTaken(name: "first", digest: first)) { try store.renameBase(second, to: "first") }
        for bad in ["", "base", "../x", "Upper", String(repeating: "a", count: 65)] { #expect(code { try store.renameBase(second, to: bad) } == 2) }
        #expect(try store.generation() == generation)
        try store.renameBase(second, to: "third")
        #expect(try store.base("third").digest == second)
        #expect(try store.base(String(second.description.prefix(8))).digest == second)
        #expect(code { _ = try store.base("second") } == 4)
        #expect(try store.generation() == generation + 1)
    }

    @Test func whoNeedsABaseIsNamedInFull() throws {
        let store = try temporary.create()
        for number in 0..<12 { _ = try store.add(number, as: "a\(number)") }
        _ = try store.add(3, as: "alias")
        let refusal = #expect(throws: StoreError.self) { try store.removeBase(Samples.base.digest) }
        #expect(refusal?.exitCode == 5)
        #expect(refusal?.description.contains("3 more") == true)
        #expect(try store.base(Samples.base.digest).size == Samples.baseFile.count)
    }

    /// Law 3: whoever has the file mapped or open goes on with it.
    @Test func aRemovedBaseStaysWithWhoHasIt() throws {
        let store = try temporary.create()
        let file = try MappedFile(path: store.base(Samples.base.digest).path)
        #expect(try store.removeBase(Samples.base.digest) == Samples.baseFile.count)
        #expect(file.bytes(0..<file.count) == Array(Samples.baseFile))
    }

    @Test func bytesOfAnotherDigestLeaveNothing() throws {
        let store = try AdapterStore.create(at: temporary.path)
        let content = [Array("a".utf8)]
        #expect(code { try store.importBase(FileContent(content, digest: Samples.base.digest), card: Data()) } == 6)
        let sound = FileContent(content, digest: Digest(of: content))
        #expect(code { try store.importBase(sound, vae: FileContent(content, digest: Samples.base.digest), card: Data()) } == 6)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/bases").isEmpty)
        #expect(try store.listBases().isEmpty)
    }
}
