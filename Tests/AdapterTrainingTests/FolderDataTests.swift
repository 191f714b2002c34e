import AdapterTraining
import Foundation
import ImageFiles
import TensorMath
import Testing

/// Folders as people have them: what is used, what is passed over, what is refused, and what is said.
@Suite struct FolderDataTests {
    /// A folder under construction; names are bytes, as a file system has them.
    private struct Place: ~Copyable {
        let folder: TemporaryFolder
        var path: String { folder.path + "/data" }

        init() throws {
            let made = try TemporaryFolder()
            try FileManager.default.createDirectory(atPath: made.path + "/data", withIntermediateDirectories: true)
            folder = made
        }

        /// A picture of one shade of grey, in a folder made for it.
        func picture(_ file: String, shade: UInt8 = 90) throws {
            let place = URL(filePath: path + "/" + file)
            try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try RGBImage(width: 9, height: 8, filledWith: (shade, shade, shade)).png().write(to: place)
        }

        func text(_ file: String, _ content: String = "x") throws {
            let place = URL(filePath: path + "/" + file)
            try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(content.utf8).write(to: place)
        }

        func link(_ file: String, to target: String) { #expect(symlink(target, path + "/" + file) == 0) }

        /// A class folder whose name is these bytes, with one picture.
        func bytes(_ name: [UInt8], shade: UInt8 = 90) throws {
            try picture("made/a.png", shade: shade)
            var target = Array(path.utf8) + [0x2f] + name
            target.append(0)
            #expect(target.withUnsafeBytes { rename(path + "/made", $0.baseAddress!.assumingMemoryBound(to: CChar.self)) } == 0)
        }

        func load(allowsEmpty: Bool = false) throws -> TrainingData {
            try TrainingData.pictures(path, size: 8, allowsEmpty: allowsEmpty, pool: ThreadPool(threads: 2))
        }
    }

    private func shades(_ data: TrainingData) -> [Int] {
        let row = Memory(capacity: 3 * 64).take(3 * 64)
        return (0..<data.count).map { index in
            data.copy(index, flipped: false, into: row)
            return Int(((row[0, 0] + 1) * 127.5).rounded())
        }
    }

    /// The first level is the class, whatever lies between it and a picture; names are in order, and endings say nothing.
    @Test func nestedFoldersBelongToTheirFirstLevel() throws {
        let place = try Place()
        try place.picture("b/2/x.png", shade: 40)
        try place.picture("b/1.PNG", shade: 20)
        try place.picture("a/deep/er/picture", shade: 10)
        try place.picture("b/1/y.jpg", shade: 30)
        let data = try place.load()
        #expect(data.classNames == ["a", "b"])
        #expect(data.labels == [0, 1, 1, 1])
        #expect(shades(data) == [10, 20, 30, 40])
        let report = try #require(data.folder)
        #expect(report.skipped.isEmpty)
        #expect(report.passedOver.isEmpty)
        #expect(report.remarks == ["4 folders lie inside of classes, such as 'a/deep': the first level is the class, here 'a'"])
    }

    @Test func linksAreFollowedAndLoopsEnd() throws {
        let place = try Place()
        try place.picture("a/x.png", shade: 10)
        try place.picture("store/far.png", shade: 20)
        try place.picture("store/more/one.png", shade: 30)
        #expect(rename(place.path + "/store", place.folder.path + "/store") == 0)
        place.link("a/far.png", to: "../../store/far.png")
        place.link("b", to: "../store")
        place.link("a/round", to: ".")
        place.link("a/up", to: "..")
        place.link("a/upper", to: "../..")
        place.link("a/lost.png", to: "nowhere")
        let data = try place.load()
        #expect(data.classNames == ["a", "b"])
        #expect(data.labels == [0, 0, 1, 1])
        #expect(shades(data) == [20, 10, 20, 30])
        #expect(data.folder?.skipped.map(\.file) == ["a/lost.png"])
        #expect(data.folder?.skipped.first?.reason == "it is a link to nothing")
    }

    @Test func whatIsNoPictureIsPassedOverInOneLine() throws {
        let place = try Place()
        for name in ["a", "b"] { try place.picture("\(name)/x.png") }
        for file in [
            "a/x.txt", "b/x.txt", "a/x.json", "a/.DS_Store", "b/Thumbs.db", "a/notes", "__MACOSX/a/._x.png", ".git/config", "readme.md", "a/@eaDir/x.png",
        ] { try place.text(file) }
        let data = try place.load()
        #expect(data.classNames == ["a", "b"])
        #expect(data.count == 2)
        #expect(data.folder?.skipped == [])
        #expect(data.folder?.passedOverLine == "10 files that are no pictures were passed over: 5 hidden, 2 .txt, 1 without an ending, 1 .json, 1 .md")
    }

