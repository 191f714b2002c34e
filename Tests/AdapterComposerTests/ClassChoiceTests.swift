import AdapterComposer
import AdapterFormat
import Testing

@Suite struct ClassChoiceTests {
    private let table = ClassTable(names: ["art/oak", "art/portrait", "birds/oak", "birds/rose-red"], values: (0..<20).map { Float($0 * $0) })

    private func choose(_ text: String) throws -> ClassChoice { try ClassChoice(text, in: table, domain: "art+birds") }

    @Test(arguments: [("art/oak", 0), ("portrait", 1), ("birds/oak", 2), ("rose-red", 3), ("class:2", 2), (" portrait", 1)] as [(String, Int)])
    func aClassIsFoundByItsName(_ text: String, _ row: Int) throws {
        #expect(try choose(text.first == " " ? "1*portrait" : text).onlyRow == row)
    }

    @Test func aPlainTableAlsoKnowsItsDomain() throws {
        let plain = ClassTable(names: ["rose"], values: [1, 2])
        #expect(try ClassChoice("flowers/rose", in: plain, domain: "flowers").onlyRow == 0)
        #expect(throws: ComposerError.self) { try ClassChoice("art/rose", in: plain, domain: "flowers") }
    }

    /// Folders 1 to 11 stand in the order of text; a number is the name that it looks like, and a row only where there is none.
    @Test(arguments: [("2", 3), ("11", 2), ("0", 0), ("class:2", 2), ("1*2", 3), ("2-1", nil), ("5", nil)] as [(String, Int?)])
    func aNumberIsANameFirst(_ text: String, _ row: Int?) {
        let numbered = ClassTable(names: ["1", "10", "11", "2"], values: [Float](repeating: 0, count: 5))
        #expect((try? ClassChoice(text, in: numbered, domain: "numbers"))?.onlyRow == row)
    }

    @Test func aBlendIsTheSumOfDifferencesFromNull() throws {
        let choice = try choose("0.5*portrait + 0.25*rose-red - birds/oak")
        #expect(choice.rows.map(\.row) == [1, 2, 3])
        #expect(choice.rows.map(\.weight) == [0.5, -1, 0.25])
        let null: [Float] = [1, 2, 3, 4]
        let values = choice.values(in: table, null: null[...])
        for i in 0..<4 {
            let rows = (0..<5).map { table.values[$0 * 4 + i] - null[i] }
            #expect(abs(values[i] - (null[i] + 0.5 * rows[1] - rows[2] + 0.25 * rows[3])) < 1e-4)
        }
        #expect(try choose(choice.text(in: table)) == choice)
        #expect(try choose("rose-red").values(in: table, null: null[...]) == Array(table.row(3)))
    }

    @Test func whatIsNotThereOrNotClearIsSaid() {
        #expect(throws: ComposerError.ambiguousClass(text: "oak", matches: ["art/oak", "birds/oak"])) { try choose("oak") }
        #expect(throws: ComposerError.unknownClass(text: "portait", among: table.names)) { try choose("portait") }
        #expect(throws: ComposerError.unknownClass(text: "lily", among: table.names)) { try choose("0.5*lily+0.5*portrait") }
        #expect(throws: ComposerError.badClassWeight(text: "x*portrait", part: "x")) { try choose("x*portrait") }
        #expect(throws: ComposerError.self) { try choose("") }
        #expect(throws: ComposerError.self) { try choose("class:4") }
    }
}
