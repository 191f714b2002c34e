import Foundation
import ProgramRunner
import Testing

/// Bases have names as adapters do: nothing changes one in passing, and a base goes only when nothing needs it.
@Suite(.serialized, .heavy) struct BaseNamesTests {
    private static let checkpoint =
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/containers/dit.safetensors").path

    private func names(_ program: Program) throws -> [String] {
        let object = try JSONSerialization.jsonObject(with: Data(program.run("base", "list", "--json").out.utf8)) as? [String: Any]
        return try #require(object?["data"] as? [[String: Any]]).compactMap { $0["name"] as? String }.sorted()
    }

    @Test func aBaseKeepsItsNameUntilItIsRenamed() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        #expect(try program.run("base", "import", Program.golden("dit-tiny")).code == 0)
        #expect(try names(program) == ["dit-tiny"])
        let again = try program.run("base", "import", Program.golden("dit-tiny"), "--name", "other")
        #expect(again.code == 5, "\(again)")
        #expect(again.errors.contains("adapterctl base rename dit-tiny other"), "\(again)")
        #expect(try program.run("base", "import", Program.golden("dit-tiny")).code == 0)
        let taken = try program.run("base", "import", Program.golden("dit-pixel"), "--name", "dit-tiny")
        #expect(taken.code == 5, "\(taken)")
        #expect(taken.errors.contains("--name"), "\(taken)")
        #expect(try names(program) == ["dit-tiny"])

        #expect(try program.run("base", "import", Program.golden("dit-pixel")).code == 0)
        #expect(try program.run("base", "rename", "dit-tiny", "dit-pixel").code == 5)
        for bad in ["Upper", "base", "../up", "a b"] {
            #expect(try program.run("base", "rename", "dit-tiny", bad).code == 2)
            #expect(try program.run("base", "import", Program.golden("dit-tiny"), "--name", bad).code == 2)
        }
        #expect(try program.run("base", "rename", "nothing", "else").code == 4)
        let renamed = try program.run("base", "rename", "dit-tiny", "small")
        #expect(renamed.code == 0, "\(renamed)")
        #expect(renamed.out.contains("is now small (was dit-tiny)"), "\(renamed)")
        #expect(try names(program) == ["dit-pixel", "small"])
        #expect(try program.run("base", "import", Program.golden("dit-tiny")).code == 0)
        #expect(try names(program) == ["dit-pixel", "small"], "an import brings no old name back")
    }

    /// A file's name is free; a base's name is what a reference can hold.
    @Test func aFileNameBecomesAName() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        for (file, name) in [("DiT XL_2-256.safetensors", "dit-xl_2-256"), ("Große Blume.safetensors", "gro--e-blume")] {
            try FileManager.default.copyItem(atPath: Self.checkpoint, toPath: program.folder + "/" + file)
            #expect(try program.run("base", "import", program.folder + "/" + file, "--heads", "2").code == 0)
            #expect(try names(program) == [name])
            #expect(try program.run("base", "remove", name, "--yes").code == 0)
        }
    }

    @Test func aBaseIsRemovedWhenNoAdapterNeedsIt() throws {
        let program = try Program()
        defer { program.remove() }
        try program.run("init")
        #expect(try program.run("base", "import", Program.golden("dit-tiny")).code == 0)
        #expect(try program.run("add", "flowers", Program.golden("difffit-tiny-adapter")).code == 0)
        #expect(try program.run("base", "rename", "dit-tiny", "small").code == 0, "adapters belong to the digest")
        #expect(try program.run("base", "remove", "small").code == 2, "it asks first")
        let needed = try program.run("base", "remove", "small", "--yes")
        #expect(needed.code == 5, "\(needed)")
        #expect(needed.errors.contains("needed by flowers"), "\(needed)")
        #expect(try program.run("remove", "flowers", "--yes").code == 0)
        #expect(try program.run("base", "remove", "small", "--yes").code == 5, "its content is there until prune")
        #expect(try program.run("prune").code == 0)
        let removed = try program.run("base", "remove", "small", "--yes")
        #expect(removed.code == 0, "\(removed)")
        #expect(removed.out.contains("freed"), "\(removed)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: program.folder + "/store/bases").isEmpty)
        let none = try program.run("base", "remove", "small", "--yes")
        #expect(none.code == 4, "\(none)")
        #expect(none.errors.contains("no base 'small'"), "\(none)")
        let empty = try program.run("add", "flowers", Program.golden("difffit-tiny-adapter"))
        #expect(empty.code == 4, "\(empty)")
        #expect(empty.errors.contains("adapterctl base import FILE"), "\(empty)")
    }

    @Test func aMissingStoreIsNamedWithTheCommandThatMakesOne() throws {
        let program = try Program()
        defer { program.remove() }
        let refused = try program.run("list")
        #expect(refused.code == 10, "\(refused)")
        #expect(refused.errors.contains("adapterctl init --store '\(program.folder)/store'"), "\(refused)")
    }
}
