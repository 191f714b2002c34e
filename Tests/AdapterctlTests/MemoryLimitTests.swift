import Foundation
import ProgramRunner
import Testing

/// Limits that clusters and services set on a process: it works within them or says which one it met, with exit code 1.
@Suite(.serialized, .heavy) struct MemoryLimitTests {
    private static func bounded(_ limit: String) -> [String] { ["/bin/sh", "-c", "ulimit \(limit); exec \"$0\" \"$@\""] }

    private func filled() throws -> Program {
        let program = try Program()
        try program.run("init")
        try program.run("base", "import", Program.golden("dit-tiny"))
        try program.run("add", "flowers", Program.golden("difffit-tiny-adapter"))
        return program
    }

    /// What multiplies nothing needs no room for it: the library of products is not even mapped.
    @Test func aListNeedsLittle() throws {
        let program = try filled()
        defer { program.remove() }
        let list = try program.run(["list"], under: Self.bounded("-v 300000"))
        #expect(list.code == 0, "\(list)")
        #expect(list.out.contains("flowers"), "\(list)")
        let libraries = try program.run(["list"], under: ["/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1"])
        #expect(libraries.out.contains("liblmdb"), "\(libraries.out)")
        #expect(!libraries.out.contains("blas"), "\(libraries.out)")
    }

    /// Every limit gives a result or a sentence: never a signal, never a program that does not end.
    @Test(arguments: [140_000, 180_000, 250_000, 300_000, 350_000, 400_000, 500_000, 700_000])
    func everyLimitHasItsAnswer(kilobytes: Int) throws {
        let program = try filled()
        defer { program.remove() }
        let outcome = try program.run(["verify", "--golden"], under: Self.bounded("-v \(kilobytes)"))
        if outcome.code != 0 {
            // Below what its own libraries take, the loader speaks for the program.
            #expect(outcome.code == 1 && outcome.errors.contains("refused") || outcome.code == 127 && outcome.errors.contains("shared libraries"), "\(outcome)")
        }
        #expect(outcome.code == 0 || kilobytes < 500_000, "this much is enough: \(outcome)")
    }

    /// A limit of a file's size fails the write, with the store as it was.
    @Test func aLimitOfAFilesSizeIsAFullDisk() throws {
        let program = try filled()
        defer { program.remove() }
        let refused = try program.run(["base", "import", Program.golden("dit-pixel")], under: Self.bounded("-f 8"))
        #expect(refused.code == 13, "\(refused)")
        #expect(refused.errors.contains("no room left"), "\(refused)")
        #expect(try program.run("verify").code == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: program.folder + "/store/bases").count == 1)
    }
}
