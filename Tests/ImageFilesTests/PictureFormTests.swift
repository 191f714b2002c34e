import Foundation
import ImageFiles
import Testing

/// Pictures in the forms that people have them in, against what Pillow makes of them (`tools/goldens/picture_forms.py`).
@Suite struct PictureFormTests {
    struct Recorded: Decodable {
        let file, pixels: Data
        let width, height, tolerance: Int
    }

    static let recorded: [String: Recorded] = {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/picture-forms.json")
        guard let data = try? Data(contentsOf: path), let all = try? JSONDecoder().decode([String: Recorded].self, from: data) else { return [:] }
        return all
    }()

    private static func named(_ ending: String) -> [String] { recorded.keys.filter { $0.hasSuffix(ending) }.sorted() }

    private func check(_ name: String) throws {
        let recorded = try #require(Self.recorded[name])
        // The name says nothing: bytes do.
        let image = try RGBImage(recorded.file, named: "picture.jpg")
        #expect(image.width == recorded.width)
        #expect(image.height == recorded.height)
        let worst = zip(image.pixels, recorded.pixels).map { abs(Int($0) - Int($1)) }.max()
        #expect(try #require(worst) <= recorded.tolerance)
    }

    @Test(arguments: named(".png")) func aPNGIsWhatPillowMakesOfIt(name: String) throws { try check(name) }
    @Test(arguments: named(".jpg")) func aJPEGIsWhatPillowMakesOfIt(name: String) throws { try check(name) }
    @Test(arguments: named(".webp")) func aWebPIsWhatPillowMakesOfIt(name: String) throws { try check(name) }
    @Test(arguments: named(".gif")) func aGIFIsWhatPillowMakesOfIt(name: String) throws { try check(name) }
    @Test(arguments: named(".bmp")) func aBMPIsWhatPillowMakesOfIt(name: String) throws { try check(name) }
    @Test(arguments: named(".tif")) func aTIFFIsWhatPillowMakesOfIt(name: String) throws { try check(name) }
    @Test(arguments: named("m")) func aPNMIsWhatPillowMakesOfIt(name: String) throws { try check(name) }

