/// Small letters for labels on sheets and plots: five pixels wide, nine high with their tails.
extension RGBImage {
    package static let letterHeight = 9
    /// From one letter to the next.
    package static let letterStep = 6

    package static func textWidth(_ text: String, scale: Int = 1) -> Int { max(0, text.count * letterStep - 1) * scale }

    /// Writes one line, its top left corner at (x, y). A character without a shape leaves a gap; capitals become small letters.
    package mutating func draw(text: String, x: Int, y: Int, scale: Int = 1, colour: (red: UInt8, green: UInt8, blue: UInt8) = (230, 230, 230)) {
        let dot = RGBImage(width: scale, height: scale, filledWith: colour)
        for (index, character) in text.lowercased().enumerated() {
            for (row, columns) in (Self.letters[character] ?? []).enumerated() {
                for column in columns { draw(dot, x: x + (index * Self.letterStep + column) * scale, y: y + row * scale) }
            }
        }
    }

    /// Per character and row, the columns that are set.
    private static let letters: [Character: [[Int]]] = {
        var letters: [Character: [[Int]]] = [:]
        for (characters, shapes) in bands {
            let rows = shapes.split(separator: "\n").map { $0.split(separator: " ") }
            for (index, character) in characters.enumerated() {
                letters[character] = rows.map { row in row[index].enumerated().filter { $0.element == "#" }.map(\.offset) }
            }
        }
        return letters
    }()

    private static let bands = [
        (
            "abcdefghijklm",
            """
            ..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. .....
            ..... #.... ..... ....# ..... .#... ..... #.... ..... ..... #.... ..#.. .....
            .###. ####. .###. .#### .###. ####. .#### ####. .##.. ..##. #..#. ..#.. ##.#.
            ....# #...# #.... #...# #...# .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.#
            .#### #...# #.... #...# ##### .#... #...# #...# ..#.. ...#. ##... ..#.. #.#.#
            #...# #...# #.... #...# #.... .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.#
            .#### ####. .###. .#### .###. .#... .#### #...# .###. ...#. #..#. .###. #.#.#
            ..... ..... ..... ..... ..... ..... ....# ..... ..... #..#. ..... ..... .....
            ..... ..... ..... ..... ..... ..... .###. ..... ..... .##.. ..... ..... .....
            """
        ),
        (
            "nopqrstuvwxyz",
            """
            ..... ..... ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... .....
            ..... ..... ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... .....
            ####. .###. ####. .#### #.##. .#### ####. #...# #...# #...# #...# #...# #####
            #...# #...# #...# #...# ##..# #.... .#... #...# #...# #...# .#.#. #...# ...#.
            #...# #...# #...# #...# #.... .###. .#... #...# #...# #.#.# ..#.. #...# ..#..
            #...# #...# #...# #...# #.... ....# .#..# #...# .#.#. #.#.# .#.#. #...# .#...
            #...# .###. ####. .#### #.... ####. ..##. .#### ..#.. .#.#. #...# .#### #####
            ..... ..... #.... ....# ..... ..... ..... ..... ..... ..... ..... ....# .....
            ..... ..... #.... ....# ..... ..... ..... ..... ..... ..... ..... .###. .....
            """
        ),
        (
            "0123456789-._+*/",
            """
            .###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###. ..... ..... ..... ..... ..... ....#
            #...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...# ..... ..... ..... ..... ..... ...#.
            #..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...# ..... ..... ..... ..#.. ..... ...#.
            #.#.# ..#.. ..##. ..##. #..#. ....# ####. ..#.. .###. .#### ..... ..... ..... ..#.. #.#.# ..#..
            ##..# ..#.. .#... ....# ##### ....# #...# .#... #...# ....# .###. ..... ..... ##### .###. .#...
            #...# ..#.. #.... #...# ...#. #...# #...# .#... #...# ...#. ..... ..... ..... ..#.. #.#.# .#...
            .###. .###. ##### .###. ...#. .###. .###. .#... .###. .##.. ..... ..#.. ..... ..#.. ..... #....
            ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ##### ..... ..... .....
            ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
            """
        ),
    ]
}
