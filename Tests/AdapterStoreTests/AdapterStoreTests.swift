import AdapterFormat
import AdapterStore
import Foundation
import Testing
import storehammer

struct AdapterStoreTests {
    let temporary = try! TemporaryStore()

    func error(_ body: () throws -> Void) -> StoreError? {
        do { try body() } catch { return error as? StoreError }
        return nil
    }

    @Test func anAdapterComesBackBitEqualAfterReopening() throws {
        let numbers = 0..<8
        do {
            let store = try temporary.create()
            for number in numbers { #expect(try store.add(number, as: "a\(number)") == .added) }
        }
        let store = try temporary.open()
        for number in numbers {
            let entry = try store.lookup("a\(number)")
            let adapter = try store.load(entry.digest, over: Samples.base)
            #expect(adapter == Samples.adapter(number))
            #expect(bits(adapter) == bits(Samples.adapter(number)))
            #expect(entry.classCount == number % 4)
            #expect(entry.manifest == adapter.manifest)
            #expect(entry.baseDigest == Samples.base.digest)
            #expect(entry.layoutDigest == Samples.layout.digest)
        }
    }

    /// Law 4: identity is the content digest; names are movable labels.
    @Test func identityIsTheDigest() throws {
        let store = try temporary.create()
        let (first, second) = (Samples.adapter(1).digest, Samples.adapter(2).digest)
        #expect(try store.add(1, as: "x") == .added)
        #expect(try store.add(1, as: "y") == .added)
        #expect(try store.statistics().adapters == 1)
        #expect(try store.names(of: first) == ["x", "y"])
        #expect(try store.add(1, as: "x") == .unchanged)
        #expect(error { _ = try store.add(2, as: "x") } == .nameTaken(name: "x", digest: first))
        #expect(try store.lookup("x").digest == first)
        #expect(try store.add(2, as: "x", replace: true) == .replaced(first))
        #expect(try store.lookup("x").digest == second)
        // The old content is still reached by what names it exactly.
        #expect(try store.lookup("x@\(first)").digest == first)
        #expect(try store.lookup("x@\(first)").name == "x")
        #expect(try store.lookup(first.description).digest == first)
        #expect(try store.lookup(String(first.description.prefix(8))).digest == first)
    }

    @Test func contentThatIsNotItsDigestIsRefused() throws {
        let store = try temporary.create()
        let right = Samples.adapter(1)
        let wrong = StoredAdapter(
            digest: Samples.adapter(2).digest, manifest: right.manifest, baseDigest: right.baseDigest, vector: right.vector,
            classes: right.classes)
        #expect(error { _ = try store.add(wrong, as: "x", over: Samples.base) }?.exitCode == 6)
        #expect(try store.list().isEmpty)
    }

    /// Law 8: a name is never a path.
    @Test func namesOutsideTheGrammarNeverReachTheFileSystem() throws {
        let store = try temporary.create()
        _ = try store.add(1, as: "ok")
        func files() -> Set<String> { Set(FileManager.default.subpaths(atPath: temporary.folder) ?? []) }
        let before = files()
        let generation = try store.generation()
        let bad = [
            "", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0b", "\0", "ü", "a\u{301}", "A", "-a", ".a", "_a", "a b", "base", "a:b",
            "a%2fb", String(repeating: "a", count: 65), "bases/../../x", "ok\n", "ok@", "@", "ok@..", "a@b@c",
        ]
        for name in bad {
            #expect(error { _ = try store.add(2, as: name) } == .badName(name))
            #expect(error { try store.rename("ok", to: name) } == .badName(name))
            // Where a name is near one that is there, that one is told.
            for code in [error { try store.remove(name) }?.exitCode, error { _ = try store.lookup(name) }?.exitCode] {
                #expect(code == 2 || code == 4, "\(name.debugDescription)")
            }
        }
        #expect(files() == before)
        #expect(try store.generation() == generation)
        for good in ["a", "0", "a..b", "a._-9", String(repeating: "a", count: 64), "base2", "con", "nul"] {
            #expect(try store.add(2, as: good) == .added)
            #expect(try store.lookup(good).name == good)
        }
        #expect(files() == before)
    }

    @Test func aMissingNameComesWithTheNearestOnes() throws {
        let store = try temporary.create()
        for name in ["flowers", "flower", "birds", "cars"] { _ = try store.add(1, as: name) }
        #expect(error { _ = try store.lookup("flowres") } == .notFound(reference: "flowres", nearest: ["flower", "flowers"]))
        #expect(error { _ = try store.lookup("bird") } == .notFound(reference: "bird", nearest: ["birds"]))
        #expect(error { try store.remove("zzzzzzzzz") } == .notFound(reference: "zzzzzzzzz", nearest: []))
        #expect(error { _ = try store.load(Samples.adapter(5).digest, over: Samples.base) }?.exitCode == 4)
    }

    @Test func aPrefixMustBeUnique() throws {
        let store = try temporary.create()
        var options = TemporaryStore.options
        options.contentDigest = nil
        let free = try temporary.open(options)
        let adapter = Samples.adapter(1)
        for (index, tail) in ["00", "01", "ff"].enumerated() {
            let digest = Digest(hex: "abcd" + String(repeating: "7", count: 58) + tail)!
            let twin = StoredAdapter(
                digest: digest, manifest: adapter.manifest, baseDigest: adapter.baseDigest, vector: adapter.vector,
                classes: adapter.classes)
            _ = try free.add(twin, as: "twin\(index)", over: Samples.base)
        }
        guard case .ambiguous("abcd", let matches)? = error({ _ = try store.lookup("abcd") }) else {
            Issue.record("an ambiguous prefix was accepted")
            return
        }
        try #require(matches.count == 3)
        #expect(matches[0].hasSuffix("twin0"))
        #expect(error { _ = try store.lookup("abc") } == .notFound(reference: "abc", nearest: []))
        let odd = "abcd" + String(repeating: "7", count: 58) + "f"
        #expect(try store.lookup(odd).digest.description == odd + "f")
        #expect(try store.lookup("any@" + odd.uppercased()).digest.description == odd + "f")
        // A name wins over a prefix.
        _ = try store.add(1, as: "abcd")
        #expect(try store.lookup("abcd").digest == adapter.digest)
    }

    @Test func removeRenamePrune() throws {
        let store = try temporary.create()
        for number in 0..<3 { _ = try store.add(number, as: "n\(number)") }
        try store.rename("n0", to: "m")
        #expect(error { try store.rename("m", to: "n1") }?.exitCode == 5)
        #expect(error { try store.rename("n0", to: "q") }?.exitCode == 4)
        try store.rename("m", to: "m")
        #expect(try store.list().map(\.name) == ["m", "n1", "n2"])
        let digest = Samples.adapter(1).digest
        #expect(try store.remove("n1") == digest)
        #expect(try store.list().map(\.name) == ["m", "n2"])
        #expect(try store.list(includingUnnamed: true).last?.digest == digest)
        #expect(try store.load(digest, over: Samples.base) == Samples.adapter(1))
        let promise = try store.prune(dryRun: true)
        #expect(promise.adapters == [digest])
        #expect(promise.bytes > 200)
        #expect(try store.lookup(digest.description).digest == digest)
        #expect(try store.prune() == promise)
        #expect(error { _ = try store.lookup(digest.description) }?.exitCode == 4)
        #expect(try store.prune().adapters.isEmpty)
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    @Test func theGenerationRisesWithEachChangeAndOnlyThen() throws {
        let store = try temporary.create()
        var last = try store.generation()
        func change(_ rises: Bool, _ body: () throws -> Void) throws {
            try body()
            let now = try store.generation()
            #expect(rises ? now == last + 1 : now == last)
            last = now
        }
        try change(true) { _ = try store.add(1, as: "a") }
        try change(false) { _ = try store.add(1, as: "a") }
        try change(true) { _ = try store.add(2, as: "a", replace: true) }
        try change(false) { _ = try store.list(includingUnnamed: true) }
        try change(true) { _ = try store.prune() }
        try change(false) { _ = try store.prune() }
        try change(true) { try store.rename("a", to: "b") }
        try change(true) { try store.remove("b") }
        try change(false) { try store.importBase(from: temporary.folder + "/base", card: Data("{}".utf8)) }
        try change(true) { try store.importBase(from: temporary.folder + "/base", card: Data("{\"a\":1}".utf8)) }
    }

    @Test func twoHandlesShareOneEnvironment() throws {
        let one = try temporary.create()
        var two: AdapterStore? = try temporary.open()
        _ = try one.add(1, as: "a")
        #expect(try two?.lookup("a").digest == Samples.adapter(1).digest)
        two = nil
        #expect(try one.lookup("a").digest == Samples.adapter(1).digest)
    }

    @Test func creatingAndOpeningRefuse() throws {
        let path = temporary.path
        #expect(error { _ = try AdapterStore.open(at: path) } == .noStore(path: path))
        #expect(error { _ = try AdapterStore.create(at: temporary.folder) } == .folderInUse(path: temporary.folder))
        #expect(error { _ = try AdapterStore.create(at: "a\0b") }?.exitCode == 2)
        try Data("x".utf8).write(to: URL(filePath: path))
        #expect(error { _ = try AdapterStore.create(at: path) } == .pathTaken(path))
        // What is no store is not made one by init.
        #expect(error { _ = try AdapterStore.open(at: path) } == .notAFolder(path: path))
        #expect(error { _ = try AdapterStore.open(at: "/dev/null") } == .notAFolder(path: "/dev/null"))
        #expect(error { _ = try AdapterStore.open(at: temporary.folder) } == .otherFolder(path: temporary.folder, content: ["base", "base-0", "base-1"]))
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        _ = try AdapterStore.create(at: path + "/")
        #expect(error { _ = try AdapterStore.create(at: path) } == .storeExists(path: path))
        let files = try FileManager.default.contentsOfDirectory(atPath: temporary.folder)
        #expect(Set(files) == ["base", "base-0", "base-1", "base-2", "store"])
    }

    @Test func aReplacedStoreIsNoticed() throws {
        let old = try temporary.create()
        _ = try old.add(1, as: "a")
        try FileManager.default.removeItem(atPath: temporary.path)
        #expect(error { _ = try old.generation() } == .storeReplaced(path: temporary.path))
        let new = try temporary.create()
        #expect(error { _ = try old.generation() } == .storeReplaced(path: temporary.path))
        #expect(try new.list().isEmpty)
    }

    @Test func everyErrorHasASentenceAndACode() {
        let digest = Samples.base.digest
        let codes: [(StoreError, Int32)] = [
            (.system(path: "p", reason: "r"), 1), (.networkFileSystem(path: "p", kind: "NFS"), 1), (.storeReplaced(path: "p"), 1),
            (.memoryRefused(path: "p"), 1), (.severalBases(["a@1", "b@2"]), 2), (.noBase(path: "p"), 4),
            (.unknownBase(reference: "x", path: "p", nearest: []), 4),
            (.baseNameTaken(name: "x", digest: digest), 5), (.baseNamed("x", digest: digest, wanted: "y"), 5),
            (.badName("x"), 2), (.ambiguous(prefix: "abcd", matches: []), 2), (.folderInUse(path: "p"), 2),
            (.notFound(reference: "x", nearest: []), 4), (.baseNotFound(digest), 4),
            (.storeExists(path: "p"), 5), (.nameTaken(name: "x", digest: digest), 5), (.baseInUse(digest, adapters: []), 5),
            (.damaged(item: "x", reason: "y"), 6), (.digestMismatch(item: "x", expected: digest, found: digest), 6),
            (.incompatible("It does not fit."), 7), (.unknownFormat(path: "p", found: "9"), 7),
            (.noStore(path: "p"), 10), (.notAFolder(path: "p"), 10), (.otherFolder(path: "p", content: ["x"]), 10), (.locked(path: "p", process: 1), 11),
            (.permission(path: "p"), 12),
            (.diskFull(path: "p"), 13), (.mapFull(path: "p", bytes: 1), 13),
        ]
        for (error, code) in codes {
            #expect(error.exitCode == code)
            // A command at the end is there to be copied, and has no full stop.
            #expect(error.description.hasSuffix(".") || error.description.contains(": adapterctl "), "\(error)")
        }
        #expect(StoreError.locked(path: "p", process: 123).description.contains("locked by process 123"))
    }
}