    @Test func everyFormWasRecorded() {
        #expect(Self.recorded.count >= 112)
        for kind in ["exif", "turned"] { #expect(Self.recorded.keys.count { $0.hasPrefix(kind) } >= 8) }
    }

    /// A turn is told from every other one.
    @Test func theEightOrientationsDiffer() throws {
        for ending in [".png", ".webp"] {
            let turned = try (1...8).map { try RGBImage(#require(Self.recorded["exif-\($0)\(ending)"]).file, named: "x").pixels }
            #expect(Set(turned).count == 8)
        }
    }

    /// What each is called, whatever its name ends in.
    @Test(
        arguments: [
            ("a.heic", [0, 0, 0, 24] + Array("ftypheic".utf8), "a HEIC picture"), ("a.jpg", [0, 0, 0, 24] + Array("ftypmif1".utf8), "a HEIC picture"),
            ("a.avif", [0, 0, 0, 24] + Array("ftypavif".utf8), "an AVIF picture"), ("a.psd", Array("8BPS\0\u{1}".utf8), "a Photoshop file"),
            ("a.svg", Array("<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>".utf8), "an SVG drawing"),
            ("a.png", Array("<svg/>".utf8), "an SVG drawing"), ("a.cr2", [0x49, 0x49, 0x2a, 0, 16, 0, 0, 0, 0x43, 0x52, 2, 0], "a camera's raw file"),
            ("a.NEF", [0x4d, 0x4d, 0, 0x2a, 0, 0, 0, 8], "a camera's raw file"), ("a.cr3", [0, 0, 0, 24] + Array("ftypcrx ".utf8), "a camera's raw file"),
            ("a.raf", Array("FUJIFILMCCD-RAW 0201".utf8), "a camera's raw file"), ("a.jxl", [0xff, 0x0a, 0, 0], "a JPEG XL picture"),
            ("a.jp2", [0, 0, 0, 12, 0x6a, 0x50, 0x20, 0x20], "a JPEG 2000 picture"), ("a.ico", [0, 0, 1, 0, 1, 0], "a Windows icon"),
            ("a.jpg", Array("<!DOCTYPE html><html>".utf8), "an HTML page"), ("a.jpg", Array("version https://git-lfs.github.com/spec/v1\n".utf8), "Git LFS"),
            ("a.jpg", [0x50, 0x4b, 3, 4, 0], "a zip archive"), ("a.jpg", Array("%PDF-1.7".utf8), "a PDF"), ("a.jpg", Array("hello".utf8), "it is text"),
            ("a.jpg", [1, 2, 3, 0], "begins like no picture"), ("a.jpg", [], "it is empty"), ("a.mp4", [0, 0, 0, 24] + Array("ftypisom".utf8), "a video"),
        ] as [(String, [UInt8], String)])
    func whatIsNotReadIsNamed(name: String, bytes: [UInt8], wanted: String) throws {
        do {
            _ = try RGBImage(Data(bytes), named: name)
            Issue.record("\(name) was taken for a picture")
        } catch {
            #expect("\(error)".contains(name), "\(error)")
            #expect("\(error)".contains(wanted), "\(error)")
        }
    }

    /// Cut short at any place, or with any byte changed, a file gives a picture or a sentence, never a crash.
    @Test(arguments: [
        "rgba.png", "progressive.jpg", "exif-6.jpg", "ycck.jpg", "alpha.webp", "animated.webp", "interlaced.gif", "rle8.bmp", "4.bmp", "lzw.tif", "cmyk.tif",
        "p3.ppm",
    ])
    func damagedFilesAreNamed(name: String) throws {
        let whole = [UInt8](try #require(Self.recorded[name]).file)
        for length in stride(from: 0, to: whole.count, by: max(1, whole.count / 40)) {
            do { _ = try RGBImage(Data(whole.prefix(length)), named: name) } catch { #expect("\(error)".contains(name)) }
        }
        var state: UInt64 = 9
        for _ in 0..<60 {
            var bytes = whole
            for _ in 0..<3 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes[Int(state >> 33) % bytes.count] = UInt8(truncatingIfNeeded: state >> 20)
            }
            do { _ = try RGBImage(Data(bytes), named: name) } catch { #expect("\(error)".contains(name)) }
        }
    }

    /// A picture that lacks pixels is not trained on with grey in their place.
    @Test(arguments: ["rgb.jpg", "progressive.jpg", "lossy.webp", "plain.gif", "24.bmp", "raw.tif", "p6.ppm"])
    func aPictureCutShortIsNoPicture(name: String) throws {
        let whole = try #require(Self.recorded[name]).file
        #expect(throws: ImageFileError.self) { try RGBImage(whole.prefix(whole.count * 4 / 5), named: name) }
    }

    /// Cut within its pixels, behind all that stands before them; without its end mark alone it is whole.
    @Test(arguments: ["rgb.jpg", "grey.jpg", "halved-colours.jpg", "restarts.jpg", "ycck.jpg", "arithmetic.jpg", "progressive.jpg"])
    func aJPEGCutInItsPixelsIsNoPicture(name: String) throws {
        let whole = try #require(Self.recorded[name]).file
        for missing in [4, 8, 12] {
            #expect { try RGBImage(Data(whole.dropLast(missing)), named: name) } throws: { "\($0)".contains("cut short") || name == "progressive.jpg" }
        }
        guard !["arithmetic.jpg", "progressive.jpg"].contains(name) else { return }
        #expect(try RGBImage(Data(whole.dropLast(2)), named: name).pixels == RGBImage(whole, named: name).pixels)
    }

    /// libjpeg decodes 8 bits here; other depths are refused in its words.
    @Test func aJPEGOfTwelveBitsIsNamed() throws {
        var bytes = [UInt8](try #require(Self.recorded["rgb.jpg"]).file)
        let frame = try #require(bytes.indices.dropLast().first { bytes[$0] == 0xff && bytes[$0 + 1] == 0xc0 })
        bytes[frame + 4] = 12
        #expect { try RGBImage(Data(bytes), named: "a.jpg") } throws: { "\($0)".contains("12") }
    }

    /// More pixels than are held in memory: a JPEG is halved while it is read. Behind its few blocks the picture is empty, which libjpeg warns of.
    @Test func aLargeJPEGIsReducedWhileItIsRead() throws {
        var bytes = [UInt8](try #require(Self.recorded["grey.jpg"]).file)
        let frame = try #require(bytes.indices.dropLast().first { bytes[$0] == 0xff && bytes[$0 + 1] == 0xc0 })
        bytes.replaceSubrange((frame + 5)..<(frame + 9), with: [0x23, 0x28, 0x23, 0x28])  // 9000 by 9000
        let image = try RGBImage(Data(bytes), named: "a.jpg")
        #expect(image.width == 4500)
        #expect(image.height == 4500)
        bytes.replaceSubrange((frame + 5)..<(frame + 9), with: [0xff, 0, 0xff, 0])
        #expect { try RGBImage(Data(bytes), named: "a.jpg") } throws: { "\($0)".contains("536 megapixels") }
    }

    /// The header alone must refuse it: 70,000 pixels a side would be 15 GB.
    @Test func hugeHeadersAreRefusedBeforeMemoryIsTaken() throws {
        var bitmap = [UInt8](try #require(Self.recorded["24.bmp"]).file)
        bitmap.replaceSubrange(18..<26, with: [0x70, 0x11, 1, 0, 0x70, 0x11, 1, 0])
        #expect { try RGBImage(Data(bitmap), named: "a.bmp") } throws: { "\($0)".contains("67 megapixels") }
        #expect { try RGBImage(Data("P6 70000 70000 255\n".utf8), named: "a.ppm") } throws: { "\($0)".contains("67 megapixels") }
        var gif = [UInt8](try #require(Self.recorded["plain.gif"]).file)
        gif.replaceSubrange(6..<10, with: [0xff, 0xff, 0xff, 0xff])
        #expect { try RGBImage(Data(gif), named: "a.gif") } throws: { "\($0)".contains("67 megapixels") }
    }

    /// A FIFO or a folder named like a picture holds nobody up.
    @Test func whatIsNoRegularFileIsNamed() throws {
        let folder = NSTemporaryDirectory() + "pictures-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder + "/b.png", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(mkfifo(folder + "/a.png", 0o600) == 0)
        #expect { try RGBImage(contentsOf: folder + "/a.png") } throws: { "\($0)".contains("no regular file") }
        #expect { try RGBImage(contentsOf: folder + "/b.png") } throws: { "\($0)".contains("it is a folder") }
        #expect { try RGBImage(contentsOf: folder + "/c.png") } throws: { "\($0)".contains("No such file") }
    }
}
