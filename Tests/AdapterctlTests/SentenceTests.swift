import Foundation
import ProgramRunner
import TensorFiles
import Testing

/// What is answered to a command line that is nearly right.
@Suite(.serialized, .heavy) struct SentenceTests {
    private let program: Program

    init() throws {
        program = try Program()
        try program.run("init")
    }

    private func expect(_ code: Int32, _ sentence: String, _ arguments: String...) throws {
        let result = try program.run(arguments)
        #expect(result.code == code, "\(arguments): \(result)")
        #expect((result.out + result.errors).contains(sentence), "\(arguments): \(result)")
        #expect(!result.errors.contains("Missing value"), "\(result.errors)")
    }

    @Test func numbersBelowTheirRangeAreNotMissing() throws {
        defer { program.remove() }
        try expect(2, "--n is between 1 and 4096", "sample", "base", "--n", "-1", "-o", program.folder + "/a.png")
        try expect(2, "a seed is a whole number from 0 to 18446744073709551615", "sample", "base", "--seed", "-1", "-o", program.folder + "/a.png")
        try expect(2, "--steps, --batch", "train", "x", "--data", "synthetic:flowers", "-o", program.folder + "/x.safetensors", "--steps", "-5")
        try expect(2, "--timeout is a number of seconds from 1 on", "status", "--timeout", "-1")
        let server = try ProgramRunner.run(
            builtProgram("adapterd"), ["--port", "-1", "--store", program.folder + "/store"], environment: ["HOME": program.folder])
        #expect(server.code == 2, "\(server)")
        #expect(server.errors.contains("'-1' is no value for --port"), "\(server)")
        #expect(server.errors.contains("a whole number between 0 and 65535"), "\(server)")
    }

    @Test func filesInThePlaceOfStoresAndSocketsAreNamed() throws {
        defer { program.remove() }
        let file = program.folder + "/file"
        try Data("mine".utf8).write(to: URL(filePath: file))
        try expect(10, "'\(file)' is a file, and a store is a folder", "list", "--store", file)
        try expect(10, "is no adapter store: it holds 'file', 'store' and no data.mdb", "list", "--store", program.folder)
        try expect(5, "There is already something at", "init", "--store", file)
        try expect(14, "'\(file)', which is a file and no socket", "status", "--socket", file)
        try expect(14, "'\(program.folder)', which is a folder and no socket", "status", "--socket", program.folder)
        let server = try ProgramRunner.run(
            builtProgram("adapterd"), ["--socket", file, "--store", program.folder + "/store"], environment: ["HOME": program.folder])
        #expect(server.code == 5, "\(server)")
        #expect(server.errors.contains("There is a file at '\(file)' that is no socket"), "\(server)")
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "mine")
        #expect(!FileManager.default.fileExists(atPath: file + ".lock"))
    }

    @Test func misspeltSourcesOfPicturesAreCorrected() throws {
        defer { program.remove() }
        for (data, wanted) in [
            ("synthetc:flowers", "synthetic:flowers"), ("Synthetic:Flowers", "synthetic:flowers"), ("flowers", "synthetic:flowers"),
            ("synthetics:flowrs", "synthetic:flowers"),
        ] {
            try expect(
                4, "there is no folder '\(data)' to read pictures from; did you mean \(wanted)?", "train", "x", "--data", data, "-o",
                program.folder + "/x.safetensors", "--base-file",
                Program.golden("dit-pixel"))
        }
    }

    /// Bases and adapters may share a name, and it is said which is meant where; what a base's file leaves open is said, and said to programs.
    @Test func sharedNamesAndAssumptionsAreSaid() throws {
        defer { program.remove() }
        let bare = program.folder + "/bare.safetensors"
        let file = try TensorFile(path: checkout + "/Tests/Goldens/containers/dit.safetensors")
        try SafetensorsWriter.write(file.entries.map { OutgoingTensor($0, as: .f32) }, metadata: [:], to: bare)
        let assumed = "taken as 3 classes and the null row; give --classes 4 if every row is a class"
        let imported = try program.run("base", "import", bare, "--heads", "2", "--json")
        let warnings = (try JSONSerialization.jsonObject(with: Data(imported.out.utf8)) as? [String: Any])?["warnings"] as? [String]
        #expect(imported.code == 0, "\(imported)")
        #expect(warnings?.count == 1, "\(imported)")
        #expect(warnings?[0].contains(assumed) == true, "\(imported)")
        #expect(imported.errors.contains(assumed), "\(imported)")
        #expect(try !program.run("base", "import", bare, "--heads", "2", "--classes", "3").errors.contains("taken as"))

        try program.run("base", "import", Program.golden("dit-tiny"))
        try expect(0, "flowers is ", "add", "flowers", Program.golden("difffit-tiny-adapter"), "--base", "dit-tiny")
        try expect(0, "an adapter is called 'flowers' too: with --base the name means the base", "base", "rename", "dit-tiny", "flowers")
        try expect(0, "is now garden", "rename", "flowers", "garden")
        try expect(0, "a base is called 'flowers' too: with --base the name means the base", "rename", "garden", "flowers")
        try expect(0, "a base is called 'flowers' too", "add", "flowers", Program.golden("difffit-tiny-adapter"), "--base", "flowers")
    }
}
