import AdapterFormat
import AdapterStore
import Foundation
import Testing
import storehammer

struct DamageTests {
    let temporary = try! TemporaryStore()
    var dataFile: URL { URL(filePath: temporary.path + "/data.mdb") }

    /// Fills a store, closes it and gives its data file without the sparse tail.
    func filled() throws -> [UInt8] {
        let store = try temporary.create()
        for number in 0..<6 { _ = try store.add(number, as: "n\(number)") }
        try store.remove("n5")
        let used = try store.statistics().usedBytes
        return Array(try Data(contentsOf: dataFile).prefix(used))
    }

    @Test func aTruncatedFileIsRefusedWithASentence() throws {
        let data = try filled()
        for size in [0, 1, 100, 4096, 4196, 8192, data.count / 2, data.count - 1] {
            try Data(data.prefix(size)).write(to: dataFile)
            let error = #expect(throws: StoreError.self) { try temporary.open() }
            #expect(error?.exitCode == 6, "\(size) bytes: \(String(describing: error))")
        }
        try Data(data).write(to: dataFile)
        #expect(try temporary.open().verifySamples().damaged.isEmpty)
    }

    @Test func aFileOfAnotherKindIsRefused() throws {
        _ = try filled()
        for content in [Data(repeating: 0, count: 65536), Data(repeating: 0xFF, count: 65536), Data("hello".utf8)] {
            try content.write(to: dataFile)
            #expect(throws: StoreError.self) { try temporary.open() }
        }
    }

    /// Flipped bits anywhere in the file never crash the process and never give other values or a name that never was.
    @Test func flippedBitsNeverGiveWrongData() throws {
        let data = try filled()
        let known = Dictionary(uniqueKeysWithValues: (0..<7).map { (Samples.adapter($0).digest, Samples.adapter($0)) })
        var generator = Generator(7)
        let heads = (0..<2).flatMap { page in (0..<152).map { 4096 * page + $0 } }
        let treeBytes = stride(from: 8192, to: data.count, by: 4096).flatMap { page in (0..<40).map { page + $0 } }
        let chosen =
            heads.filter { _ in Int.random(in: 0..<3, using: &generator) == 0 }
            + (0..<250).map { _ in treeBytes.randomElement(using: &generator)! }
            + (0..<250).map { _ in Int.random(in: 8192..<data.count, using: &generator) }
        var noticed = 0
        for position in chosen {
            var bad = data
            bad[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            try Data(bad).write(to: dataFile)
            do {
                let store = try temporary.open()
                for entry in try store.list(includingUnnamed: true) {
                    let adapter = try store.load(entry.digest, over: Samples.base)
                    #expect(adapter == known[entry.digest], "byte \(position)")
                    if let name = entry.name { #expect(known[entry.digest] == Samples.adapter(Int(name.dropFirst())!), "byte \(position)") }
                }
                if try !store.verifySamples().damaged.isEmpty { noticed += 1 }
                _ = try store.add(6, as: "n6")
            } catch is StoreError {
                noticed += 1
            }
        }
        #expect(noticed > chosen.count / 10, "most pages of the file are free ones")
    }

    @Test func verifyNamesTheDamagedAdapterAndAddingItAgainRepairsIt() throws {
        var data = try filled()
        let victim = Samples.adapter(2)
        // A frame starts with "DFAB", holds its digest at 48 and its payload from 208; freed pages hold older copies.
        for start in data.indices where start + 240 < data.count && data[start] == UInt8(ascii: "D") {
            guard Array(data[start..<(start + 4)]) == Array("DFAB".utf8), Array(data[(start + 48)..<(start + 80)]) == victim.digest.bytes
            else { continue }
            data[start + 238] ^= 0x40
        }
        try Data(data).write(to: dataFile)
        let store = try temporary.open()
        #expect(try store.verifySamples().damaged.map(\.subject) == [.adapter(victim.digest)])
        #expect(throws: StoreError.self) { try store.load(victim.digest, over: Samples.base) }
        #expect(try store.load(Samples.adapter(3).digest, over: Samples.base) == Samples.adapter(3))
        let partly = try store.verify { _ in nil }
        #expect(partly.damaged.map(\.subject) == [.adapter(victim.digest)])
        #expect(try store.add(2, as: "n2") == .replaced(victim.digest))
        #expect(try store.load(victim.digest, over: Samples.base) == victim)
        #expect(try store.verifySamples().damaged.isEmpty)
    }

    /// A name and a manifest have no frame around them; their checksums notice what still reads well.
    @Test(arguments: [("n4", "n5"), ("{\"number\": 3}", "{\"number\": 8}")])
    func aForgedNameOrManifestIsNoticed(old: String, new: String) throws {
        var data = Data(try filled())
        var start = data.startIndex
        var count = 0
        while let found = data.range(of: Data(old.utf8), in: start..<data.endIndex) {
            data.replaceSubrange(found, with: Data(new.utf8))
            start = found.upperBound
            count += 1
        }
        #expect(count > 0)
        try data.write(to: dataFile)
        let store = try temporary.open()
        #expect(try store.verifySamples().damaged.count == 1)
        #expect(throws: StoreError.self) { try store.list() }
        if new == "n5" {
            #expect(try store.remove("n5") == nil)
        } else {
            #expect(try store.add(3, as: "n3") == .replaced(Samples.adapter(3).digest))
        }
        #expect(try store.verifySamples().damaged.isEmpty, "repaired")
    }

    @Test func networkFileSystemsAreKnownByTheirMagic() {
        // Numbers of statfs(2).
        let kinds: [UInt32: String] = [0x6969: "NFS", 0x517B: "SMB", 0xFF53_4D42: "CIFS", 0xFE53_4D42: "SMB2", 0x6573_5546: "FUSE"]
        for (magic, kind) in kinds { #expect(FileCalls.networkKind(magic: magic) == kind) }
        for local: UInt32 in [0xEF53, 0x0102_1994, 0x9123_683E, 0x5846_5342, 0x794C_7630, 0x2FC1_2FC1] {
            #expect(FileCalls.networkKind(magic: local) == nil)
        }
    }
}