    /// Pictures that cannot be used stand in data.json with their reasons.
    @Test func whatCannotBeUsedIsKeptWithItsReason() throws {
        let place = try Place()
        for name in ["a", "b"] { try place.picture("\(name)/x.png") }
        try place.text("a/page.jpg", "<!DOCTYPE html><html></html>")
        try place.text("a/drawing.svg", "<svg/>")
        try place.text("a/empty.png", "")
        #expect(mkfifo(place.path + "/a/pipe.png", 0o600) == 0)
        let data = try place.load()
        let skipped = try #require(data.folder).skipped
        #expect(skipped.map(\.file) == ["a/drawing.svg", "a/empty.png", "a/page.jpg", "a/pipe.png"])
        for (entry, reason) in zip(skipped, ["an SVG drawing", "it is empty", "an HTML page", "no regular file"]) { #expect(entry.reason.contains(reason)) }
        let settings = Small.settings(steps: 1)
        let run = try Small.run(settings, data: TrainingData(data, images: [0, 1]))
        let record = try RunFolder(RunPlace(place.folder.path + "/run", resumes: false), run, configuration: [:], environment: [:])
        let facts = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: record.path + "/data.json"))) as? [String: Any])
        #expect(facts["skipped_count"] as? Int == 4)
        #expect(facts["passed_over_count"] as? Int == 0)
        #expect((facts["skipped"] as? [[String: String]])?.map { $0["file"] } == skipped.map(\.file))
        #expect((facts["remarks"] as? [String])?.isEmpty == true)
    }

    @Test func aClassWithoutAPictureIsAnErrorOrStaysUntrained() throws {
        let place = try Place()
        try place.picture("full/x.png")
        try place.text("only-broken/a.jpg", "no picture")
        try FileManager.default.createDirectory(atPath: place.path + "/nothing", withIntermediateDirectories: true)
        #expect {
            try place.load()
        } throws: {
            "\($0)".hasPrefix("class 'nothing' has no usable picture; class 'only-broken' has no usable picture ('only-broken/a.jpg': it is text)")
                && "\($0)".contains("--allow-empty")
        }
        let data = try place.load(allowsEmpty: true)
        #expect(data.classNames == ["full", "nothing", "only-broken"])
        #expect(data.byClass.map(\.count) == [1, 0, 0])
        #expect(
            data.folder?.remarks == [
                "class 'nothing' has no usable picture and stays untrained", "class 'only-broken' has no usable picture and stays untrained",
            ])
        try FileManager.default.removeItem(atPath: place.path + "/full")
        #expect { try place.load(allowsEmpty: true) } throws: { "\($0)".contains("no usable picture in its sub-folders ('only-broken/a.jpg': it is text)") }
    }

    /// Names that are not UTF-8 are read as Latin-1; NFD names become NFC; the files are found all the same.
    @Test func classNamesAreWhatAUserTypes() throws {
        let place = try Place()
        try place.bytes(Array("caf".utf8) + [0xe9], shade: 10)
        try place.bytes(Array("ne\u{301}flier".utf8), shade: 20)
        try place.bytes(Array("rose".utf8), shade: 30)
        let data = try place.load()
        #expect(data.classNames.map { Array($0.utf8) } == ["caf\u{e9}", "n\u{e9}flier", "rose"].map { Array($0.utf8) })
        #expect(shades(data) == [10, 20, 30])
        #expect(data.folder?.remarks == ["the name of folder 'café' is not UTF-8; it was read as Latin-1"])
        // In UTF-8 beside it, the same name is a second folder of one class.
        try place.picture("caf\u{e9}/a.png")
        #expect(throws: TrainingError.sameName("caf\u{e9}", folder: place.path)) { try place.load() }
    }

    @Test func namesThatDifferInCapitalsAreSaid() throws {
        let place = try Place()
        for name in ["Rose", "lily", "rose"] { try place.picture("\(name)/x.png") }
        let data = try place.load()
        #expect(data.classNames == ["Rose", "lily", "rose"])
        #expect(data.folder?.remarks == ["'Rose' and 'rose' differ only in capitals: they are 2 classes"])
    }

    @Test func loosePicturesAndSingleClassesAreSaid() throws {
        let place = try Place()
        try place.picture("jpg/x.png")
        try place.picture("loose.png")
        try place.text("imagelabels.mat", "MATLAB 5.0 MAT-file")
        let data = try place.load()
        #expect(
            data.folder?.remarks == [
                "1 picture lies beside the class folders and was not used: move each into the folder of its class",
                "one class only, 'jpg' (1 picture): labels in 'imagelabels.mat' are not read; put the pictures of each class into a sub-folder of its name to train classes",
            ])
        let wrapped = try Place()
        for name in ["cat", "dog"] { try wrapped.picture("pets/\(name)/x.png") }
        #expect(
            try wrapped.load().folder?.remarks == [
                "one class only, 'pets' (2 pictures): its folders, such as 'pets/cat', are not classes; give --data '\(wrapped.path)/pets' to make them so"
            ])
    }

    /// What is no folder of class folders is refused with what would be right.
    @Test func otherShapesAreRefused() throws {
        func refused(_ wanted: String..., make: (borrowing Place) throws -> Void) throws {
            let place = try Place()
            try make(place)
            #expect { try place.load() } throws: { error in wanted.allSatisfy { "\(error)".contains($0) } }
        }
        try refused("has no sub-folders") { _ in }
        try refused("holds 2 pictures and no sub-folders", "/CLASS'") { for name in ["a", "b"] { try $0.picture("\(name).png") } }
        let place = try Place()
        try place.text("x.zip", "PK\u{3}\u{4}")
        try place.picture("x.png")
        for (file, wanted) in [("x.zip", "(a zip archive)"), ("x.png", "is a picture"), ("missing", "there is no folder")] {
            #expect { try TrainingData.pictures(place.path + "/" + file, size: 8, pool: ThreadPool(threads: 1)) } throws: { "\($0)".contains(wanted) }
            #expect { try TrainingData.check(place.path + "/" + file) } throws: { "\($0)".contains(wanted) }
        }
        #expect(throws: TrainingError.noFolder("")) { try TrainingData.check("") }
        // Parts that have pictures of their own are classes.
        let classes = try Place()
        for name in ["train/x.png", "test/x.png"] { try classes.picture(name) }
        #expect(try classes.load().classNames == ["test", "train"])
    }

    /// The same picture stored upright, and turned with the tag that says so, is one picture; without the tag it is another.
    @Test func turnedPicturesAreSeenUpright() throws {
        let recorded = PictureFile.turned
        func load(_ bytes: Data) throws -> [Float] {
            let place = try Place()
            try place.picture("a/placeholder.png")
            try bytes.write(to: URL(filePath: place.path + "/a/placeholder.png"))
            let data = try place.load()
            let row = Memory(capacity: 3 * 64).take(3 * 64)
            data.copy(0, flipped: false, into: row)
            return row.array
        }
        #expect(try load(recorded.tagged) == load(recorded.upright))
        #expect(try load(recorded.untagged) != load(recorded.upright))
    }
}

/// One small picture in three files.
private enum PictureFile {
    static var turned: (upright: Data, tagged: Data, untagged: Data) {
        var upright = RGBImage(width: 8, height: 12), stored = RGBImage(width: 12, height: 8)
        for y in 0..<12 {
            for x in 0..<8 {
                // Orientation 6: stored turned left, to be turned right.
                for channel in 0..<3 {
                    let value = UInt8((x * 30 + y * 7 * (channel + 1)) % 256)
                    upright.pixels[(y * 8 + x) * 3 + channel] = value
                    stored.pixels[((7 - x) * 12 + y) * 3 + channel] = value
                }
            }
        }
        let plain = (try? stored.png()) ?? Data()
        let block: [UInt8] = [0x4d, 0x4d, 0, 0x2a, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]
        let name = Array("eXIf".utf8)
        var chunk = Data([0, 0, 0, UInt8(block.count)] + name + block)
        chunk += withUnsafeBytes(of: checksum(name + block).bigEndian) { Data($0) }
        // Behind the signature and the header.
        return ((try? upright.png()) ?? Data(), plain.prefix(33) + chunk + plain.dropFirst(33), plain)
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(UInt32(0xffff_ffff)) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xedb8_8320 : value >> 1 }
        }
    }
}
