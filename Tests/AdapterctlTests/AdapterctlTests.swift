import Foundation
import ProgramRunner
import TensorFiles
import Testing

/// The real program, as a user runs it.
struct Program {
    let folder: String

    init() throws {
        folder = try temporaryFolder("adapterctl")
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    static func golden(_ name: String) -> String {
        checkout + "/Tests/Goldens/\(name).safetensors"
    }

    /// One run under way.
    struct Run {
        fileprivate let process: RunningProgram

        var isRunning: Bool { process.isRunning }
        func interrupt() { process.signal(SIGINT) }

        /// Waits for its end.
        func end() -> (code: Int32, out: String, errors: String) { (process.wait(), process.output, process.errors) }
    }

    /// Runs to the end; input is empty.
    @discardableResult
    func run(_ arguments: String...) throws -> (code: Int32, out: String, errors: String) { try run(arguments) }

    /// - Parameters:
    ///   - launcher: a program and its arguments that start this one.
    ///   - memory: most bytes of the program's own writable memory, files that it maps not counted.
    @discardableResult
    func run(
        _ arguments: [String], under launcher: [String] = [], memory: Int? = nil
    ) throws -> (code: Int32, out: String, errors: String) {
        try start(arguments, under: launcher, memory: memory).end()
    }

    func start(_ arguments: [String], under launcher: [String] = [], memory: Int? = nil) throws -> Run {
        // OpenBLAS' threads would ask for 128 MB each until they have it.
        let limit = memory.map { ["/bin/sh", "-c", "ulimit -d \($0 / 1024); OPENBLAS_NUM_THREADS=1 exec \"$0\" \"$@\""] } ?? []
        let words = limit + launcher + [builtProgram("adapterctl")] + arguments
        let environment = ProcessInfo.processInfo.environment.merging(["DIFFFIT_STORE": folder + "/store"]) { $1 }
        return Run(process: try RunningProgram(words[0], Array(words.dropFirst()), environment: environment, output: .file, errors: .file))
    }
}

@Suite(.serialized, .heavy) struct AdapterctlTests {
    @Test func anAdapterGoesInAndComesOutAndEveryFaultHasItsCode() throws {
        let program = try Program()
        defer { program.remove() }
        let adapter = Program.golden("difffit-tiny-adapter")
        #expect(try program.run("list").code == 10)
        #expect(try program.run("init").code == 0)
        #expect(try program.run("add", "flowers", adapter).code == 4)  // no base yet
        #expect(try program.run("base", "import", Program.golden("dit-tiny")).code == 0)
        #expect(try program.run("base", "import", Program.golden("difffit-tiny-adapter")).code == 7)
        #expect(try program.run("add", "flowers", adapter).code == 0)
        let again = try program.run("add", "flowers", adapter)
        #expect(again.code == 0)
        #expect(again.out.contains("nothing to do"))
        #expect(try program.run("add", "flowers", Program.golden("dit-tiny-forward")).code == 7)
        #expect(try program.run("add", "../flowers", adapter).code == 2)
        #expect(try program.run("add", "base", adapter).code == 2)
        let missing = try program.run("show", "flowrs")
        #expect(missing.code == 4)
        #expect(missing.errors.contains("flowers"))
        #expect(try program.run("nonsense").code == 2)
        #expect(try program.run("remove", "flowers").code == 2)
        #expect(try program.run("verify", "--golden").code == 0)
        #expect(try program.run("show", "flowers", "--json").out.contains("\"golden\":["))

        let exported = program.folder + "/out.safetensors"
        #expect(try program.run("export", "flowers", "-o", exported).code == 0)
        let (a, b) = (try TensorFile(path: adapter), try TensorFile(path: exported))
        #expect(Set(a.entries.map(\.name)) == Set(b.entries.map(\.name)))
        for entry in a.entries { #expect(try a.floats(entry.name) == b.floats(entry.name)) }

        #expect(try program.run("rename", "flowers", "garden").code == 0)
        #expect(try program.run("remove", "garden", "--yes").code == 0)
        #expect(try program.run("remove", "garden", "--yes").code == 4)
        #expect(try program.run("prune").out.contains("deleted 1 adapter and"))
        #expect(try program.run("status").out.contains("0 names for 0 adapters"))
    }

    @Test func jsonIsOneObjectForResultsAndErrors() throws {
        let program = try Program()
        defer { program.remove() }
        func object(_ text: String) throws -> [String: Any] { try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) }
        let failed = try program.run("list", "--json")
        #expect((try object(failed.out)["error"] as? [String: Any])?["code"] as? Int == 10)
        try program.run("init")
        let empty = try program.run("list", "--json")
        #expect(try object(empty.out)["command"] as? String == "list")
        #expect(try (object(empty.out)["data"] as? [Any])?.isEmpty == true)
    }

