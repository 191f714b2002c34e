import AdapterFormat
import Foundation
import ProgramRunner
import TensorFiles
import Testing

@Suite(.serialized, .heavy) struct BaseCommandTests {
    private static func container(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/containers/\(name)").path
    }

    private func data(_ text: String) throws -> [String: Any] {
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        return try #require(object["data"] as? [String: Any])
    }

    @Test func aPublishedCheckpointIsImportedShownAndExported() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let refused = try program.run("base", "import", Self.container("dit.pt"))
        #expect(refused.code == 7)
        #expect(refused.errors.contains("give --heads"))
        let first = try data(program.run("base", "import", Self.container("dit-train.pt"), "--heads", "2", "--name", "tiny", "--json").out)
        #expect(first["section"] as? String == "ema")
        #expect(first["name"] as? String == "tiny")
        #expect(first["autoencoder"] == nil)
        // The folder holds the same values and more besides; the name that was given stays.
        let second = try data(program.run("base", "import", Self.container("diffusers"), "--json").out)
        #expect(second["digest"] as? String == first["digest"] as? String)
        #expect(second["name"] as? String == "tiny")
        // The checkpoint again forgets nothing of it.
        #expect(try program.run("base", "import", Self.container("dit.pt"), "--heads", "2").code == 0)
        let shown = try program.run("base", "show", "--load")
        for line in ["latents      scaled by 0.18215", "autoencoder  ", "loaded in", "kB of its own"] { #expect(shown.out.contains(line), "\(shown.out)") }
        let card = try #require(try data(program.run("base", "show", "--json").out)["card"] as? [String: Any])
        #expect(card["class_names"] as? [String] == ["tench, Tinca tinca", "crane", "crane, machine"])
        #expect(try program.run("verify").code == 0)

        let folder = program.folder + "/exported"
        #expect(try program.run("base", "export", "--format", "diffusers", "-o", folder).code == 0)
        #expect(try program.run("base", "export", "--format", "diffusers", "-o", folder).code == 12)
        let again = try data(program.run("base", "import", folder, "--json").out)
        #expect(again["digest"] as? String == first["digest"] as? String)
        #expect(again["autoencoder"] as? String == second["autoencoder"] as? String)
        #expect(try program.run("base", "export", "--format", "gguf", "-o", folder).code == 2)
        #expect(try program.run("add", "flowers", Self.container("port.pt")).code == 0)
        #expect(try program.run("add", "flowers", Self.container("port.safetensors")).out.contains("nothing to do"))
    }

