import AdapterFormat
import Foundation
import ImageFiles
import ProgramRunner
import TensorFiles
import Testing

/// A base's second decoder on the command line: what is imported, chosen and refused.
@Suite(.serialized, .heavy) struct DecoderTests {
    private let base = Program.golden("dit-tiny"), full = Program.golden("vae-small"), tiny = Program.golden("vae-tiny-4")

    private func data(_ text: String) throws -> [String: Any] {
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        return try #require(object["data"] as? [String: Any])
    }

    private func sample(_ program: Program, _ name: String, _ more: [String] = []) throws -> Data {
        let path = "\(program.folder)/\(name).png"
        let ended = try program.run(["sample", "base", "--class", "1", "--n", "1", "--steps", "2", "-o", path] + more)
        #expect(ended.code == 0, "\(ended.errors)")
        return try Data(contentsOf: URL(filePath: path))
    }

    private func said(_ picture: Data) throws -> [String: Any] {
        let text = try #require(textOfPNG(picture, key: "difffit"))
        return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func aTinyAutoencoderIsASecondDecoderOfABase() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let first = try data(program.run("base", "import", base, "--vae", full, "--name", "one", "--json").out)
        let before = try data(program.run("base", "show", "--json").out)
        #expect(before["decoders"] as? [String] == ["full"])
        #expect((before["card"] as? [String: Any])?["tiny_vae"] == nil)
        let usual = try sample(program, "usual")
        let none = try program.run("sample", "base", "--class", "1", "--n", "1", "--steps", "2", "--decoder", "tiny", "-o", program.folder + "/none.png")
        #expect(none.code == 4, "\(none)")
        #expect(none.errors.contains("this base has no decoder 'tiny', only 'full'"), "\(none.errors)")
        #expect(!FileManager.default.fileExists(atPath: program.folder + "/none.png"))

        // The base again, with a second decoder: nothing else of it changes.
        let second = try data(program.run("base", "import", base, "--tiny-vae", tiny, "--json").out)
        #expect(second["digest"] as? String == first["digest"] as? String)
        #expect(second["name"] as? String == "one")
        #expect(second["autoencoder"] as? String == first["autoencoder"] as? String)
        #expect(second["tiny_autoencoder"] != nil)
        let shown = try program.run("base", "show").out
        #expect(shown.contains("decoders          full, tiny (previews)"), "\(shown)")
        #expect(shown.contains("scaled by 0.18215"), "\(shown)")
        #expect(try data(program.run("base", "show", "--json").out)["decoders"] as? [String] == ["full", "tiny"])
        #expect(try sample(program, "still") == usual)
        #expect(try sample(program, "full", ["--decoder", "full"]) == usual)
        #expect(try said(usual)["decoder"] == nil)
        let quick = try sample(program, "tiny", ["--decoder", "tiny"])
        #expect(try RGBImage(quick, named: "tiny").pixels != RGBImage(usual, named: "usual").pixels)
        #expect(try said(quick)["decoder"] as? String == "tiny")
        // A given tiny one stands alone; it is the same file.
        #expect(try sample(program, "given", ["--vae", tiny]) == quick)
        for (words, code) in [(["--decoder", "small"], 2), (["--vae", full, "--decoder", "tiny"], 0), (["--vae", tiny, "--decoder", "full"], 4)] {
            let ended = try program.run(["sample", "base", "--class", "1", "--n", "1", "--steps", "1", "-o", program.folder + "/x.png"] + words)
            #expect(ended.code == code, "\(words): \(ended.errors)")
        }
        let pointless = try program.run("sample", "base", "--n", "1", "--steps", "1", "--decoder", "tiny", "--latents", program.folder + "/l.safetensors")
        #expect(pointless.code == 2, "\(pointless)")
        let sheet = ["sheet", "--domains", "base", "--classes", "1", "--per-class", "1", "--steps", "2", "-o"]
        for kind in ["full", "tiny"] { #expect(try program.run(sheet + ["\(program.folder)/\(kind)-sheet.png", "--decoder", kind]).code == 0) }
        let sheets = try ["full", "tiny"].map { try Data(contentsOf: URL(filePath: "\(program.folder)/\($0)-sheet.png")) }
        #expect(sheets[0] != sheets[1])

        #expect(try program.run("verify").code == 0)
        let folder = program.folder + "/exported"
        #expect(try program.run("base", "export", "--format", "diffusers", "-o", folder).code == 0)
        let again = try data(program.run("base", "import", folder, "--json").out)
        #expect(again["tiny_autoencoder"] as? String == second["tiny_autoencoder"] as? String)
    }

    @Test func aTinyAutoencoderAloneIsTheDecoder() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let imported = try data(program.run("base", "import", base, "--vae", tiny, "--json").out)
        #expect(imported["autoencoder"] == nil)
        #expect(imported["tiny_autoencoder"] != nil)
        let shown = try program.run("base", "show").out
        #expect(shown.contains("decoders          tiny\n"), "\(shown)")
        #expect(shown.contains("scaled by 1.0"), "\(shown)")
        let picture = try sample(program, "usual")
        #expect(try said(picture)["decoder"] as? String == "tiny")
        #expect(try sample(program, "tiny", ["--decoder", "tiny"]) == picture)
        // The full one joins it, and its scale is the latents'.
        #expect(try program.run("base", "import", base, "--vae", full).code == 0)
        let joined = try program.run("base", "show").out
        #expect(joined.contains("full, tiny (previews)"), "\(joined)")
        #expect(joined.contains("scaled by 0.18215"), "\(joined)")
    }

