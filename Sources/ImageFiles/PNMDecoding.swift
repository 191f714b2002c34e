import Foundation

/// Netpbm's PBM, PGM and PPM, as text or bytes.
func decodePNM(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    var reader = NetpbmReader(bytes, path: path)
    return try reader.image()
}

private struct NetpbmReader {
    private let bytes: [UInt8]
    private let path: String
    private var at = 2

    init(_ bytes: [UInt8], path: String) { (self.bytes, self.path) = (bytes, path) }

    private func fault(_ reason: String) -> ImageFileError { .notReadable(path: path, reason: reason) }

    /// The next number, past blanks and notes.
    private mutating func number(ofDigits most: Int = 9) throws(ImageFileError) -> Int {
        while at < bytes.count {
            if bytes[at] == 0x23 {
                while at < bytes.count, bytes[at] != 0x0a { at += 1 }
            } else if bytes[at] == 0x20 || (0x09...0x0d).contains(bytes[at]) {
                at += 1
            } else {
                break
            }
        }
        var value = 0, digits = 0
        while at < bytes.count, digits < most, (0x30...0x39).contains(bytes[at]) {
            value = value * 10 + Int(bytes[at] - 0x30)
            (at, digits) = (at + 1, digits + 1)
        }
        guard digits > 0 else { throw fault(at < bytes.count ? "it is no picture, though it begins like PNM" : "it is cut short") }
        return value
    }

    mutating func image() throws(ImageFileError) -> RGBImage {
        let kind = bytes[1] - 0x30
        let isBits = kind == 1 || kind == 4, channels = kind == 3 || kind == 6 ? 3 : 1
        let width = try number(), height = try number(), most = isBits ? 1 : try number()
        guard (1...65535).contains(most) else { throw fault("its largest value is \(most)") }
        try PictureLimits.check(width, height, named: path)
        var values = [Int](repeating: 0, count: width * height * channels)
        if kind <= 3 {
            for index in values.indices { values[index] = try number(ofDigits: isBits ? 1 : 9) }
        } else {
            at += 1
            let size = most > 255 ? 2 : 1, row = isBits ? (width + 7) / 8 : width * channels * size
            guard at + row * height <= bytes.count else { throw fault("it is cut short") }
            for index in values.indices {
                if isBits {
                    values[index] = Int(bytes[at + index / width * row + index % width / 8]) >> (7 - index % width % 8) & 1
                } else {
                    values[index] = size == 2 ? Int(bytes[at + 2 * index]) << 8 | Int(bytes[at + 2 * index + 1]) : Int(bytes[at + index])
                }
            }
        }
        var image = RGBImage(width: width, height: height)
        for index in image.pixels.indices {
            let value = min(values[channels == 3 ? index : index / 3], most)
            // A bit is ink.
            image.pixels[index] = UInt8(isBits ? 255 * (1 - value) : (value * 255 + most / 2) / most)
        }
        return image
    }
}
