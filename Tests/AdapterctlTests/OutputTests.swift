import Foundation
import ProgramRunner
import TensorFiles
import Testing

/// What a user names as an output, and what he reads.
@Suite(.serialized, .heavy) struct OutputTests {
    private let program: Program

    /// A store with `flowers`.
    init() throws {
        program = try Program()
        try program.run("init")
        try program.run("base", "import", Program.golden("dit-pixel"))
        let result = try program.run(
            "train", "flowers", "--data", "synthetic:flowers", "-o", path("flowers.safetensors"), "--steps", "1", "--batch", "4", "--per-class", "2",
            "--samples-every", "0", "--add")
        #expect(result.code == 0, "\(result.errors)")
    }

    private func path(_ name: String) -> String { program.folder + "/" + name }
    private func kind(_ name: String) -> mode_t {
        var status = stat()
        lstat(path(name), &status)
        return status.st_mode & S_IFMT
    }
    private func expect(_ code: Int32, _ sentence: String?, _ arguments: String...) throws {
        let result = try program.run(arguments)
        #expect(result.code == code, "\(arguments): \(result)")
        #expect(sentence.map((result.out + result.errors).contains) ?? true, "\(arguments): \(result)")
        #expect(!["NSCocoaErrorDomain", "UserInfo", "Error Domain", "couldn"].contains(where: result.errors.contains), "\(result.errors)")
    }

    /// Every verb that writes a file.
    private func verbs(_ picture: String, _ tensors: String) -> [[String]] {
        [
            ["sample", "flowers", "--n", "1", "--steps", "1", "-o", picture], ["sample", "flowers", "--n", "1", "--steps", "1", "--latents", tensors],
            ["sample", "flowers", "--n", "1", "--steps", "1", "--trajectory", tensors], ["sheet", "--steps", "1", "--per-class", "1", "-o", picture],
            ["sheet", "--domains", "flowers", "--steps", "1", "--per-class", "1", "-o", picture], ["diff", "flowers", "base", "--plot", picture],
            ["draw", "flowers", "--per-class", "1", "-o", picture], ["export", "flowers", "-o", tensors], ["base", "export", "-o", tensors],
            ["forward", "--base-file", Program.golden("dit-pixel"), "--input", Program.golden("dit-pixel-forward"), "--output", tensors],
            ["merge", "m", "flowers=1", "--replace", "-o", tensors],
        ]
    }

    @Test func aPipeAndALinkStayWhatTheyAreAndTakeTheFile() throws {
        defer { program.remove() }
        for name in ["pipe", "link"] {
            for arguments in verbs(path(name), path(name)) {
                unlink(path(name))
                unlink(path("target"))
                guard name == "pipe" else {
                    try FileManager.default.createSymbolicLink(atPath: path(name), withDestinationPath: "target")
                    let result = try program.run(arguments)
                    #expect(result.code == 0, "\(arguments): \(result)")
                    #expect(kind(name) == S_IFLNK, "\(arguments): \(result)")
                    #expect(kind("target") == S_IFREG, "\(arguments): \(result)")
                    continue
                }
                #expect(mkfifo(path(name), 0o600) == 0)
                // Both ends are open here, so that nobody waits for the other; what is written stays in the pipe, or the program with it.
                let script = "cat \(path(name)) > \(path("target")) & exec \"$0\" \"$@\""
                let result = try program.run(arguments, under: ["/bin/sh", "-c", script])
                #expect(result.code == 0, "\(arguments): \(result)")
                #expect(kind(name) == S_IFIFO, "\(arguments): \(result)")
            }
        }
    }

