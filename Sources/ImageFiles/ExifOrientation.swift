/// How the rows and columns of a stored picture lie in the picture as it is to be seen: EXIF 2.3, tag 0x0112.
enum ExifOrientation: Int {
    case upright = 1, mirrored, upsideDown, flipped, transposed, turnedRight, transversed, turnedLeft

    /// The orientation that an EXIF block (a small TIFF file) gives its picture; nil where it gives none or is damaged.
    /// - Parameter block: with or without the "Exif" that stands before it in JPEG.
    init?(exif block: some Collection<UInt8>) {
        var bytes = Array(block)
        if bytes.starts(with: "Exif".utf8 + [0, 0]) { bytes.removeFirst(6) }
        let isLittle = bytes.starts(with: [0x49, 0x49])
        guard isLittle || bytes.starts(with: [0x4d, 0x4d]) else { return nil }
        func number(_ place: Int, _ count: Int) -> Int? {
            guard place >= 0, place + count <= bytes.count else { return nil }
            let digits = bytes[place..<(place + count)]
            return (isLittle ? Array(digits.reversed()) : Array(digits)).reduce(0) { $0 << 8 | Int($1) }
        }
        guard number(2, 2) == 42, let directory = number(4, 4), let entries = number(directory, 2) else { return nil }
        for entry in 0..<entries {
            let place = directory + 2 + 12 * entry
            guard let tag = number(place, 2), let type = number(place + 2, 2), let count = number(place + 4, 4) else { return nil }
            guard tag == 0x0112 else { continue }
            // SHORT as the standard has it; some writers use BYTE or LONG.
            guard count == 1, let width = [1: 1, 3: 2, 4: 4][type], let value = number(place + 8, width) else { return nil }
            self.init(rawValue: value)
            return
        }
        return nil
    }

    /// The orientation that an XMP packet gives, as an attribute or an element.
    init?(xmp packet: some Collection<UInt8>) {
        let text = String(decoding: packet, as: UTF8.self)
        for start in ["tiff:Orientation=\"", "tiff:Orientation='", "tiff:Orientation>"] {
            guard let place = text.firstRange(of: start), let digit = text[place.upperBound...].first?.wholeNumberValue else { continue }
            self.init(rawValue: digit)
            return
        }
        return nil
    }

    /// Of the blocks that a file holds: the first EXIF block that says something, else the first XMP packet.
    init?(exif blocks: [ArraySlice<UInt8>], xmp packets: [ArraySlice<UInt8>]) {
        guard let found = blocks.lazy.compactMap({ ExifOrientation(exif: $0) }).first ?? packets.lazy.compactMap({ ExifOrientation(xmp: $0) }).first else {
            return nil
        }
        self = found
    }
}

extension RGBImage {
    /// The picture as it is to be seen.
    func oriented(_ orientation: ExifOrientation?) -> RGBImage {
        guard let orientation, orientation != .upright else { return self }
        let turns = orientation.rawValue >= ExifOrientation.transposed.rawValue
        var result = RGBImage(width: turns ? height : width, height: turns ? width : height)
        let (right, bottom) = (width - 1, height - 1)
        var target = 0
        for y in 0..<result.height {
            for x in 0..<result.width {
                let (column, row) =
                    switch orientation {
                    case .upright: (x, y)
                    case .mirrored: (right - x, y)
                    case .upsideDown: (right - x, bottom - y)
                    case .flipped: (x, bottom - y)
                    case .transposed: (y, x)
                    case .turnedRight: (y, bottom - x)
                    case .transversed: (right - y, bottom - x)
                    case .turnedLeft: (right - y, x)
                    }
                let source = (row * width + column) * 3
                for channel in 0..<3 { result.pixels[target + channel] = pixels[source + channel] }
                target += 3
            }
        }
        return result
    }
}