    @Test func whatIsNoTinyAutoencoderOfTheBaseIsRefused() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let file = try TensorFile(path: tiny)
        let lacking = program.folder + "/lacking.safetensors"
        try SafetensorsWriter.write(
            try file.entries.filter { $0.name != "decoder.layers.3.conv.2.bias" }.map { OutgoingTensor($0.name, shape: $0.shape, try file.floats($0.name)) },
            metadata: file.metadata, to: lacking)
        for (words, code, sentence) in [
            (["--tiny-vae", lacking], 7, "decoder.layers.3.conv.2.bias"),
            (["--tiny-vae", Program.golden("vae-tiny-16")], 2, "latents of 16 channels, the base 4"),
            (["--tiny-vae", full], 2, "holds an AutoencoderKL"), (["--vae", tiny, "--tiny-vae", tiny], 2, "holds an AutoencoderTiny too"),
            (["--tiny-vae", Program.golden("dit-pixel")], 7, "decoder.conv_in.weight"),
        ] {
            let ended = try program.run(["base", "import", base] + words)
            #expect(ended.code == code, "\(words): \(ended)")
            #expect(ended.errors.contains(sentence), "\(words): \(ended.errors)")
        }
        #expect(try !program.run("base", "list").out.contains("dit"))
        let pixels = try program.run("base", "import", Program.golden("dit-pixel"))
        #expect(pixels.code == 0)
        let none = try program.run("sample", "base", "--n", "1", "--steps", "1", "--decoder", "full", "-o", program.folder + "/x.png")
        #expect(none.code == 4, "\(none)")
        #expect(none.errors.contains("it makes pixels"), "\(none.errors)")
    }

    /// Latents of 16 channels with a shift, as SD3 and Flux have them, by both decoders.
    @Test func aBaseOfSixteenChannelsIsServed() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        let configuration = DiTConfiguration(
            inputSize: 4, patchSize: 2, inChannels: 16, hiddenSize: 16, depth: 1, numHeads: 2, numClasses: 2, learnSigma: false)
        let path = program.folder + "/sixteen.safetensors"
        let classes = ClassTable(names: ["a", "b"], values: (0..<48).map { Float($0) / 50 - 0.5 })
        let shapes = Dictionary(uniqueKeysWithValues: configuration.frozenTensors.map { ($0.name, $0.count) })
        try BaseFile.write(to: path, configuration, card: .dit, vector: .neutral(TunableLayout(configuration)), classes: classes, as: .f32) { name in
            (0..<(shapes[name] ?? 0)).map { Float(($0 * 7919) % 113) / 113 - 0.5 }
        }
        let imported = try program.run("base", "import", path, "--vae", Program.golden("vae-kl-16"), "--tiny-vae", Program.golden("vae-tiny-16"))
        #expect(imported.code == 0, "\(imported.errors)")
        #expect(try program.run("base", "show").out.contains("scaled by 1.5305"))
        let pictures = try ["full", "tiny"].map { try RGBImage(sample(program, $0, ["--decoder", $0]), named: $0) }
        #expect(pictures.map(\.width) == [8, 8])
        #expect(pictures[0].pixels != pictures[1].pixels)
    }
}
