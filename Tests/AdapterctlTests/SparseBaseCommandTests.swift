import AdapterFormat
import Foundation
import ProgramRunner
import TensorFiles
import Testing

/// A sparse base from the command line: made, shown, exported, recovered, and used.
@Suite(.serialized, .heavy) struct SparseBaseCommandTests {
    private func data(_ result: (code: Int32, out: String, errors: String)) throws -> [String: Any] {
        try #require(result.code == 0, "\(result)")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(result.out.utf8)) as? [String: Any])
        return try #require(object["data"] as? [String: Any])
    }

    @Test func aBaseIsSparsifiedRecoveredAndSampled() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        #expect(try program.run("base", "import", Program.golden("dit-tiny"), "--name", "tiny").code == 0)
        #expect(try program.run("add", "flowers", Program.golden("difffit-tiny-adapter")).code == 0)
        let few = ["--images", "4", "--steps", "2"]
        let file = program.folder + "/tiny-24.safetensors"
        let made = try data(program.run(["base", "sparsify", "tiny", "--pattern", "2:4", "-o", file, "--add", "--json"] + few))
        #expect(made["name"] as? String == "tiny-24")
        let lost = try #require(made["mean_layer_error"] as? Double)
        #expect(lost > 0 && lost < 1)
        // The same again is the same, also from the store's base under another verb.
        let again = try data(program.run(["base", "sparsify", "tiny", "--pattern", "2:4", "--add", "--json"] + few))
        #expect(again["digest"] as? String == made["digest"] as? String)
        let magnitude = try data(
            program.run("base", "sparsify", "tiny", "--pattern", "2:4", "--saliency", "magnitude", "--name", "plain-24", "--add", "--json"))
        #expect(magnitude["digest"] as? String != made["digest"] as? String)
        #expect(magnitude["mean_layer_error"] == nil)

        let shown = try program.run("base", "show", "tiny-24", "--load")
        #expect(shown.out.contains("2:4 by second-order of the base \(made["dense"] as? String ?? "?")"), "\(shown)")
        #expect(shown.out.contains("packed"), "\(shown)")
        #expect(try program.run("base", "list").out.contains("2:4"))
        let bytes = try ["tiny", "tiny-24"].map { try data(program.run("base", "show", $0, "--json"))["file_bytes"] as? Int ?? 0 }
        #expect(Double(bytes[1]) < 0.8 * Double(bytes[0]))
        #expect(try program.run("verify").code == 0)

        // Both exports come back as the same base.
        for format in ["original", "sparse-24-bitmask"] {
            let path = "\(program.folder)/\(format).safetensors"
            #expect(try program.run("base", "export", "tiny-24", "--format", format, "-o", path).code == 0)
            #expect(try BaseFile(path: path).digest.description == made["digest"] as? String, "\(format)")
        }
        #expect(try program.run("base", "export", "tiny", "--format", "sparse-24-bitmask", "-o", program.folder + "/x.safetensors").code == 2)

        // An adapter of the dense base is refused until it is taken over.
        let adapter = program.folder + "/flowers.safetensors", recovery = program.folder + "/recovery.safetensors"
        #expect(try program.run("export", "flowers", "-o", adapter).code == 0)
        let refused = try program.run("add", "flowers-24", adapter, "--base", "tiny-24")
        #expect(refused.code == 7)
        #expect(refused.errors.contains("adapterctl distill recovery"), "\(refused)")
        let elsewhere = try program.run("sample", "flowers", "--base", "tiny-24", "-o", program.folder + "/y.png")
        #expect(elsewhere.code == 7, "\(elsewhere)")
        #expect(elsewhere.errors.contains("adapterctl recover"), "\(elsewhere)")
        let learned = try program.run(
            "distill", "recovery", "flowers", "--base", "tiny-24", "-o", recovery, "--add", "--train-steps", "3", "--batch", "2", "--sampling-steps", "4",
            "--validate-every", "100")
        #expect(learned.code == 0, "\(learned)")
        let listed = try program.run("list")
        #expect(listed.out.contains("recovery"), "\(listed)")
        #expect(try program.run("show", "recovery").out.contains("the dense base \(made["dense"] as? String ?? "?")"))
        let over = try data(program.run("recover", "flowers", "--through", "recovery", "--name", "flowers-24", "--json"))
        #expect((over["parents"] as? [String])?.count == 2)
        #expect(try program.run("show", "flowers-24").out.contains("of its sparse base is in its values"))
        let sampled = try program.run("sample", "flowers-24", "--steps", "2", "-o", program.folder + "/picture.png", "--precision", "bf16")
        #expect(sampled.code == 0 || sampled.errors.contains("latents"), "\(sampled)")
        #expect(try program.run("verify", "--golden").code == 0)
        // What would count the recovery twice is not made.
        let twice = try program.run("compose", "both", "flowers-24+recovery")
        #expect(twice.code == 2, "\(twice)")
        #expect(twice.errors.contains("it is to be there once"), "\(twice)")
    }

    @Test(arguments: [
        (["--pattern", "1:4"], "--pattern takes 2:4"), (["--pattern", "4:2"], "N:M"), (["--pattern", "half"], "N:M"),
        (["--pattern", "2:4", "--saliency", "luck"], "second-order"), (["--pattern", "2:4", "--images", "0"], "--images"),
    ])
    func whatCannotBeAskedIsNamed(options: [String], sentence: String) throws {
        let program = try Program()
        defer { program.remove() }
        let result = try program.run(["base", "sparsify", Program.golden("dit-tiny"), "-o", program.folder + "/b.safetensors"] + options)
        #expect(result.code == 2, "\(result)")
        #expect(result.errors.contains(sentence), "\(result)")
    }

    /// Trained from a base file: the straight-through way.
    @Test func aBaseIsTrainedSparse() throws {
        let program = try Program()
        defer { program.remove() }
        let base = program.folder + "/base.safetensors", sparse = program.folder + "/sparse.safetensors"
        let small = ["--data", "synthetic:flowers", "--per-class", "2", "--steps", "2", "--batch", "4"]
        let made = try program.run(["base", "train", "--size", "8", "--width", "16", "--depth", "2", "--heads", "2", "-o", base] + small)
        #expect(made.code == 0, "\(made)")
        let trained = try program.run(["base", "train", "--from", base, "--pattern", "2:4", "--name", "small-24", "-o", sparse] + small)
        #expect(trained.code == 0, "\(trained)")
        let file = try BaseFile(path: sparse)
        #expect(file.card.sparsity?.dense == (try BaseFile(path: base)).digest)
        #expect(file.card.sparsity?.saliency == "straight-through")
        let other = try program.run([
            "base", "train", "--from", base, "--pattern", "2:4", "-o", program.folder + "/y.safetensors", "--data", "synthetic:cars", "--steps", "1",
            "--per-class", "2",
        ])
        #expect(other.code == 7, "\(other)")
        #expect(try program.run(["base", "train", "--from", base, "--pattern", "2:4", "-o", base] + small).code == 2)
    }
}