    @Test func aDashIsStandardOutputWhereOneFileIsWritten() throws {
        defer { program.remove() }
        for arguments in verbs("-", "-") {
            let result = try program.run(arguments, under: ["/bin/sh", "-c", "exec \"$0\" \"$@\" > \(path("out"))"])
            let first = try Data(contentsOf: URL(filePath: path("out"))).prefix(9)
            #expect(result.code == 0, "\(arguments): \(result.errors)")
            #expect((first.prefix(4) == Data([0x89, 0x50, 0x4e, 0x47]) || first.last == UInt8(ascii: "{")), "\(arguments): \(result.errors)")
            #expect(!result.errors.isEmpty, "what was done is told beside the file")
        }
        try expect(2, "standard output takes one file", "sample", "flowers", "-o", "-", "--latents", "-")
        try expect(2, "--json prints to standard output", "sample", "flowers", "-o", "-", "--json")
        try expect(2, "standard output", "train", "x", "--data", "synthetic:flowers", "-o", "-")
        try expect(2, "standard output", "base", "export", "--format", "diffusers", "-o", "-")
        #expect(!FileManager.default.fileExists(atPath: "-"))
    }

    @Test func aNameThatPromisesAnotherFormIsRefused() throws {
        defer { program.remove() }
        for arguments in verbs(path("a.jpg"), path("a.pt")) { try expectRefusal(2, "would hold", arguments) }
        try expect(2, "a.png", "sample", "flowers", "-o", path("a.JPG"))
        try expect(2, "would hold safetensors", "train", "x", "--data", "synthetic:flowers", "-o", path("x.pt"))
        try expect(2, "would hold arrays", "eval", "flowers", "--npz", path("x.zip"))
        try expect(2, ".html", "eval", "flowers", "--report", path("x.pdf"))
        try expect(2, "would be a folder", "base", "export", "--format", "diffusers", "-o", path("x.safetensors"))
        #expect(!FileManager.default.fileExists(atPath: path("a.jpg")))
        #expect(!FileManager.default.fileExists(atPath: path("a.pt")))
        // A version is no form.
        try expect(0, nil, "export", "flowers", "-o", path("flowers-1.2"))
    }

    private func expectRefusal(_ code: Int32, _ sentence: String, _ arguments: [String]) throws {
        let result = try program.run(arguments)
        #expect(result.code == code, "\(arguments): \(result)")
        #expect(result.errors.contains(sentence), "\(arguments): \(result)")
    }

    @Test func whatCannotBeWrittenIsSaidBeforeTheWork() throws {
        defer { program.remove() }
        try FileManager.default.createDirectory(atPath: path("folder.png"), withIntermediateDirectories: true)
        try expect(2, "is a folder", "sample", "flowers", "-o", path("folder.png"))
        try expect(4, "there is no folder", "sample", "flowers", "-o", path("none/a.png"))
        try expect(2, "empty", "sample", "flowers", "-o", "")
        try expect(2, "two outputs are one file", "eval", "flowers", "--npz", path("a.npz"), "--npz-reference", path("./a.npz"))
        // Folders that are expected to be made are.
        try expect(0, nil, "snapshot", path("backup/of/monday"))
        try expect(
            0, nil, "train", "x", "--data", "synthetic:flowers", "-o", path("new/x.safetensors"), "--steps", "1", "--batch", "4", "--per-class", "2",
            "--samples-every", "0")
    }

    /// The adapter that is read is the file that is written.
    @Test func anOutputMayBeAnInput() throws {
        defer { program.remove() }
        chmod(path("flowers.safetensors"), 0o600)
        try expect(0, nil, "merge", "m", "\(path("flowers.safetensors"))=1", "-o", path("flowers.safetensors"))
        try expect(0, "nothing to do", "add", "m", path("flowers.safetensors"))
        let mode = try FileManager.default.attributesOfItem(atPath: path("flowers.safetensors"))[.posixPermissions] as? Int
        #expect(mode == 0o600)
        try FileManager.default.copyItem(atPath: Program.golden("dit-pixel-forward"), toPath: path("in.safetensors"))
        try expect(0, nil, "forward", "--base-file", Program.golden("dit-pixel"), "--input", path("in.safetensors"), "-o", path("in.safetensors"))
        #expect(try TensorFile(path: path("in.safetensors")).entries.map(\.name) == ["out"])
    }

