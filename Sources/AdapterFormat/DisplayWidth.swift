/// How many columns of a terminal a text takes, whatever it is written in: combining marks take none, wide letters and emoji two.
/// After Unicode's annexes 11 (East Asian width) and 51 (emoji).
extension StringProtocol {
    package var displayWidth: Int { reduce(0) { $0 + $1.displayWidth } }

    /// Filled with spaces to so many columns; a longer text stays as it is.
    package func padded(to columns: Int) -> String { self + String(repeating: " ", count: Swift.max(0, columns - displayWidth)) }

    /// The text with what would move the cursor shown as a sign: a name from outside stays on its line.
    package var onOneLine: String {
        String(String.UnicodeScalarView(unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : $0 }))
    }
}

extension Character {
    fileprivate var displayWidth: Int {
        // What a terminal draws as one picture: an emoji with its modifiers, joined ones, a flag.
        if unicodeScalars.contains(where: { $0.properties.isEmojiPresentation || $0.value == 0xfe0f }) { return 2 }
        return unicodeScalars.reduce(0) { $0 + $1.displayWidth }
    }
}

extension Unicode.Scalar {
    fileprivate var displayWidth: Int {
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format, .control: return 0
        default: break
        }
        // Vowels and finals of a Hangul syllable stand inside the square of its first letter.
        if (0x1160...0x11ff).contains(value) || (0xd7b0...0xd7ff).contains(value) { return 0 }
        return Self.wide.contains { $0.contains(value) } ? 2 : 1
    }

    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115f, 0x2329...0x232a, 0x2e80...0x303e, 0x3041...0x3247, 0x3250...0x4dbf, 0x4e00...0xa4cf, 0xa960...0xa97c, 0xac00...0xd7a3,
        0xf900...0xfaff, 0xfe10...0xfe19, 0xfe30...0xfe6f, 0xff01...0xff60, 0xffe0...0xffe6, 0x16fe0...0x18cff, 0x1aff0...0x1b2ff,
        0x1f200...0x1f265, 0x20000...0x3fffd,
    ]
}

/// Text in columns, each as wide as its widest cell.
package func table(_ rows: [[String]]) -> String {
    guard let first = rows.first else { return "" }
    let rows = rows.map { $0.map(\.onOneLine) }
    let widths = first.indices.map { column in rows.map { $0[column].displayWidth }.max() ?? 0 }
    return rows.map { row in
        zip(row, widths).map { $0.padded(to: $1) }.joined(separator: "  ").replacing(/\ +$/, with: "")
    }.joined(separator: "\n")
}
