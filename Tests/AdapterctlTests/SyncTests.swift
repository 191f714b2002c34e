import Foundation
import ProgramRunner
import TensorFiles
import Testing

/// `sync`: a folder that others write into, and a store that takes in what is whole and new.
@Suite(.serialized, .heavy) struct SyncTests {
    private let program: Program
    private let folder: String

    init() throws {
        program = try Program()
        folder = program.folder + "/shared"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        #expect(try program.run("init").code == 0)
        #expect(try program.run("base", "import", Program.golden("dit-tiny")).code == 0)
    }

    /// The recorded adapter, or one that differs from it by a bit of its last values.
    private func adapter(_ variant: UInt8) throws -> Data {
        var data = try Data(contentsOf: URL(filePath: Program.golden("difffit-tiny-adapter")))
        data[data.count - 4] ^= variant
        return data
    }

    private func put(_ name: String, _ data: Data, secondsAgo: Double = 60) throws {
        try data.write(to: URL(filePath: folder + "/" + name))
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSinceNow: -secondsAgo)], ofItemAtPath: folder + "/" + name)
    }

    /// Name -> outcome, with the exit code.
    private func sync(_ arguments: String...) throws -> (code: Int32, outcomes: [String: String], text: String) {
        let result = try program.run(["sync", folder, "--json"] + arguments)
        let object = try JSONSerialization.jsonObject(with: Data(result.out.utf8)) as? [String: Any]
        let rows = try #require(object?["data"] as? [[String: Any]], "\(result.out) \(result.errors)")
        let pairs = rows.map { ($0["file"] as? String ?? "?", $0["outcome"] as? String ?? "?") }
        return (result.code, Dictionary(pairs) { first, _ in first }, result.out)
    }

    @Test func newFilesComeInOnceByTheirContent() throws {
        defer { program.remove() }
        try put("flowers.safetensors", adapter(0))
        try put("birds.safetensors", adapter(1))
        try put(".birds.safetensors.1.partial", Data("half".utf8))
        try put("notes.txt", Data("mine".utf8))
        let first = try sync()
        #expect(first.code == 0, "\(first.text)")
        #expect(first.outcomes == ["flowers.safetensors": "added", "birds.safetensors": "added"], "\(first.text)")
        let second = try sync()
        #expect(second.code == 0)
        #expect(Set(second.outcomes.values) == ["unchanged"])
        #expect(try program.run("sync", folder).out == "2 unchanged\n")
        #expect(try program.run("verify", "--golden").code == 0)
        // The same bytes under another name are another name for one content.
        try put("garden.safetensors", adapter(0))
        #expect(try sync().outcomes["garden.safetensors"] == "added")
        #expect(try program.run("status").out.contains("3 names for 2 adapters"))
        // What goes from the folder stays in the store.
        try FileManager.default.removeItem(atPath: folder + "/birds.safetensors")
        #expect(try sync().code == 0)
        #expect(try program.run("show", "birds").code == 0)
    }

    /// A LoRA adapter is a folder; other folders are nobody's adapters.
    @Test func foldersOfPairsComeInByTheirName() throws {
        defer { program.remove() }
        let pets = folder + "/pets"
        for path in [pets, folder + "/photos"] { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        let layer = "base_model.model.blocks.1.attn.proj.lora_"
        let tensors = [
            OutgoingTensor(layer + "A.weight", shape: [2, 64], [Float](repeating: 0.1, count: 128)),
            OutgoingTensor(layer + "B.weight", shape: [64, 2], [Float](repeating: 0.2, count: 128)),
        ]
        try put("pets/adapter_model.safetensors", SafetensorsWriter.encoded(tensors))
        #expect(try sync().outcomes == ["pets": "refused"])
        try put("pets/adapter_config.json", Data(#"{"peft_type": "LORA", "r": 2, "lora_alpha": 3}"#.utf8))
        let taken = try sync()
        #expect(taken.code == 0, "\(taken.text)")
        #expect(taken.outcomes == ["pets": "added"], "\(taken.text)")
        #expect(try program.run("show", "pets").out.contains("rank 2 in 1 layer, scale 1.5"))
        #expect(try sync().outcomes == ["pets": "unchanged"])
    }

    @Test func otherContentNeedsReplace() throws {
        defer { program.remove() }
        try put("flowers.safetensors", adapter(0))
        #expect(try sync().code == 0)
        try put("flowers.safetensors", adapter(1))
        try put("birds.safetensors", adapter(2))
        let refused = try sync()
        #expect(refused.code == 3)
        #expect(refused.outcomes == ["flowers.safetensors": "conflict", "birds.safetensors": "added"])
        #expect(refused.text.contains("--replace"))
        let replaced = try sync("--replace")
        #expect(replaced.code == 0)
        #expect(replaced.outcomes["flowers.safetensors"] == "replaced")
        #expect(try sync().code == 0)
    }

    /// What does not say its base stops no other, and a base that was rounded takes its source's adapters.
    @Test func everyBaseFindsItsFiles() throws {
        defer { program.remove() }
        try put("foreign.safetensors", adapter(0))
        #expect(try sync().code == 0)
        #expect(try program.run("base", "import", Program.golden("dit-pixel")).code == 0)
        try put("other.safetensors", adapter(1))
        #expect(try program.run("export", "foreign", "-o", folder + "/stated.safetensors").code == 0)
        let mixed = try sync()
        #expect(mixed.code == 3)
        #expect(mixed.outcomes["other.safetensors"] == "refused")
        #expect(mixed.outcomes["stated.safetensors"] == "added")
        #expect(mixed.text.contains("choose one with --base"))
        #expect(try program.run("sync", folder, "--base", "nobody").code == 4)
        #expect(try program.run("base", "export", "dit-tiny", "--format", "original", "-o", folder + "/whole.safetensors").code == 0)
        #expect(try sync().outcomes["whole.safetensors"] == "passed")
        let rounded = program.folder + "/rounded"
        #expect(try program.run("init", "--store", rounded).code == 0)
        #expect(try program.run("base", "import", Program.golden("dit-tiny"), "--precision", "bf16", "--store", rounded).code == 0)
        #expect(try sync("--store", rounded).outcomes["stated.safetensors"] == "added")
    }

    @Test func aFileThatIsNotWholeIsNeverTaken() throws {
        defer { program.remove() }
        let whole = try adapter(0)
        // A copy on its way: at every length but the last it is refused by name and number.
        for length in [0, 7, 100, whole.count / 2, whole.count - 1] {
            try put("flowers.safetensors", whole.prefix(length))
            let result = try sync()
            #expect(result.code == 3, "\(length) bytes: \(result.text)")
            #expect(result.outcomes["flowers.safetensors"] == "refused", "\(length) bytes: \(result.text)")
        }
        // Of full length, with the rest still to come: known by the digest that exported files carry.
        try put("flowers.safetensors", whole)
        #expect(try sync().code == 0)
        #expect(try program.run("export", "flowers", "-o", program.folder + "/exported.safetensors").code == 0)
        let exported = try Data(contentsOf: URL(filePath: program.folder + "/exported.safetensors"))
        try FileManager.default.removeItem(atPath: folder + "/flowers.safetensors")
        try put("later.safetensors", exported.dropLast(64) + Data(count: 64), secondsAgo: 0)
        let half = try sync()
        #expect(half.code == 3, "\(half.text)")
        #expect(half.outcomes["later.safetensors"] == "refused", "\(half.text)")
        #expect(half.text.contains("damaged"), "\(half.text)")
        try put("later.safetensors", exported, secondsAgo: 0)
        #expect(try sync().outcomes["later.safetensors"] == "added")
        // Without a digest, time has to show it.
        try put("foreign.safetensors", adapter(3), secondsAgo: 0)
        #expect(try sync().outcomes["foreign.safetensors"] == "unsettled")
        try put("foreign.safetensors", adapter(3))
        #expect(try sync().code == 0)
    }

    @Test func whatCannotBeTakenIsNamedAndStopsNothing() throws {
        defer { program.remove() }
        try put("Bad Name.safetensors", adapter(0))
        try put("base.safetensors", Data(contentsOf: URL(filePath: Program.golden("dit-tiny"))))
        try put("junk.safetensors", Data("not an adapter".utf8))
        try put("good.safetensors", adapter(1))
        try FileManager.default.createSymbolicLink(atPath: folder + "/link.safetensors", withDestinationPath: Program.golden("difffit-tiny-adapter"))
        let result = try sync()
        #expect(result.code == 3)
        #expect(
            result.outcomes == [
                "Bad Name.safetensors": "refused", "base.safetensors": "passed", "junk.safetensors": "refused", "good.safetensors": "added",
                "link.safetensors": "refused",
            ], "\(result.text)")
        #expect(result.text.contains("is a link"))
        #expect(result.text.contains("Bad Name"))

        // Another base: the base is named.
        let other = try Program()
        defer { other.remove() }
        #expect(try program.run("export", "good", "-o", folder + "/good.safetensors").code == 0)
        #expect(try other.run("init").code == 0)
        #expect(try other.run("base", "import", Program.golden("dit-pixel")).code == 0)
        let mismatch = try other.run("sync", folder)
        let base = try #require(try program.run("base", "list").out.split(separator: "\n").last?.split(separator: " ")[1])
        #expect(mismatch.code == 3, "\(mismatch.out)")
        #expect(mismatch.out.contains("good.safetensors: The base \(base)"), "\(mismatch.out)")
        #expect(try other.run("sync", folder + "/none").code == 4)
    }

    /// Started together over many files: both end well, and together they did each once.
    @Test func twoAtOnceWork() throws {
        defer { program.remove() }
        for number in 0..<12 { try put("domain-\(number).safetensors", adapter(UInt8(number))) }
        let started = try (0..<2).map { _ in try program.start(["sync", folder, "--json"]) }
        let results = started.map { $0.end() }
        #expect(results.map(\.code) == [0, 0], "\(results.map(\.errors))")
        let added = results.map { $0.out.components(separatedBy: #""outcome":"added""#).count - 1 }
        #expect(added.reduce(0, +) == 12, "\(added)")
        #expect(try program.run("verify").code == 0)
        #expect(try program.run("status").out.contains("12 names for 12 adapters"))
    }

    @Test func everySecondsItLooksAgain() throws {
        defer { program.remove() }
        #expect(try program.run("sync", folder, "--every", "0").code == 2)
        try put("flowers.safetensors", adapter(0))
        let watching = try program.start(["sync", folder, "--every", "1"])
        // It looks every second until it is told to stop, so what it has not seen yet it sees later.
        while try program.run("show", "flowers").code != 0, watching.isRunning {}
        try put("birds.safetensors", adapter(1))
        while try program.run("show", "birds").code != 0, watching.isRunning {}
        #expect(watching.isRunning)
        watching.interrupt()
        let ended = watching.end()
        #expect(ended.code == 0, "\(ended.out)")
        #expect(ended.out.split(separator: "\n").count == 2, "\(ended.out)")
    }
}