    @Test func nearMissesAreNamed() throws {
        defer { program.remove() }
        try expect(2, "did you mean sample?", "sampel", "flowers")
        try expect(2, "did you mean sample?", "help", "sampel")
        try expect(2, "did you mean import?", "base", "imprt", "x")
        try expect(2, "--steps", "sample", "flowers", "--stesp", "3", "-o", path("a.png"))
        for verb in ["show", "remove", "export"] {
            let rest = ["remove": ["--yes"], "export": ["-o", path("a.safetensors")]][verb] ?? []
            try expectRefusal(4, "the nearest name is flowers", [verb, "Flowers"] + rest)
        }
        try expect(2, "did you mean flowers?", "sample", "Flowers", "-o", path("a.png"))
        try expect(2, "'flowers' would be one", "add", "Flowers", path("flowers.safetensors"))
        try expect(4, "did you mean rose?", "sample", "flowers", "--class", "Rose", "-o", path("a.png"))
        try expect(2, "did you mean", "sample", "flowers", "--sampler", "dddim", "-o", path("a.png"))
        try expect(4, "did you mean flowers?", "draw", "flower", "-o", path("a.png"))
        let name = try #require(try program.run("base", "list").out.split(separator: "\n").last?.split(separator: " ").first)
        try expect(4, "did you mean \(name)?", "base", "show", String(name.dropLast()))
        try expect(10, "adapterctl init --store '\(path("none"))'", "list", "--store", path("none"))
    }

    @Test func showTellsWhatAnAdapterWasMadeOf() throws {
        defer { program.remove() }
        try expect(0, nil, "compose", "half", "0.5*flowers")
        let shown = try program.run("show", "half").out
        #expect(shown.contains("recipe   "))
        #expect(shown.contains("0.5*flowers@"))
        #expect(shown.contains(/parents +[0-9a-f]{64}, now flowers/))
        try program.run("remove", "half", "--yes")
        try program.run("prune")
        try expect(0, "1 name for 1 adapter:", "status")
        try expect(0, "would delete 0 adapters and 0 files", "prune", "--dry-run")
    }

    /// Where standard output is closed its number goes to the next file that is opened, which was the store's; a full one ended the program.
    @Test func whatCannotBePrintedHarmsNothing() throws {
        defer { program.remove() }
        let shell = { (redirections: String) in ["/bin/sh", "-c", "exec \"$0\" \"$@\" \(redirections)"] }
        let added = try program.run(["add", "other", path("flowers.safetensors")], under: shell("<&- >&- 2>&-"))
        #expect(added.code == 0, "\(added)")
        #expect(try program.run("verify").code == 0)
        #expect(try program.run("show", "other").code == 0)
        #expect(try program.run(["show", "none"], under: shell("2>&-")).code == 4)
        #expect(try program.run(["show", "none"], under: shell("2>/dev/full")).code == 4)
        for arguments in [["list"], ["list", "--json"], ["--help"], ["--generate-completion-script", "bash"]] {
            let result = try program.run(arguments, under: shell(">/dev/full"))
            #expect(result.code == 13, "\(arguments): \(result)")
            #expect(result.errors.contains("standard output cannot be written"), "\(arguments): \(result)")
        }
        let file = try program.run(
            ["sample", "flowers", "--n", "1", "--steps", "1", "--enlarge", "64", "-o", path("large.png")],
            under: ["/bin/sh", "-c", "ulimit -f 0; exec \"$0\" \"$@\""])
        #expect(file.code == 13, "\(file)")
    }

    @Test func aStoresBasesAreNoPlaceForOutputs() throws {
        defer { program.remove() }
        let bases = path("store/bases")
        let base = try #require(try FileManager.default.contentsOfDirectory(atPath: bases).first { $0.hasSuffix(".safetensors") })
        try FileManager.default.createSymbolicLink(atPath: path("link.safetensors"), withDestinationPath: bases + "/" + base)
        for file in [bases + "/" + base, path("link.safetensors")] {
            try expect(2, "among the bases", "export", "flowers", "-o", file)
            try expect(2, "among the bases", "base", "export", "-o", file)
        }
        #expect(try program.run("verify").code == 0)
    }

