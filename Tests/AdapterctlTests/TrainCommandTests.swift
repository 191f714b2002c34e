import Foundation
import ProgramRunner
import TensorFiles
import Testing

/// Training as a user starts it, on the recorded pixel model and a few drawn pictures.
@Suite(.serialized, .heavy) struct TrainCommandTests {
    private static let mpirun = ["/usr/bin/mpirun", "/usr/local/bin/mpirun"].first { FileManager.default.isExecutableFile(atPath: $0) }
    private let small = ["--steps", "3", "--batch", "8", "--per-class", "2", "--samples-every", "0"]

    private func train(_ program: Program, _ arguments: [String], under launcher: [String] = []) throws -> (code: Int32, out: String, errors: String) {
        try program.run(["train", "--base-file", Program.golden("dit-pixel")] + small + arguments, under: launcher)
    }

    @Test func severalAdaptersOverOneBase() throws {
        let program = try Program()
        defer { program.remove() }
        let result = try train(
            program, ["flowers", "birds", "--data", "synthetic:{}", "-o", program.folder + "/{}.safetensors", "--validation", "0.5", "--validate-every", "1", "--json"])
        #expect(result.code == 0, "\(result.errors)")
        for name in ["flowers", "birds"] {
            #expect(result.out.contains("\"name\":\"\(name)\""))
            for file in ["\(name).safetensors", "\(name).run/config.json", "\(name).run/loss.csv", "\(name).run/loss.png", "\(name).run/best.safetensors", "\(name).run/last.safetensors"] {
                #expect(FileManager.default.fileExists(atPath: program.folder + "/" + file), "\(file)")
            }
        }
        // Resumed, what is there already stays.
        let again = try train(program, ["flowers", "birds", "--data", "synthetic:{}", "-o", program.folder + "/{}.safetensors", "--resume"])
        #expect(again.code == 0 && again.errors.contains("flowers is done"))
    }

    @Test func everyMethodTrainsAndItsResultIsTakenIn() throws {
        let program = try Program()
        defer { program.remove() }
        #expect(try program.run(["init"]).code == 0)
        #expect(try program.run(["base", "import", Program.golden("dit-pixel")]).code == 0)
        for arguments in [["bitfit"], ["difffit-a", "--gamma-depth", "2"], ["lora", "--rank", "2", "--alpha", "4", "--targets", "all"], ["difffit", "--resolution", "32", "--position-scale", "2"]] {
            let path = program.folder + "/x.safetensors"
            let result = try train(program, ["x", "--data", "synthetic:flowers", "-o", path, "--method"] + arguments)
            #expect(result.code == 0, "\(result.errors)")
            #expect(try program.run(["add", "x", path, "--replace"]).code == 0)
            #expect(try program.run(["verify", "--golden"]).code == 0)
        }
        let shown = try program.run(["show", "x", "--json"])
        #expect(shown.out.contains("\"resolution\":32") && shown.out.contains("\"position_scale\":2"))
        let full = try train(program, ["x", "--data", "synthetic:flowers", "-o", program.folder + "/full.safetensors", "--method", "full"])
        #expect(full.code == 0, "\(full.errors)")
        #expect(try TensorFile(path: program.folder + "/full.safetensors")["blocks.0.attn.qkv.weight"] != nil)
    }

    /// Two rounds of two sites, each over files alone: pictures of its own, the merged adapter of the round before.
    @Test func sitesGoOnFromTheirMergedAdapter() throws {
        let program = try Program()
        defer { program.remove() }
        #expect(try program.run(["init"]).code == 0)
        #expect(try program.run(["base", "import", Program.golden("dit-pixel")]).code == 0)
        let merged = program.folder + "/merged.safetensors"
        for round in 1...2 {
            let files = (1...2).map { program.folder + "/site-\($0).safetensors" }
            for (site, file) in files.enumerated() {
                let pictures = program.folder + "/pictures-\(site)"
                #expect(try program.run(["draw", "flowers", "--folder", pictures, "--per-class", "3", "--size", "16", "--seed", "\(site)"]).code == 0)
                let result = try train(program, ["site", "--data", pictures, "-o", file] + (round == 1 ? [] : ["--from", merged]))
                #expect(result.code == 0, "\(result.errors)")
            }
            let result = try program.run(["merge", "round-\(round)", files[0] + "=6", files[1] + "=2", "-o", merged])
            #expect(result.code == 0, "\(result.errors)")
        }
        let parents = try program.run(["show", "round-2", "--json"]).out
        #expect(parents.contains("\"parents\""))
        let other = try train(program, ["x", "--data", "synthetic:flowers", "-o", program.folder + "/x.safetensors", "--from", merged, "--method", "bitfit"])
        #expect(other.code == 7 && other.errors.contains("moves another set"), "\(other.errors)")
        #expect(try program.run(["draw", "flowers"]).errors.contains("-o FILE or --folder"))
    }

