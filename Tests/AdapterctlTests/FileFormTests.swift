import AdapterFormat
import Foundation
import TensorFiles
import Testing

/// Other people's files through the program: what is said, what is asked for, and what comes out.
@Suite(.serialized) struct FileFormTests {
    private static let goldens = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens").path

    private func program() throws -> Program {
        let program = try Program()
        try program.run("init")
        #expect(try program.run("base", "import", Self.goldens + "/containers/diffusers").code == 0)
        return program
    }

    @Test func loraAdaptersGoInAndOut() throws {
        let program = try program()
        defer { program.remove() }
        #expect(try program.run("add", "pets", Self.goldens + "/lora/peft").code == 0)
        #expect(try program.run("add", "pets", Self.goldens + "/lora/kohya.safetensors").out.contains("nothing to do"))
        #expect(try program.run("show", "pets").out.contains("lora, rank 2 to 3 in 8 layers, scales 1.6666666 to 3.5"))
        let asked = try program.run("add", "old", Self.goldens + "/lora/processor.safetensors")
        #expect(asked.code == 7)
        #expect(asked.errors.contains("--lora-alpha"))
        #expect(asked.errors.contains("--lora-scale"))
        #expect(try program.run("add", "old", Self.goldens + "/lora/processor.safetensors", "--lora-alpha", "5").code == 0)
        for format in ["peft", "diffusers"] {
            let folder = "\(program.folder)/\(format)"
            #expect(try program.run("export", "pets", "--format", format, "-o", folder).code == 0)
            #expect(try program.run("add", "pets", folder).out.contains("nothing to do"), "\(format)")
            #expect(try program.run("export", "pets", "--format", format, "-o", folder).code == 12)
        }
        #expect(try program.run("export", "pets", "--format", "gguf", "-o", program.folder + "/x").code == 2)
    }

    /// `forward --adapter-file` reads by the same path, and gives what the library computed.
    @Test func forwardComputesWhatTheLibraryDoes() throws {
        let program = try Program()
        defer { program.remove() }
        let recorded = Self.goldens + "/lora/forward.safetensors", out = program.folder + "/out.safetensors"
        for name in ["peft-bias", "diffusers"] {
            let run = try program.run(
                "forward", "--base-file", Self.goldens + "/containers/diffusers", "--preset", "diffusers", "--adapter-file", "\(Self.goldens)/lora/\(name)",
                "--input", recorded, "--output", out)
            #expect(run.code == 0, "\(run.errors)")
            let own = try TensorFile(path: out).floats("out"), truth = try TensorFile(path: recorded).floats("out.\(name)")
            let error = zip(own, truth).reduce(0) { $0 + pow(Double($1.0 - $1.1), 2) }.squareRoot() / truth.reduce(0) { $0 + pow(Double($1), 2) }.squareRoot()
            #expect(error < 1e-5, "\(name): \(error)")
        }
    }

    /// A base without a null row: imported by its classes, guided by none, and trained only without dropping labels.
    @Test func aBaseWithoutANullRowIsUsedForWhatItCan() throws {
        let program = try Program()
        defer { program.remove() }
        let file = try TensorFile(path: Program.golden("dit-pixel")), path = program.folder + "/five.safetensors"
        let tensors = try file.entries.map { entry in
            let values = try file.floats(entry.name)
            guard entry.name == TunableLayout.classTableName else { return OutgoingTensor(entry.name, shape: entry.shape, values) }
            return OutgoingTensor(entry.name, shape: [5, 48], Array(values.dropLast(48)))
        }
        try SafetensorsWriter.write(tensors, to: path)
        try program.run("init")
        let imported = try program.run("base", "import", path, "--heads", "3", "--classes", "5")
        #expect(imported.code == 0, "\(imported)")
        #expect(imported.out.contains("5 classes without a null class"), "\(imported)")
        #expect(try program.run("base", "show").out.contains("5 classes, no null class"))
        let guided = try program.run("sample", "base", "--class", "1", "--steps", "2", "-o", program.folder + "/a.png")
        #expect(guided.code == 2, "\(guided)")
        #expect(guided.errors.contains("ask for guidance none"), "\(guided)")
        let plain = try program.run("sample", "base", "--class", "1", "--steps", "2", "--guidance", "none", "-o", program.folder + "/a.png")
        #expect(plain.code == 0, "\(plain.errors)")
        let train = [
            "train", "x", "--data", "synthetic:flowers", "--steps", "1", "--batch", "2", "--samples-every", "0", "-o", program.folder + "/x.safetensors",
        ]
        let refused = try program.run(train)
        #expect(refused.code == 2, "\(refused)")
        #expect(refused.errors.contains("--label-dropout 0"), "\(refused)")
        #expect(try program.run(train + ["--label-dropout", "0"]).code == 0)
        #expect(try program.run("add", "x", program.folder + "/x.safetensors").code == 0)
        #expect(try program.run("sample", "x", "--steps", "2", "-o", program.folder + "/a.png").code == 2)
    }

    @Test func whatAFileIsIsSaidWithItsSection() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        #expect(try program.run("base", "import", Self.goldens + "/containers/dit-train.pt", "--heads", "2").out.contains("from 'ema'"))
        #expect(try program.run("add", "x", Self.goldens + "/containers/port.pt").out.contains("from 'ema'"))
        let pointer = program.folder + "/lfs.pt"
        try Data("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n".utf8).write(to: URL(filePath: pointer))
        let said = try program.run("base", "import", pointer)
        #expect(said.code == 6)
        #expect(said.errors.contains("git lfs pull"))
    }

    /// A list of jobs as an editor on another system leaves it.
    @Test func jobsWithAByteOrderMarkAndTheirLineEndsAreRead() throws {
        let program = try program()
        defer { program.remove() }
        let jobs = program.folder + "/jobs.jsonl"
        try (Data([0xef, 0xbb, 0xbf]) + Data("{\"name\":\"a\",\"data\":\"synthetic:nothing\",\"output\":\"a.safetensors\"}\r\n{\"nam\":1}\r\n".utf8)).write(
            to: URL(filePath: jobs))
        let said = try program.run("train", "--jobs", jobs)
        #expect(said.code == 2, "\(said.errors)")
        #expect(said.errors.contains("line 2 of '\(jobs)': 'nam' is none of"), "\(said.errors)")
    }
}