    @Test func noOtherPictureIsDrawnOver() throws {
        defer { program.remove() }
        for _ in 1...2 { try expect(0, nil, "draw", "flowers", "--folder", path("drawn"), "--per-class", "1") }
        try Data("mine".utf8).write(to: URL(filePath: path("drawn/rose/000000.png")))
        try expect(5, "rose/000000.png", "draw", "flowers", "--folder", path("drawn"), "--per-class", "1")
        #expect(try String(contentsOfFile: path("drawn/rose/000000.png"), encoding: .utf8) == "mine")
    }

    /// Class names as folders have them: decomposed, wide, pictures.
    @Test func showDropsNoClassWhateverItIsWrittenIn() throws {
        defer { program.remove() }
        let names = ["bruye\u{300}re", "e\u{301}glantine", "ne\u{301}flier", "pa\u{302}querette", "zinnia", "\u{153}illet", "薔薇", "🌹"]
        try expect(0, nil, "draw", "flowers", "--folder", path("drawn"), "--per-class", "1")
        let picture = try FileManager.default.contentsOfDirectory(atPath: path("drawn")).map { path("drawn/\($0)/000000.png") }
        for name in names {
            try FileManager.default.createDirectory(atPath: path("data/\(name)"), withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: picture[0], toPath: path("data/\(name)/a.png"))
        }
        try expect(
            0, nil, "train", "p", "--data", path("data"), "-o", path("p.safetensors"), "--steps", "1", "--batch", "4", "--samples-every", "0", "--add")
        let line = try #require(try program.run("show", "p").out.split(separator: "\n").first { $0.hasPrefix("classes") })
        let shown = line.dropFirst("classes".count).split(separator: ", ").map { $0.trimmingCharacters(in: .whitespaces) }
        #expect(shown.count == names.count)
        #expect(Set(shown) == Set(names))
    }

    /// Foundation's own words reach nobody (`expect` looks for them).
    @Test func theSystemsErrorsAreSentences() throws {
        defer { program.remove() }
        try Data([0x7b, 0xe9, 0x7d, 0x0a]).write(to: URL(filePath: path("latin.jsonl")))
        try Data("{}\n".utf8).write(to: URL(filePath: path("file")))
        try expect(2, "'\(path("latin.jsonl"))' is not UTF-8 text", "train", "--jobs", path("latin.jsonl"))
        try expect(4, "'\(path("none"))' cannot be used: No such file or directory", "train", "--jobs", path("none"))
        try expect(4, "'\(path("file"))' cannot be used: Not a directory", "sync", path("file"))
        try expect(4, "No such file or directory", "add", "x", path("none.safetensors"))
        try expect(14, "no server answers at '\(path("file"))', which is a file and no socket", "status", "--socket", path("file"))
        try expect(14, "No such file or directory", "sample", "flowers", "--socket", path("none"), "-o", path("a.png"))
        try expect(4, "Not a directory", "snapshot", path("file/below/monday"))
    }

    /// Two `init` at once: one makes the store, and the other has it or says so.
    @Test func manyInitsAtOnceLeaveOneStore() throws {
        defer { program.remove() }
        let runs = try (0..<6).map { _ in try program.start(["init", "--store", path("shared")]) }
        let ends = runs.map { $0.end() }
        #expect(ends.contains { $0.code == 0 }, "\(ends)")
        #expect(ends.allSatisfy { $0.code == 0 || $0.code == 5 && $0.errors.contains("already") }, "\(ends)")
        try expect(0, "0 names", "status", "--store", path("shared"))
    }
}

