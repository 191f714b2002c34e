import Foundation

/// The chunks of a PNG file, by type.
func chunks(ofPNG png: Data) -> [(type: String, content: [UInt8])] {
    let bytes = [UInt8](png)
    var chunks: [(type: String, content: [UInt8])] = []
    var at = 8
    while at + 12 <= bytes.count {
        let length = bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
        guard at + 12 + length <= bytes.count else { break }
        chunks.append((String(decoding: bytes[(at + 4)..<(at + 8)], as: UTF8.self), Array(bytes[(at + 8)..<(at + 8 + length)])))
        at += 12 + length
    }
    return chunks
}

/// The first uncompressed international text chunk of that keyword, as `RGBImage.png` writes them.
package func textOfPNG(_ png: Data, key: String) -> String? {
    for (type, content) in chunks(ofPNG: png) where type == "iTXt" {
        // keyword, 0, compressed or not, method, language, 0, the keyword translated, 0, text.
        let parts = content.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, String(decoding: parts[0], as: UTF8.self) == key, parts[1].first == 0 else { continue }
        let rest = parts[1].dropFirst(2).split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        if rest.count == 3 { return String(decoding: rest[2], as: UTF8.self) }
    }
    return nil
}