    /// A base cut short on the disk is mended by importing it again, and forgets nothing of its card.
    @Test func aMendedBaseKeepsItsNameAndAutoencoder() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let whole = try data(program.run("base", "import", Program.golden("dit-tiny"), "--vae", Program.golden("vae-small"), "--name", "mine", "--json").out)
        let digest = try #require(whole["digest"] as? String)
        let place = "\(program.folder)/store/bases/\(digest).safetensors"
        try FileManager.default.removeItem(atPath: place)
        try Data("cut".utf8).write(to: URL(filePath: place))
        let broken = try program.run("verify")
        #expect(broken.code == 6, "\(broken)")
        #expect(broken.out.contains("base \(digest): damaged"), "\(broken)")
        let mended = try data(program.run("base", "import", Program.golden("dit-tiny"), "--json").out)
        #expect(mended["name"] as? String == "mine")
        #expect(mended["autoencoder"] as? String == whole["autoencoder"] as? String)
        #expect(try program.run("verify").code == 0)
    }

    @Test(arguments: [
        ["--width", "30", "--heads", "3"], ["--patch", "0"], ["--depth=-1"], ["--size", "100000"], ["--width", "0"], ["--heads", "400"], ["--size", "30"],
    ])
    func aNetworkThatCannotBeIsRefusedAtOnce(options: [String]) throws {
        let program = try Program()
        defer { program.remove() }
        let result = try program.run(["base", "train", "--data", "synthetic:flowers", "-o", program.folder + "/b.safetensors"] + options)
        #expect(result.code == 2, "\(result)")
        #expect(result.errors.contains("--size"), "\(result)")
    }

    @Test func aRoundedBaseIsAnotherThatKnowsItsOriginal() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let whole = try data(program.run("base", "import", Self.container("diffusers"), "--json").out)
        let rounded = try data(program.run("base", "import", Self.container("diffusers"), "--precision", "bf16", "--name", "small", "--json").out)
        #expect(rounded["rounded_from"] as? String == whole["digest"] as? String)
        #expect(rounded["digest"] as? String != whole["digest"] as? String)
        let bytes = try data(program.run("base", "show", "small", "--json").out)["matrix_bytes"] as? [String: Int]
        #expect(bytes?.keys.sorted() == ["BF16"])
        #expect(try program.run("base", "import", Self.container("diffusers"), "--precision", "int4").code == 2)
        // An exported adapter names its base; the rounded one takes it all the same.
        let adapter = program.folder + "/flowers.safetensors"
        #expect(try program.run("add", "flowers", Self.container("port.pt"), "--base", "diffusers").code == 0)
        #expect(try program.run("export", "flowers", "-o", adapter).code == 0)
        #expect(try program.run("add", "flowers16", adapter, "--base", "small").code == 0)
    }

    /// What no picture can be made with is refused before anything is stored.
    @Test func anAutoencoderThatDoesNotFitIsRefused() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let vae = Program.golden("vae-small")
        let file = try TensorFile(path: vae)
        let lacking = program.folder + "/lacking.safetensors"
        try SafetensorsWriter.write(
            try file.entries.filter { $0.name != "decoder.conv_out.bias" }.map { OutgoingTensor($0.name, shape: $0.shape, try file.floats($0.name)) },
            metadata: file.metadata, to: lacking)
        let broken = try program.run("base", "import", Self.container("dit.pt"), "--heads", "2", "--vae", lacking)
        #expect(broken.code == 7, "\(broken.errors)")
        #expect(broken.errors.contains("decoder.conv_out.bias"), "\(broken.errors)")
        let pixels = try program.run("base", "import", Program.golden("dit-pixel"), "--vae", vae)
        #expect(pixels.code == 2, "\(pixels.errors)")
        #expect(pixels.errors.contains("has latents of 4 channels, the base 3"), "\(pixels.errors)")
        #expect(try program.run("base", "list").out.isEmpty || !program.run("base", "list").out.contains("dit"))
        #expect(try program.run("base", "import", Self.container("dit.pt"), "--heads", "2", "--vae", vae).code == 0)
    }

    /// Twice the largest tensor, above the mapped file, is what an import may take: measured by a limit on the program's own memory.
    @Test func anImportTakesLittleMoreMemoryThanNothing() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let configuration = DiTConfiguration(
            inputSize: 8, patchSize: 2, inChannels: 4, hiddenSize: 384, depth: 6, numHeads: 6, numClasses: 10, learnSigma: true)
        let layout = TunableLayout(configuration)
        let large = program.folder + "/large.safetensors"
        let classes = ClassTable(names: (0..<10).map(String.init), values: [Float](repeating: 0.5, count: 11 * 384))
        let shapes = Dictionary(uniqueKeysWithValues: configuration.frozenTensors.map { ($0.name, $0.count) })
        try BaseFile.write(to: large, configuration, card: .dit, vector: .neutral(layout), classes: classes, as: .f16) {
            [Float](repeating: 0.25, count: shapes[$0] ?? 0)
        }
        let largest = 4 * (shapes.values.max() ?? 0), total = 4 * shapes.values.reduce(0, +)
        let small = Self.container("dit.safetensors")
        let step = 4 << 20
        let need = try #require(try (1..<100).first { try program.run(["base", "import", small], memory: $0 * step).code == 0 }) * step
        #expect(total > need + 2 * largest, "the whole of it would not fit")
        let result = try program.run(["base", "import", large, "--name", "large"], memory: need + 2 * largest)
        #expect(result.code == 0, "\(result.errors)")
    }
}
