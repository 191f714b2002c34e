import Foundation
import ProgramRunner
import Testing

/// `tools/batch`, run as a user runs it, against a real server.
@Suite(.serialized, .heavy) struct BatchTests {
    private let server: Server
    private let folder: String

    init() throws {
        server = try Server.shared()
        folder = try temporaryFolder("batch")
    }

    private func start(_ tool: String, _ arguments: [String], environment: [String: String] = [:]) throws -> RunningProgram {
        try RunningProgram(
            "python3", [checkout + "/tools/batch/" + tool] + arguments,
            environment: ProcessInfo.processInfo.environment.merging(environment) { $1 })
    }

    private func run(_ tool: String, _ arguments: String...) throws -> Int32 {
        try start(tool, arguments + (tool == "generate" ? ["--socket", server.socket] : [])).wait()
    }

    /// Every file of a run's images, and its npz where it has one.
    private func bytes(_ run: String) throws -> [String: Data] {
        let images = folder + "/\(run)/images"
        var files: [String: Data] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: images) { files[name] = try Data(contentsOf: URL(filePath: "\(images)/\(name)")) }
        files["npz"] = try? Data(contentsOf: URL(filePath: folder + "/\(run)/samples.npz"))
        return files
    }

    private func lines(_ run: String) -> Int {
        ((try? String(contentsOfFile: folder + "/\(run)/results.jsonl", encoding: .utf8)) ?? "").split(separator: "\n").count
    }

    @Test func theUnionOfShardsIsTheWholeRun() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let common = ["--adapter", "flowers", "--total", "9", "--steps", "2"]
        func generate(_ out: String, _ more: String..., environment: [String: String] = [:]) throws -> Int32 {
            try start("generate", common + ["-o", folder + "/" + out, "--socket", server.socket] + more, environment: environment).wait()
        }
        #expect(try generate("whole", "--npz") == 0)
        for shard in 1...2 { #expect(try generate("shard-\(shard)", "--shard", "\(shard)/3") == 0) }
        // The third task of a SLURM array 1-3, submitted again alone: the number of shards is the run's, and without it nothing is made.
        let slurm = ["SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "3"]
        #expect(try generate("shard-3", environment: slurm) == 2)
        #expect(try generate("shard-3", "--shards", "3", environment: slurm) == 0)
        #expect(try run("merge", folder + "/shard-1", folder + "/shard-2", folder + "/shard-3", "-o", folder + "/union", "--npz") == 0)
        // A task beside the count, as an array with gaps has, makes nobody's images; a shard may have none.
        for task in ["0", "5"] { #expect(try generate("gap", "--shards", "3", environment: slurm.merging(["SLURM_ARRAY_TASK_ID": task]) { $1 }) == 2) }
        #expect(try generate("outside", "--shards", "3", environment: ["SLURM_ARRAY_TASK_ID": ""]) == 2)
        for variable in ["PBS_ARRAY_INDEX", "SGE_TASK_ID", "LSB_JOBINDEX"] {
            #expect(try generate("dry", "--shards", "4", "--dry-run", environment: [variable: "4"]) == 0)
        }
        #expect(try generate("none", "--in-flight", "0") == 2)
        #expect(try generate("empty", "--shard", "10/10", "--npz") == 0)
        let whole = try bytes("whole")
        #expect(whole.count == 10)
        #expect(Set(whole.values).count == 10)
        #expect(try bytes("union") == whole)
        let header = Data("'descr': '|u1', 'fortran_order': False, 'shape': (9, 32, 32, 3), ".utf8)
        #expect(whole["npz"]?.range(of: header) != nil)
        // A missing shard is noticed.
        #expect(try run("merge", folder + "/shard-1", folder + "/shard-3", "-o", folder + "/part") == 1)
    }

    /// Ended at any point, by force or politely, a run goes on to the same bytes.
    @Test(arguments: [SIGKILL, SIGTERM])
    func anEndedRunGoesOnToTheSameBytes(signal: Int32) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let common = ["--adapter", "birds", "--total", "40", "--steps", "3", "--classes", "random", "--in-flight", "2", "--socket", server.socket]
        #expect(try start("generate", common + ["-o", folder + "/whole"]).wait() == 0)
        let ended = try start("generate", common + ["-o", folder + "/ended"])
        // Ends by itself with all lines, if nothing else.
        while lines("ended") < 3, ended.isRunning { _ = try server.get("/healthz") }
        ended.signal(signal)
        #expect(ended.wait() == (signal == SIGKILL ? -SIGKILL : 143))
        #expect(lines("ended") >= 3)
        #expect(try start("generate", common + ["-o", folder + "/ended"]).wait() == 0)
        #expect(try bytes("ended").filter { !$0.key.hasPrefix(".") } == bytes("whole"))
    }

    @Test func aFailingItemStopsNoOther() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let requests = folder + "/requests.csv"
        // With the byte order mark and the line ends of a spreadsheet.
        try "\u{feff}id,model,class,seed,n\r\na,flowers,rose,1,1\r\nb,flowers,nope,1,1\r\nc,birds,owl,2,2\r\n".write(
            toFile: requests, atomically: true, encoding: .utf8)
        #expect(try run("generate", requests, "--steps", "2", "-o", folder + "/out") == 3)
        #expect(Set(try bytes("out").keys) == ["000000.png", "000002.png", "000003.png"])
        // Failed before is failed still, until it is asked for again.
        #expect(try run("generate", requests, "--steps", "2", "-o", folder + "/out") == 3)
        #expect(lines("out") == 4)
        #expect(try run("generate", requests, "--steps", "2", "-o", folder + "/out", "--retry-failed") == 3)
        #expect(lines("out") == 5)
    }

    @Test func anotherRunsFolderAndBadInputAreRefused() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let out = folder + "/out"
        #expect(try run("generate", "--adapter", "flowers", "--total", "1", "--steps", "2", "-o", out) == 0)
        #expect(try run("generate", "--adapter", "flowers", "--total", "2", "--steps", "2", "-o", out) == 2)
        #expect(try run("generate", "--adapter", "flowers", "--total", "1", "--steps", "2", "--shard", "3/2", "-o", out) == 2)
        #expect(try run("generate", "--adapter", "flowrs", "--total", "1", "-o", out) == 4)
        try "{\"modle\": \"flowers\"}\n".write(toFile: folder + "/bad.jsonl", atomically: true, encoding: .utf8)
        #expect(try run("generate", folder + "/bad.jsonl", "-o", folder + "/bad") == 2)
        #expect(try start("generate", ["--adapter", "flowers", "--total", "1", "-o", out, "--socket", folder + "/none.sock"]).wait() == 14)
    }
}
