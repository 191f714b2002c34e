import Foundation
import ProgramRunner
import TensorFiles
import Testing

/// Every verb meets adapters with low-rank pairs, and of a resolution of their own, as well as plain ones.
@Suite(.serialized, .heavy) struct KindsTests {
    private let program: Program

    /// A store with `plain`, `wide` (32 pixels over a base of 16), `lora` and `other` with pairs of one shape, and `pairs` of another.
    init() throws {
        program = try Program()
        #expect(try program.run("init").code == 0)
        #expect(try program.run("base", "import", Program.golden("dit-pixel")).code == 0)
        let small = ["--data", "synthetic:flowers", "--steps", "2", "--batch", "4", "--per-class", "2", "--samples-every", "0", "--add"]
        for (name, options) in [
            ("plain", []), ("wide", ["--resolution", "32", "--position-scale", "2"]), ("lora", ["--method", "lora", "--rank", "2"]),
            ("other", ["--method", "lora", "--rank", "2", "--seed", "2"]), ("pairs", ["--method", "lora", "--rank", "3"]),
        ] {
            let result = try program.run(["train", name, "-o", "\(program.folder)/\(name).safetensors"] + small + options)
            #expect(result.code == 0, "\(result.errors)")
        }
    }

    private func expect(_ code: Int32, _ sentence: String?, _ arguments: String...) throws {
        let result = try program.run(arguments)
        #expect(result.code == code, "\(arguments): \(result)")
        #expect(sentence.map((result.out + result.errors).contains) ?? true, "\(arguments): \(result)")
    }

    @Test func whatIsMadeOfThemKeepsItsResolutionAndItsRecordedCall() throws {
        defer { program.remove() }
        try expect(0, nil, "compose", "half", "0.5*wide")
        try expect(0, nil, "sparsify", "wide", "--sparsity", "0.5", "--as", "thin")
        try expect(0, nil, "merge", "both", "wide=1", "half=2")
        try expect(0, "\"resolution\":32", "show", "both", "--json")
        try expect(0, nil, "sparsify", "lora", "--sparsity", "0.5", "--as", "thin-lora")
        try expect(0, "sound", "verify", "--golden")
        // Rounded values have no recorded call of their own, and get one when they come back.
        for name in ["both", "lora"] {
            try expect(0, nil, "export", name, "--bf16", "-o", "\(program.folder)/rounded-\(name).safetensors")
            try expect(0, nil, "add", "rounded-\(name)", "\(program.folder)/rounded-\(name).safetensors")
        }
        try expect(0, "sound", "verify", "--golden")
        let folder = program.folder + "/shared"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try FileManager.default.moveItem(atPath: "\(program.folder)/wide.safetensors", toPath: folder + "/copy-of-wide.safetensors")
        try expect(0, "added", "sync", folder)
    }

    /// Two adapters with one class name, as every morph of a domain to its own pruned form has.
    @Test func aMorphKnowsWhichRoseIsMeant() throws {
        defer { program.remove() }
        try expect(0, nil, "sparsify", "plain", "--sparsity", "0.5", "--as", "thin")
        try expect(0, nil, "sample", "--morph", "plain..thin", "--frames", "3", "--n", "1", "--steps", "1", "-o", program.folder + "/m.png")
        try expect(
            0, nil, "sample", "--morph", "plain..thin", "--class", "rose..rose", "--frames", "3", "--n", "1", "--steps", "1", "-o", program.folder + "/n.png")
    }

    @Test func pairsAreNeitherLostNorMistaken() throws {
        defer { program.remove() }
        try expect(2, "holds low-rank pairs", "merge", "m", "lora=1", "other=1")
        try expect(2, "holds low-rank pairs", "merge", "m", "plain=1", "lora=1")
        try expect(2, "different resolutions", "merge", "m", "plain=1", "wide=1")
        try expect(2, "different ranks, layers or scale", "diff", "lora", "pairs")
        for sides in [["lora", "other"], ["lora", "base"]] {
            let rows = try #require(try JSONSerialization.jsonObject(with: Data(program.run(["diff"] + sides + ["--json"]).out.utf8)) as? [String: Any])
            let total = try #require((rows["data"] as? [String: Any])?["total"] as? [String: Any])
            #expect(try #require(total["distance"] as? Double) > 0.01, "\(sides)")
        }
    }

