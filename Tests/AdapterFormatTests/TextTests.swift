import AdapterFormat
import Testing

/// Text as a terminal shows it.
@Suite struct TextTests {
    @Test(arguments: [
        ("rose", 4), ("e\u{301}glantine", 9), ("\u{e9}glantine", 9), ("薔薇", 4), ("ばら", 4), ("장미", 4), ("\u{1112}\u{1161}\u{11ab}", 2), ("ﾊﾞﾗ", 3),
        ("Ｒ", 2), ("🌹", 2), ("👩‍🌾", 2), ("👍🏽", 2), ("🇩🇪", 2), ("❤️", 2), ("❤", 1), ("ورد", 3), ("וֶרֶד", 3), ("a\u{200b}b", 2), ("", 0),
    ])
    func aTextTakesItsColumns(text: String, columns: Int) { #expect(text.displayWidth == columns) }

    @Test func aTableLosesNothingAndKeepsItsColumns() {
        let names = ["e\u{301}glantine", "薔薇", "🌹", "zinnia"]
        let lines = table([["NAME", "SIZE"]] + names.map { [$0, "1 B"] }).split(separator: "\n")
        #expect(zip(lines.dropFirst(), names).allSatisfy { $0.hasPrefix($1) })
        // The second column begins eleven columns from the left in every line.
        #expect(lines.allSatisfy { line in line.dropLast(line.hasSuffix("SIZE") ? 4 : 3).displayWidth == 11 })
        #expect(table([["classes", names.joined(separator: ", ")]]).hasSuffix("zinnia"))
        #expect(table([["a\u{1b}[2Jb\nc", "d"]]) == "a\u{fffd}[2Jb\u{fffd}c  d")
    }

    @Test func countsHaveTheirNouns() {
        #expect("\(1, "name") for \(2, "adapter")" == "1 name for 2 adapters")
        #expect("\(0, "class"), \(1, "class"), \(2, "class")" == "0 classes, 1 class, 2 classes")
        #expect("\(2, "entry"), \(1, "entry"), \(3, "day")" == "2 entries, 1 entry, 3 days")
        #expect("\(a: "LOHA"), \(a: "ADALORA"), \(a: "IA3"), \(a: "HRA")" == "a LOHA, an ADALORA, an IA3, an HRA")
    }

    @Test func nearNamesAreFoundWhateverTheirCase() {
        #expect(nearestNames(to: "Flowers", among: ["art", "flowers"]) == ["flowers"])
        #expect(nearestNames(to: "flow", among: ["art", "flowers"]) == ["flowers"])
        #expect(nearestNames(to: "english foxhnd", among: ["English foxhound", "zebra"]) == ["English foxhound"])
        #expect(nearestNames(to: "zzzz", among: ["art", "flowers"]).isEmpty)
    }
}