    @Test(arguments: ["dit-tiny", "dit-pixel"])
    func forwardAgreesWithTheRecordedModel(name: String) throws {
        let program = try Program()
        defer { program.remove() }
        let output = program.folder + "/out.safetensors"
        let result = try program.run(
            "forward", "--base-file", Program.golden(name), "--input", Program.golden(name + "-forward"), "--output", output, "--blocks")
        #expect(result.code == 0, "\(result.errors)")
        let (got, recorded) = (try TensorFile(path: output), try TensorFile(path: Program.golden(name + "-forward")))
        #expect(got.entries.count >= 5)
        for entry in got.entries {
            let (a, b) = (try got.floats(entry.name), try recorded.floats(entry.name))
            let scale = b.reduce(0) { max($0, abs($1)) }
            #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 * scale }, "\(entry.name)")
        }
    }

    /// compose, diff, merge and sparsify on the golden adapter: laws as a user sees them, faults with their codes.
    @Test func adaptersAreComposedComparedMergedAndThinnedOut() throws {
        let program = try Program()
        defer { program.remove() }
        func data(_ text: String) throws -> [String: Any] {
            try #require((JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])?["data"] as? [String: Any])
        }
        try program.run("init")
        try program.run("base", "import", Program.golden("dit-tiny"))
        try program.run("add", "flowers", Program.golden("difffit-tiny-adapter"))
        let same = try program.run("compose", "again", "flowers@0-1+flowers@2-3", "--json")
        let flowers = try data(program.run("show", "flowers", "--json").out)["summary"] as? [String: Any]
        #expect((try data(same.out)["summary"] as? [String: Any])?["digest"] as? String == flowers?["digest"] as? String)
        #expect(try program.run("compose", "half", "0.5*flowers").code == 0)
        #expect(try program.run("verify", "--golden").code == 0)
        #expect(try program.run("show", "half", "--json").out.contains("\"recipe\":\"0.5*flowers@"))
        let plot = program.folder + "/plot.png"
        let difference = try data(program.run("diff", "flowers", "half", "--json", "--plot", plot).out)
        let total = try #require(difference["total"] as? [String: Any])
        let (a, b, cosine) = (total["norm_a"] as? Double ?? 0, total["norm_b"] as? Double ?? 0, total["cosine"] as? Double ?? 0)
        #expect(a > 0)
        #expect(abs(b - a / 2) < 1e-4 * a)
        #expect(abs(cosine - 1) < 1e-6)
        #expect(FileManager.default.fileExists(atPath: plot))

        let fault = try program.run("compose", "x", "flowers+*half")
        #expect(fault.code == 2)
        #expect(fault.errors.contains("character 9"))
        #expect(fault.errors.contains("\n          ^"))
        #expect(try program.run("compose", "x", "flowrs").code == 4)
        #expect(try program.run("compose", "x", "flowers>0.5>half").code == 2)
        #expect(try program.run("compose", "half", "flowers").code == 5)
        #expect(try program.run("sample", "flowers>0.5", "-o", plot).code == 2)
        #expect(try program.run("calibrate", "flowers", "--steps", "3").code == 2)

        #expect(try program.run("merge", "one", "flowers=3").out.contains(flowers?["digest"].map { "\($0)".prefix(12) } ?? "?"))
        let both = program.folder + "/both.safetensors"
        #expect(try program.run("merge", "both", "flowers=3", "half=1", "-o", both).code == 0)
        #expect(try program.run("merge", "back", "\(both)=5", "--rule", "majority").code == 0)
        #expect(try program.run("merge", "none", "half").code == 2)
        let thin = try data(program.run("sparsify", "flowers", "--sparsity", "0.9", "--as", "thin", "--json").out)
        let stored = (thin["summary"] as? [String: Any])?["stored_bytes"] as? Int ?? .max
        #expect(stored < (thin["stored_bytes_before"] as? Int ?? 0))
        #expect((thin["values_kept"] as? Int ?? 0) > 0)
        #expect(try program.run("sparsify", "flowers", "--sparsity", "1", "--as", "thin").code == 2)
        #expect(try program.run("verify", "--golden").code == 0)
    }
}