    @Test(arguments: [
        (["x"], "--data"), (["x", "y", "--data", "synthetic:flowers", "-o", "a"], "{}"), (["x", "--data", "synthetic:flowers", "-o", "a", "--method", "magic"], "lora"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--method", "lora", "--targets", "some"], "qkv or all"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--early-stop", "2"], "--validation"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--early-stop", "2", "--validation", "0.5", "--sparsity", "0.5"], "give one of them"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--ema-decay=-3"], "--ema-decay"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--learning-rate", "inf"], "--learning-rate"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--batch", "5000000000", "--accumulate", "5000000000"], "16777216"),
        (["x", "--jobs", "jobs.jsonl"], "give no names"),
        (["x", "y", "--data", "synthetic:flowers", "-o", "{}", "--run-folder", "shared"], "--run-folder needs {}"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--token-cut", "half"], "route:SHARE"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--resolution", "18"], "patch size 4"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--loss-weight", "p2"], "p2"),
    ])
    func wrongUsageIsAnsweredWithWhatWouldBeRight(arguments: [String], wanted: String) throws {
        let program = try Program()
        defer { program.remove() }
        let result = try train(program, arguments)
        #expect(result.code == 2 && result.errors.contains(wanted), "\(result.code): \(result.errors)")
    }

    /// A job is looked through before the first of them is trained.
    @Test(arguments: [
        (#"{"name":"x","data":"synthetic:flowers","output":"x","stepz":1}"#, 2, "'stepz' is none of"),
        (#"{"name":"x","data":"synthetic:flowers","output":"x","learning_rate":-5}"#, 2, "above 0"),
        (#"{"name":"x","data":"synthetic:flowers","output":"x","method":"magic"}"#, 2, "no method 'magic'"),
        (#"{"name":"x","data":"nowhere","output":"x"}"#, 4, "no folder 'nowhere'"), (#"{"name":"x","data":"synthetic:flowrs","output":"x"}"#, 4, "flowrs"),
        (#"{"name":"x","data":"synthetic:flowers","output":"/"}"#, 2, "is a folder"), (#"{"name":"x"}"#, 2, "is no job"),
    ])
    func aWrongJobIsFoundBeforeTheFirstIsTrained(line: String, code: Int32, wanted: String) throws {
        let program = try Program()
        defer { program.remove() }
        let first = #"{"name":"first","data":"synthetic:flowers","output":"\#(program.folder)/first.safetensors"}"#
        try "\(first)\n\(line)\n".write(toFile: program.folder + "/jobs.jsonl", atomically: true, encoding: .utf8)
        let result = try train(program, ["--jobs", program.folder + "/jobs.jsonl"])
        #expect(result.code == code && result.errors.contains(wanted), "\(result.code): \(result.errors)")
        #expect(!FileManager.default.fileExists(atPath: program.folder + "/first.run"))
    }

    /// Two and four processes do what one does with as many shards, to the last bit.
    @Test(.enabled(if: mpirun != nil, "Open MPI's mpirun is not installed"), arguments: [2, 4])
    func processesAgreeWithOne(count: Int) throws {
        let program = try Program()
        defer { program.remove() }
        let launcher = [try #require(Self.mpirun), "--allow-run-as-root", "--oversubscribe", "-n", String(count)]
        func digest(_ name: String, under launcher: [String]) throws -> String {
            let path = "\(program.folder)/\(name).safetensors"
            let result = try train(
                program, ["x", "--data", "synthetic:flowers", "-o", path, "--shards", "4", "--batch", "64", "--validation", "0.5", "--validate-every", "2", "--json"],
                under: launcher)
            #expect(result.code == 0, "\(result.errors)")
            return String(try #require(result.out.split(separator: "\"digest\":\"").last).prefix(64))
        }
        let alone = try digest("alone", under: [])
        #expect(alone.count == 64)
        #expect(try digest("together", under: launcher) == alone)
    }
}
