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
            program,
            ["flowers", "birds", "--data", "synthetic:{}", "-o", program.folder + "/{}.safetensors", "--validation", "0.5", "--validate-every", "1", "--json"])
        #expect(result.code == 0, "\(result.errors)")
        for name in ["flowers", "birds"] {
            #expect(result.out.contains("\"name\":\"\(name)\""))
            for file in [
                "\(name).safetensors", "\(name).run/config.json", "\(name).run/loss.csv", "\(name).run/loss.png", "\(name).run/best.safetensors",
                "\(name).run/last.safetensors",
            ] {
                #expect(FileManager.default.fileExists(atPath: program.folder + "/" + file), "\(file)")
            }
        }
        // Resumed, what is there already stays.
        let again = try train(program, ["flowers", "birds", "--data", "synthetic:{}", "-o", program.folder + "/{}.safetensors", "--resume"])
        #expect(again.code == 0)
        #expect(again.errors.contains("flowers is done"))
    }

    @Test func everyMethodTrainsAndItsResultIsTakenIn() throws {
        let program = try Program()
        defer { program.remove() }
        #expect(try program.run(["init"]).code == 0)
        #expect(try program.run(["base", "import", Program.golden("dit-pixel")]).code == 0)
        for arguments in [
            ["bitfit"], ["difffit-a", "--gamma-depth", "2"], ["lora", "--rank", "2", "--alpha", "4", "--targets", "all"],
            ["difffit", "--resolution", "32", "--position-scale", "2"],
        ] {
            let path = program.folder + "/x.safetensors"
            let result = try train(program, ["x", "--data", "synthetic:flowers", "-o", path, "--method"] + arguments)
            #expect(result.code == 0, "\(result.errors)")
            try follow(program, result.out)
            #expect(try program.run(["verify", "--golden"]).code == 0)
        }
        let shown = try program.run(["show", "x", "--json"])
        #expect(shown.out.contains("\"resolution\":32"))
        #expect(shown.out.contains("\"position_scale\":2"))
        let full = try train(program, ["x", "--data", "synthetic:flowers", "-o", program.folder + "/full.safetensors", "--method", "full"])
        #expect(full.code == 0, "\(full.errors)")
        #expect(try TensorFile(path: program.folder + "/full.safetensors")["blocks.0.attn.qkv.weight"] != nil)
        try follow(program, full.out)
        #expect(try program.run(["base", "list"]).out.split(separator: "\n").count == 3)
    }

    /// Types what the last line of a training says.
    private func follow(_ program: Program, _ out: String) throws {
        let line = try #require(out.split(separator: "\n").last { $0.hasPrefix("next: ") })
        for command in line.dropFirst("next: ".count).split(separator: " && ") {
            let words = command.split(separator: " ").map { $0.trimmingCharacters(in: ["'"]) }
            #expect(words.first == "adapterctl")
            let result = try program.run(Array(words.dropFirst()))
            #expect(result.code == 0, "\(command): \(result.errors)")
        }
    }

    /// From nothing: the next command makes the store, takes the base in and then the adapter, whose classes are as a user types them.
    @Test func theNextCommandLeadsFromNothingToAnAdapter() throws {
        let program = try Program()
        defer { program.remove() }
        let data = program.folder + "/data", one = program.folder + "/one"
        try #require(try program.run(["draw", "flowers", "--folder", one, "--per-class", "1", "--size", "16"]).code == 0)
        try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
        for (folder, bytes) in [("rose", Array("me\u{301}lisse".utf8)), ("tulip", Array("caf".utf8) + [0xe9])] {
            var name = Array((data + "/").utf8) + bytes
            name.append(0)
            #expect(name.withUnsafeBytes { rename("\(one)/\(folder)", $0.baseAddress!.assumingMemoryBound(to: CChar.self)) } == 0)
        }
        let result = try train(program, ["x", "--data", data, "-o", program.folder + "/new folder/x.safetensors"])
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.errors.contains("was read as Latin-1"), "\(result.errors)")
        #expect(result.errors.contains("a short run of 3 steps"), "\(result.errors)")
        #expect(result.out.contains("next: adapterctl init && adapterctl base import"))
        #expect(result.out.contains("&& adapterctl add x '\(program.folder)/new folder/x.safetensors'"))
        for words in [["init"], ["base", "import", Program.golden("dit-pixel")], ["add", "x", program.folder + "/new folder/x.safetensors"]] {
            #expect(try program.run(words).code == 0)
        }
        let shown = try program.run(["show", "x", "--json"]).out
        #expect(shown.contains("caf\u{e9}"))
        #expect(shown.contains("m\u{e9}lisse"))
    }

    /// A run's folder is gone on from, kept or refused, and nothing in it is lost.
    @Test func aRunsFolderIsGoneOnFromOrKept() throws {
        let program = try Program()
        defer { program.remove() }
        let run = ["x", "--data", "synthetic:flowers", "-o", program.folder + "/x.safetensors"]
        #expect(try train(program, run).code == 0)
        let more = try train(program, run + ["--resume", "--steps", "5"])
        #expect(more.code == 0, "\(more.errors)")
        #expect(more.errors.contains("going on at step 3 of 5"), "\(more.errors)")
        #expect(more.errors.contains("--steps was 3, is now 5"), "\(more.errors)")
        let other = try train(program, run + ["--resume", "--learning-rate", "0.5", "--batch", "4"])
        #expect(other.code == 2, "\(other.errors)")
        #expect(other.errors.contains("--batch was 8, is now 4; --learning-rate was 0.005, is now 0.5"), "\(other.errors)")
        let fewer = try train(program, run + ["--resume"])
        #expect(fewer.code == 2, "\(fewer.errors)")
        #expect(fewer.errors.contains("give --steps 5 or more, not 3"), "\(fewer.errors)")
        let again = try train(program, run)
        #expect(again.code == 0, "\(again.errors)")
        #expect(again.errors.contains("is kept in '\(program.folder)/x.run/earlier-1'"), "\(again.errors)")
        let rows = { (folder: String) in
            try String(contentsOfFile: program.folder + "/x.run/" + folder + "loss.csv", encoding: .utf8).split(separator: "\n").count
        }
        #expect(try rows("") == 4)
        #expect(try rows("earlier-1/") == 6)
        // Another one under way holds the folder.
        let lock = open(program.folder + "/x.run/lock", O_RDWR)
        defer { close(lock) }
        #expect(flock(lock, LOCK_EX | LOCK_NB) == 0)
        let held = try train(program, run)
        #expect(held.code == 11, "\(held.errors)")
        #expect(held.errors.contains("another training"), "\(held.errors)")
    }

    /// A disk that fills under a run costs it no step that was kept: with room again, it ends in the bytes of a run that was not stopped.
    @Test(.enabled(if: SmallDisk.isAllowed, "this user may not mount")) func aFullDiskKeepsTheState() throws {
        let program = try Program()
        defer { program.remove() }
        func run(_ name: String, _ more: String...) throws -> (code: Int32, out: String, errors: String) {
            try train(program, ["x", "--data", "synthetic:flowers", "-o", "\(program.folder)/\(name).safetensors", "--checkpoint-every", "1"] + more)
        }
        try #require(try run("whole").code == 0)
        let size = try #require(try FileManager.default.attributesOfItem(atPath: program.folder + "/whole.run/finished.safetensors")[.size] as? Int)
        // Room for one state, not for a second beside it.
        let disk = try SmallDisk(program.folder + "/disk", bytes: size * 3 / 2)
        let full = try run("full", "--run-folder", disk.path + "/run")
        #expect(full.code == 13, "\(full.errors)")
        #expect(full.errors.contains("No space left"), "\(full.errors)")
        #expect(full.errors.contains("its state at step 1 is kept"), "\(full.errors)")
        #expect(disk.grow(to: size * 8))
        let resumed = try run("full", "--run-folder", disk.path + "/run", "--resume")
        #expect(resumed.code == 0, "\(resumed.errors)")
        #expect(resumed.errors.contains("going on at step 1 of 3"), "\(resumed.errors)")
        #expect(
            try Data(contentsOf: URL(filePath: program.folder + "/full.safetensors")) == Data(contentsOf: URL(filePath: program.folder + "/whole.safetensors")))
    }

    /// On a terminal, what Ctrl-C brings stands on a line of its own behind the bar.
    @Test func theMessageOfCtrlCBeginsALine() throws {
        let program = try Program()
        defer { program.remove() }
        let terminal = """
            import os, pty, sys
            child, screen = pty.fork()
            if child == 0: os.execv(sys.argv[1], sys.argv[1:])
            seen, pressed = b"", False
            while True:
                try: part = os.read(screen, 4096)
                except OSError: break
                if not part: break
                seen += part
                if not pressed and b"loss" in seen: pressed = os.write(screen, b"\\x03") > 0
            sys.stdout.buffer.write(seen)
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            """
        let run = ["x", "--data", "synthetic:flowers", "-o", program.folder + "/x.safetensors", "--steps", "100000"]
        let result = try train(program, run, under: ["/usr/bin/env", "python3", "-c", terminal])
        #expect(result.code == 130, "\(result.out)")
        #expect(result.out.contains("^C\r\nerror: stopped at step"), "\(result.out)")
        let again = try train(program, run)
        #expect(again.code == 5, "\(again.errors)")
        #expect(again.errors.contains("go on with --resume, or begin anew with --restart"), "\(again.errors)")
    }

    @Test func wrongDataIsNamedBeforeTheWork() throws {
        let program = try Program()
        defer { program.remove() }
        try FileManager.default.createDirectory(atPath: program.folder + "/empty", withIntermediateDirectories: true)
        try Data("PK\u{3}\u{4}".utf8).write(to: URL(filePath: program.folder + "/x.zip"))
        let output = ["-o", program.folder + "/x.safetensors"]
        for (data, code, wanted) in [
            ("x.zip", 2, "a zip archive"), ("empty", 1, "has no sub-folders"), ("nowhere", 4, "there is no folder"), ("", 2, "--data is empty"),
        ] as [(String, Int32, String)] {
            let result = try train(program, ["x", "--data", data.isEmpty ? "" : program.folder + "/" + data] + output)
            #expect(result.code == code, "\(result.code): \(result.errors)")
            #expect(result.errors.contains(wanted), "\(result.code): \(result.errors)")
        }
        let name = try train(program, ["Pets", "--data", "synthetic:flowers"] + output)
        #expect(name.code == 2, "\(name.errors)")
        #expect(name.errors.contains("Pets"), "\(name.errors)")
        let own = try train(program, ["x", "--data", "synthetic:flowers", "-o", Program.golden("dit-pixel")])
        #expect(own.code == 2, "\(own.errors)")
        #expect(own.errors.contains("is what the run starts from"), "\(own.errors)")
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
        #expect(other.code == 7, "\(other.errors)")
        #expect(other.errors.contains("moves another set"), "\(other.errors)")
        #expect(try program.run(["draw", "flowers"]).errors.contains("-o FILE or --folder"))
    }

    @Test(arguments: [
        (["x"], "--data"), (["x", "y", "--data", "synthetic:flowers", "-o", "a"], "{}"),
        (["x", "--data", "synthetic:flowers", "-o", "a", "--method", "magic"], "lora"),
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
        #expect(result.code == 2, "\(result.code): \(result.errors)")
        #expect(result.errors.contains(wanted), "\(result.code): \(result.errors)")
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
        #expect(result.code == code, "\(result.code): \(result.errors)")
        #expect(result.errors.contains(wanted), "\(result.code): \(result.errors)")
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
                program,
                ["x", "--data", "synthetic:flowers", "-o", path, "--shards", "4", "--batch", "64", "--validation", "0.5", "--validate-every", "2", "--json"],
                under: launcher)
            #expect(result.code == 0, "\(result.errors)")
            return String(try #require(result.out.split(separator: "\"digest\":\"").last).prefix(64))
        }
        let alone = try digest("alone", under: [])
        #expect(alone.count == 64)
        #expect(try digest("together", under: launcher) == alone)
    }
}

/// A file system of a few bytes, where this user may mount one.
private final class SmallDisk {
    let path: String

    init(_ path: String, bytes: Int) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else { throw CocoaError(.fileWriteNoPermission) }
    }

    func grow(to bytes: Int) -> Bool { mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT), "size=\(bytes)") == 0 }

    deinit { umount(path) }

    static var isAllowed: Bool {
        let path = NSTemporaryDirectory() + "disk-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        return (try? SmallDisk(path, bytes: 1 << 16)) != nil
    }
}
