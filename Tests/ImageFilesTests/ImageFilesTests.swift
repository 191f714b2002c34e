import Foundation
import ImageFiles
import Testing

@Suite struct ImageFilesTests {
    private func path(_ name: String) -> String { NSTemporaryDirectory() + "imagefiles-\(UUID().uuidString)-\(name)" }

    private var pattern: RGBImage {
        var image = RGBImage(width: 7, height: 5)
        for index in image.pixels.indices { image.pixels[index] = UInt8(truncatingIfNeeded: index &* 37) }
        return image
    }

    @Test func aPNGReadsBackToTheSamePixels() throws {
        let path = path("a.png")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try pattern.writePNG(to: path, text: [PNGText(key: "difffit", value: "flowers seed=1")])
        #expect(try RGBImage(contentsOf: path) == pattern)
        let bytes = try Data(contentsOf: URL(filePath: path))
        #expect(bytes.range(of: Data("flowers seed=1".utf8)) != nil)
        #expect(bytes == (try pattern.png(text: [PNGText(key: "difffit", value: "flowers seed=1")])))
    }

    /// A reader without animations sees the first frame; the chunks are those of the specification, in their order.
    @Test func anAnimationHoldsEveryFrame() throws {
        let path = path("c.png")
        defer { try? FileManager.default.removeItem(atPath: path) }
        var second = pattern
        second.pixels.reverse()
        let data = try AnimatedPNG.data([pattern, second, pattern], milliseconds: 300, text: [PNGText(key: "difffit", value: "morph")])
        try data.writeWhole(to: path)
        #expect(try RGBImage(contentsOf: path) == pattern)
        var names: [String] = [], sequence: [UInt32] = [], at = 8
        while at + 8 <= data.count {
            let number = { (from: Int) in data[from..<(from + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
            names.append(String(decoding: data[(at + 4)..<(at + 8)], as: UTF8.self))
            if ["fcTL", "fdAT"].contains(names.last) { sequence.append(number(at + 8)) }
            at += 12 + Int(number(at))
        }
        #expect(at == data.count)
        #expect(sequence == Array(0..<UInt32(sequence.count)))
        #expect(names.count { $0 == "fcTL" } == 3)
        #expect(names.filter { $0 != "iTXt" } == ["IHDR", "acTL", "fcTL", "IDAT", "fcTL", "fdAT", "fcTL", "fdAT", "IEND"])
        #expect(throws: ImageFileError.self) { try AnimatedPNG.data([pattern, RGBImage(width: 1, height: 1)], milliseconds: 1) }
    }

    @Test func brokenFilesAreNamed() throws {
        let path = path("b.png")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let sound = try pattern.png()
        for bad in [Data(), Data("no picture".utf8), sound.prefix(40), sound.prefix(sound.count - 20), Data([0xff, 0xd8, 0xff, 0, 1, 2])] {
            try bad.write(to: URL(filePath: path))
            do {
                _ = try RGBImage(contentsOf: path)
                Issue.record("\(bad.count) bytes were taken for a picture")
            } catch { #expect("\(error)".contains(path)) }
        }
        #expect(throws: ImageFileError.self) { try RGBImage(contentsOf: path + "-missing") }
    }

    @Test func aHugeHeaderIsRefusedBeforeMemoryIsTaken() throws {
        let path = path("c.png")
        defer { try? FileManager.default.removeItem(atPath: path) }
        // Width and height of 60,000 in an otherwise tiny file; the checksum is right, so the size itself must be refused.
        let huge: [UInt8] =
            [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13] + Array("IHDR".utf8) + [0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60, 8, 2, 0, 0, 0]
        try Data(huge + crc(Array(huge[12...])) + [0, 0, 0, 0] + Array("IEND".utf8) + [0xae, 0x42, 0x60, 0x82]).write(to: URL(filePath: path))
        #expect(throws: ImageFileError.self) { try RGBImage(contentsOf: path) }
    }

    private func crc(_ bytes: [UInt8]) -> [UInt8] {
        var value: UInt32 = 0xffff_ffff
        for byte in bytes {
            value ^= UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xedb8_8320 : value >> 1 }
        }
        value = ~value
        return [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
    }

    @Test func croppingKeepsTheMiddleAndAConstantColour() {
        let flat = RGBImage(width: 100, height: 61, filledWith: (10, 200, 30))
        #expect(flat.centreCropped(to: 32) == RGBImage(width: 32, height: 32, filledWith: (10, 200, 30)))
        var wide = RGBImage(width: 96, height: 32, filledWith: (255, 0, 0))
        wide.draw(RGBImage(width: 32, height: 32, filledWith: (0, 0, 255)), x: 32, y: 0)
        #expect(wide.centreCropped(to: 32) == RGBImage(width: 32, height: 32, filledWith: (0, 0, 255)))
    }

    /// Pillow's own results, recorded by `tools/goldens/adm_crop.py`; its fixed-point weights may round one step otherwise.
    @Test(arguments: ["37x53", "150x97", "64x128", "20x31", "131x65"])
    func croppingIsWhatPillowMakesOfIt(name: String) throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/adm-crop")
        let image = try RGBImage(contentsOf: folder.appending(path: name + ".png").path)
        let recorded = try RGBImage(contentsOf: folder.appending(path: name + "-cropped.png").path)
        let got = image.centreCropped(to: 32)
        let differences = zip(got.pixels, recorded.pixels).map { abs(Int($0) - Int($1)) }
        #expect(got.width == recorded.width)
        #expect(got.height == recorded.height)
        #expect(differences.max() ?? 0 <= 1)
        #expect(differences.filter { $0 > 0 }.count < differences.count / 50)
    }

    @Test func lettersAreDrawnWhereTheyAreWanted() {
        var image = RGBImage(width: 40, height: 12, filledWith: (0, 0, 0))
        image.draw(text: "l-", x: 2, y: 1, colour: (255, 0, 0))
        #expect(RGBImage.textWidth("l-") == 11)
        let lit = (0..<(40 * 12)).filter { image.pixels[$0 * 3] == 255 }
        // The stem of the l, its foot, and the dash six pixels further on.
        for (x, y) in [(4, 1), (3, 7), (9, 5)] { #expect(lit.contains(y * 40 + x)) }
        #expect(lit.count == 10 + 3)
    }
}
