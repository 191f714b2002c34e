import Foundation

/// Windows and OS/2 bitmaps of 1, 4, 8, 16, 24 and 32 bits, plain, run-length coded or with masks. No Debian library reads them from memory
/// without an image viewer's whole machinery behind it.
func decodeBMP(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    let reader = BitmapReader(bytes, path: path)
    return try reader.image()
}

private struct BitmapReader {
    let bytes: [UInt8]
    let path: String

    init(_ bytes: [UInt8], path: String) { (self.bytes, self.path) = (bytes, path) }

    private func fault(_ reason: String) -> ImageFileError { .notReadable(path: path, reason: reason) }

    /// A little-endian number of up to four bytes.
    private func number(_ place: Int, _ count: Int) throws(ImageFileError) -> Int {
        guard place >= 0, place + count <= bytes.count else { throw fault("it is cut short") }
        return bytes[place..<(place + count)].reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    private func signed(_ place: Int) throws(ImageFileError) -> Int { Int(Int32(truncatingIfNeeded: try number(place, 4))) }

    func image() throws(ImageFileError) -> RGBImage {
        let start = try number(10, 4), header = try number(14, 4)
        let isOld = header == 12
        let width = isOld ? try number(18, 2) : try signed(18), tall = isOld ? try number(20, 2) : try signed(22)
        let bits = try number(isOld ? 24 : 28, 2), form = isOld ? 0 : try number(30, 4), height = abs(tall)
        guard width > 0 else { throw fault("it is a BMP \(width) pixels wide") }
        try PictureLimits.check(width, height, named: path)
        switch (form, bits) {
        case (0, 1), (0, 4), (0, 8), (1, 8), (2, 4):
            let places = form == 0 ? try plain(start, width, height, bits) : try runs(start, width, height, bits)
            // Masks of a small header are no part of the table.
            let table = try colours(at: 14 + header, entry: isOld ? 3 : 4, count: 1 << bits, wanted: isOld ? 0 : try number(46, 4), until: start)
            var image = RGBImage(width: width, height: height)
            for row in 0..<height {
                for column in 0..<width {
                    let colour = table[places[row * width + column]] ?? (0, 0, 0), target = (place(row, height, tall) * width + column) * 3
                    (image.pixels[target], image.pixels[target + 1], image.pixels[target + 2]) = colour
                }
            }
            return image
        case (0, 16), (0, 24), (0, 32), (3, 16), (3, 32), (6, 16), (6, 32):
            var masks = [0x00FF_0000, 0xFF00, 0xFF, 0]
            if form == 0, bits == 16 { masks = [0x7C00, 0x03E0, 0x1F, 0] }
            if form != 0 {
                for index in 0..<3 { masks[index] = try number(54 + 4 * index, 4) }
                masks[3] = header >= 56 || form == 6 ? try number(66, 4) : 0
            }
            return try masked(start, width, height, tall, bits, masks)
        case (4, _), (5, _): throw fault("it is a BMP around a \(form == 4 ? "JPEG" : "PNG"), which is not read: convert it to PNG or JPEG")
        default: throw fault("it is a BMP of \(bits) bits a pixel in form \(form), which is not read: convert it to PNG or JPEG")
        }
    }

    /// Rows lie from the bottom up, unless the height is negative.
    private func place(_ row: Int, _ height: Int, _ tall: Int) -> Int { tall < 0 ? row : height - 1 - row }

    private func colours(at place: Int, entry: Int, count: Int, wanted: Int, until end: Int) throws(ImageFileError) -> [Int: (UInt8, UInt8, UInt8)] {
        let present = min(wanted == 0 ? count : min(wanted, count), max(0, (end - place) / entry))
        var table: [Int: (UInt8, UInt8, UInt8)] = [:]
        for index in 0..<present {
            let colour = try number(place + entry * index, 3)
            table[index] = (UInt8(colour >> 16 & 255), UInt8(colour >> 8 & 255), UInt8(colour & 255))
        }
        return table
    }

    /// Places in the table of colours, rows as they are stored.
    private func plain(_ start: Int, _ width: Int, _ height: Int, _ bits: Int) throws(ImageFileError) -> [Int] {
        let stride = (width * bits + 31) / 32 * 4
        guard start + stride * (height - 1) + (width * bits + 7) / 8 <= bytes.count else { throw fault("it is cut short") }
        var places = [Int](repeating: 0, count: width * height)
        for row in 0..<height {
            for column in 0..<width {
                let bit = column * bits
                places[row * width + column] = Int(bytes[start + row * stride + bit / 8]) >> (8 - bits - bit % 8) & (1 << bits - 1)
            }
        }
        return places
    }

    /// Runs of one byte, stretches of several, and marks for the end of a row, of the picture, and for a leap.
    private func runs(_ start: Int, _ width: Int, _ height: Int, _ bits: Int) throws(ImageFileError) -> [Int] {
        var places = [Int](repeating: 0, count: width * height)
        var (at, x, y) = (start, 0, 0)
        func put(_ value: Int) {
            if x < width, y < height { places[y * width + x] = value }
            x += 1
        }
        /// Of a byte that holds one or two places.
        func part(_ byte: Int, _ index: Int) -> Int { bits == 8 ? byte : index.isMultiple(of: 2) ? byte >> 4 : byte & 15 }
        while y < height {
            let count = try number(at, 1), value = try number(at + 1, 1)
            at += 2
            if count > 0 {
                for index in 0..<count { put(part(value, index)) }
            } else if value == 0 {
                (x, y) = (0, y + 1)
            } else if value == 1 {
                break
            } else if value == 2 {
                x += try number(at, 1)
                y += try number(at + 1, 1)
                at += 2
            } else {
                for index in 0..<value { put(part(try number(at + index * bits / 8, 1), index)) }
                at += ((value * bits + 7) / 8 + 1) / 2 * 2
            }
        }
        return places
    }

    private func masked(_ start: Int, _ width: Int, _ height: Int, _ tall: Int, _ bits: Int, _ masks: [Int]) throws(ImageFileError) -> RGBImage {
        let size = bits / 8, row = (width * size + 3) / 4 * 4
        guard start + row * (height - 1) + width * size <= bytes.count else { throw fault("it is cut short") }
        func value(_ pixel: Int, _ mask: Int) -> Int {
            let shift = mask.trailingZeroBitCount, most = mask >> shift
            return (pixel & mask) >> shift * 255 / most
        }
        guard masks.prefix(3).allSatisfy({ $0 > 0 }) else { throw fault("it is a BMP without masks of its colours") }
        var rgba = [UInt8](repeating: 255, count: width * height * 4)
        for line in 0..<height {
            for column in 0..<width {
                let from = start + line * row + column * size, target = (place(line, height, tall) * width + column) * 4
                var pixel = 0
                for index in 0..<size { pixel |= Int(bytes[from + index]) << (8 * index) }
                for channel in 0..<4 where masks[channel] > 0 { rgba[target + channel] = UInt8(min(255, value(pixel, masks[channel]))) }
            }
        }
        // Programs that know no alpha leave it empty throughout; such a picture is not meant to be unseen.
        if stride(from: 3, to: rgba.count, by: 4).allSatisfy({ rgba[$0] == 0 }) { for place in stride(from: 3, to: rgba.count, by: 4) { rgba[place] = 255 } }
        return RGBImage(width: width, height: height, rgba: rgba)
    }
}