/// What stands on a terminal while a verb works, and what Ctrl-C leaves there.
@Suite(.serialized, .heavy) struct ProgressTests {
    @Test func sampleShowsItsProgressAndItsEndStandsOnItsOwnLine() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        try program.run("base", "import", Program.golden("dit-pixel"))
        // Ends by itself where no progress is ever shown.
        let session = """
            import os, pty, sys
            pid, end = pty.fork()
            if pid == 0:
                os.execv(sys.argv[1], sys.argv[1:])
            shown, asked = b"", False
            while True:
                try:
                    piece = os.read(end, 4096)
                except OSError:
                    break
                if not piece:
                    break
                shown += piece
                if b"sampling" in shown and not asked:
                    asked = os.write(end, bytes([3])) == 1
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), repr(shown.split(bytes([13]))))
            """
        let result = try program.run(
            ["sample", "base", "--n", "64", "--steps", "400", "-o", program.folder + "/a.png"], under: ["/usr/bin/env", "python3", "-c", session])
        #expect(result.out.hasPrefix("130 "), "\(result)")
        #expect(result.out.contains("sampling "), "\(result)")
        #expect(result.out.contains("\\x1b[Kinterrupted'"), "\(result)")
        #expect(!FileManager.default.fileExists(atPath: program.folder + "/a.png"))
    }
}

/// Every line of the README, as it stands there.
@Suite(.serialized, .heavy) struct ReadmeTests {
    @Test func everyLineWorksInItsOrder() throws {
        let program = try Program()
        defer { program.remove() }
        let result = try program.run([checkout], under: ["/bin/sh", "-c", "exec python3 \"$1/tools/check-readme\" --built \"$(dirname \"$0\")\""])
        #expect(result.code == 0, "\(result.out)\(result.errors)")
    }

    /// A second `tools/test` waits for the first. A stand-in of the compiler holds the first until the second has said so.
    @Test func aSecondTestRunWaitsForTheFirst() throws {
        let program = try Program()
        defer { program.remove() }
        let script = """
            set -u; cd "$1"; mkdir tools bin; cp "\(checkout)/tools/test" tools/
            printf '#!/bin/sh\\n' > tools/install
            printf '#!/bin/sh\\n[ -z "${FIRST:-}" ] || [ -e begun ] || { : > begun; read -r _ < gate; }\\n' > bin/swift
            chmod +x tools/install bin/swift; mkfifo gate; export PATH="$1/bin:$PATH"
            FIRST=1 tools/test & first=$!
            while [ ! -e begun ] && kill -0 $first 2>/dev/null; do :; done
            tools/test 2>second.err & second=$!
            while ! grep -q "waiting for it" second.err 2>/dev/null && kill -0 $second 2>/dev/null; do :; done
            cat second.err
            echo go > gate
            wait $first; echo "first $?"; wait $second; echo "second $?"
            """
        let result = try program.run([program.folder], under: ["/bin/bash", "-c", script])
        #expect(result.out.contains("waiting for it"), "\(result)")
        #expect(result.out.hasSuffix("first 0\nsecond 0\n"), "\(result)")
    }

    /// The programs go where they are wanted, are said to be out of reach where they are, and go again.
    @Test func programsAreInstalledAndTakenAway() throws {
        let program = try Program()
        defer { program.remove() }
        let script = """
            set -eu; export BUILT="$(dirname "$0")"; cd "$1"
            "\(checkout)/tools/install" --prefix one; PREFIX="$1/two" PATH="$1/two/bin:$PATH" "\(checkout)/tools/install"
            for folder in one two; do for name in adapterctl adapterd; do $folder/bin/$name --version; done; done
            "\(checkout)/tools/install" --uninstall --prefix one; "\(checkout)/tools/install" --uninstall --prefix "$1/one"; ls one/bin two/bin
            code=0; "\(checkout)/tools/install" --nonsense || code=$?; echo "code $code"
            """
        let result = try program.run([program.folder], under: ["/bin/sh", "-c", script])
        #expect(result.code == 0, "\(result)")
        #expect(result.errors.ranges(of: "is not on PATH").count == 1)
        #expect(result.errors.contains("\(program.folder)/one/bin"))
        #expect(result.out.ranges(of: "removed \(program.folder)/one/bin/").count == 2)
        #expect(result.out.ranges(of: "there is no ").count == 2)
        #expect(result.out.hasSuffix("one/bin:\n\ntwo/bin:\nadapterctl\nadapterd\ncode 2\n"), "\(result.out)")
    }
}