    /// One digest has one error, wherever the adapter lies.
    @Test func aFileIsMeasuredAtItsResolution() throws {
        defer { program.remove() }
        let result = try program.run(
            ["eval", "wide", "--adapter-file", program.folder + "/wide.safetensors", "--data", "synthetic:flowers", "--n", "0", "--held-out", "4", "--json"])
        let data = try #require((try JSONSerialization.jsonObject(with: Data(result.out.utf8)) as? [String: Any])?["data"] as? [String: Any], "\(result)")
        let subjects = try #require((data["groups"] as? [[String: Any]])?.first?["subjects"] as? [[String: Any]])
        let errors = subjects.compactMap { (($0["held_out"] as? [String: Any])?["mean"] as? [String: Double])?["value"] }
        try #require(errors.count == 2)
        #expect(errors[0] == errors[1])
    }

    @Test func refusalsHaveTheirCodes() throws {
        defer { program.remove() }
        let nowhere = program.folder + "/nowhere/x"
        try expect(4, "no folder", "export", "plain", "-o", nowhere + ".safetensors")
        try expect(4, "no folder", "sample", "plain", "--n", "1", "--steps", "1", "-o", nowhere + ".png")
        try expect(4, "calibrate", "sample", "plain", "--n", "1", "--cache", "balanced", "-o", program.folder + "/x.png")
        try expect(
            5, "is taken by", "train", "plain", "--data", "synthetic:birds", "-o", program.folder + "/p.safetensors", "--add", "--steps", "1", "--batch", "1",
            "--per-class", "1")
        try expect(
            5, "is taken by", "train", "fresh", "plain", "--data", "synthetic:birds", "-o", program.folder + "/{}-new.safetensors", "--add", "--steps", "1",
            "--batch", "1", "--per-class", "1")
        #expect(!FileManager.default.fileExists(atPath: program.folder + "/fresh-new.run"))
        try expect(
            2, "auto, f32, bf16, not", "base", "train", "--data", "synthetic:birds", "--per-class", "1", "--steps", "1", "--batch", "1", "--precision", "int8",
            "-o",
            program.folder + "/b.safetensors")
        try expect(2, "without --socket", "sample", "plain", "--socket", nowhere, "--precision", "int8", "-o", program.folder + "/x.png")
        try expect(2, "is a folder", "train", "new", "--data", "synthetic:birds", "-o", program.folder)
        try expect(4, "no folder", "merge", "merged", "plain=1", "-o", nowhere)
        try expect(4, nil, "show", "merged")
        try expect(2, "of --method lora", "train", "new", "--data", "synthetic:birds", "-o", program.folder + "/p.safetensors", "--rank", "2")
        try expect(2, "of a morph", "sample", "plain", "--frames", "3", "-o", program.folder + "/x.png")
        try expect(2, "leave base out", "sheet", "--cross", "0,1", "--domains", "base,plain", "-o", program.folder + "/x.png")
        try expect(2, "a sheet is made of every step", "sheet", "--cache", "balanced", "-o", program.folder + "/x.png")
    }

    /// What full training cannot write into a base is refused, and what it moves is written.
    @Test func fullTrainingMakesAWholeBase() throws {
        defer { program.remove() }
        let file = program.folder + "/full.safetensors"
        let full = [
            "train", "full", "--data", "synthetic:flowers", "-o", file, "--method", "full", "--steps", "2", "--batch", "4", "--per-class", "2",
            "--samples-every", "0",
        ]
        for (sentence, options) in [
            ("the result of --method full is a base", ["--add"]), ("whose positions are as they are", ["--position-scale", "2"]),
            ("auto, f32, bf16, not", ["--precision", "int8"]),
        ] {
            let result = try program.run(full + options)
            #expect(result.code == 2, "\(result)")
            #expect(result.errors.contains(sentence), "\(result)")
        }
        #expect(try program.run(full + ["--gamma-depth", "2"]).code == 0)
        let written = try TensorFile(path: file)
        #expect(written["blocks.0.gamma1"] != nil)
        #expect(written["blocks.1.attn.gamma1"] != nil)
        #expect(written["blocks.2.gamma1"] == nil)
    }
}
