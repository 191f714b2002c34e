import AdapterTraining
import Foundation
import ImageFiles
import TensorMath
import Testing

/// Data sets as they are published, each in a tiny copy: which pictures have which class, and which part they belong to.
@Suite struct DataSetTests {
    private struct Place: ~Copyable {
        let folder: TemporaryFolder
        var path: String { folder.path }

        init() throws { folder = try TemporaryFolder() }

        /// A picture of one shade of grey.
        func picture(_ file: String, _ shade: UInt8) throws { try write(file, Self.png(shade)) }
        func text(_ file: String, _ text: String) throws { try write(file, Data(text.utf8)) }

        func write(_ file: String, _ bytes: Data) throws {
            let place = URL(filePath: path + "/" + file)
            try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try bytes.write(to: place)
        }

        static func png(_ shade: UInt8) throws -> Data { try RGBImage(width: 8, height: 8, filledWith: (shade, shade, shade)).png() }

        func load(_ reference: String = "", _ selection: DataSelection = DataSelection()) throws -> TrainingData {
            let name = reference.hasSuffix(":") ? reference + path : path + reference
            try TrainingData.check(name)
            return try TrainingData.pictures(name, selection, size: 8, pool: ThreadPool(threads: 2))
        }
    }

    /// "class shade" of each picture, in order.
    private func contents(_ data: TrainingData) -> [String] {
        let row = Memory(capacity: 3 * 64).take(3 * 64)
        return (0..<data.count).map { index in
            data.copy(index, flipped: false, into: row)
            return "\(data.classNames[data.labels[index]]) \(Int(((row[0, 0] + 1) * 127.5).rounded()))"
        }
    }

    @Test func partsAreSplits() throws {
        let place = try Place()
        for (file, shade) in [("train/cat/1.png", 10), ("train/dog/1.png", 20), ("val/cat/1.png", 30), ("test/dog/1.png", 40)] {
            try place.picture(file, UInt8(shade))
        }
        let training = try place.load()
        #expect(contents(training) == ["cat 10", "dog 20"])
        #expect(try #require(training.folder).remarks.contains { $0.contains("'train' was taken of train, validation, test") })
        #expect(
            contents(try TrainingData.pictures(place.path, DataSelection(split: .test), size: 8, allowsEmpty: true, pool: ThreadPool(threads: 1))) == ["dog 40"]
        )
        #expect { try place.load("", DataSelection(split: .validation)) } throws: { "\($0)".contains("class 'dog' has no usable picture") }
        let plain = try Place()
        try plain.picture("cat/1.png", 10)
        #expect { try plain.load("", DataSelection(split: .test)) } throws: { "\($0)".contains("does not come in parts") }
    }

    @Test func tablesNameClasses() throws {
        let place = try Place()
        for shade in [10, 20, 30, 40] { try place.picture("images/\(shade).png", UInt8(shade)) }
        try place.text(
            "metadata.csv",
            "file_name,label,split,note\r\nimages/10.png,\"big, red\",train,x\r\nimages/20.png,blue,train,\"two\nlines\"\r\nimages/30.png,blue,test,\r\n")
        let data = try place.load()
        #expect(contents(data) == ["big, red 10", "blue 20"])
        #expect(data.summary == "metadata")
        #expect(
            contents(try TrainingData.pictures(place.path, DataSelection(split: .test), size: 8, allowsEmpty: true, pool: ThreadPool(threads: 1))) == [
                "blue 30"
            ])

        // A row without a class is named, not dropped.
        try place.text("metadata.csv", "file_name,label\nimages/10.png,red\nimages/20.png,\n")
        let partly = try place.load()
        #expect(contents(partly) == ["red 10"])
        #expect(try #require(partly.folder).skipped.contains { $0.file == "images/20.png" && $0.reason.contains("no class") })

        // Numbers are in their order, a table of lines as a table of commas, and one in each part.
        let lines = try Place()
        for (part, shade) in [("train", 10), ("train", 20), ("test", 30)] { try lines.picture("\(part)/\(shade).png", UInt8(shade)) }
        try lines.text("train/metadata.jsonl", "{\"file_name\": \"10.png\", \"label\": 10}\n{\"file_name\": \"20.png\", \"label\": 9}\n")
        try lines.text("test/metadata.jsonl", "{\"file_name\": \"30.png\", \"label\": 9}\n")
        let numbered = try lines.load()
        #expect(numbered.classNames == ["9", "10"])
        #expect(contents(numbered) == ["10 10", "9 20"])
    }

    @Test func faultyTablesAreRefused() throws {
        func refused(_ table: String, _ wanted: String) throws {
            let place = try Place()
            try place.picture("a.png", 10)
            try place.text("metadata.csv", table)
            #expect { try place.load() } throws: { "\($0)".contains(wanted) }
        }
        try refused("name,label\na.png,x\n", "no column file_name")
        try refused("file_name,text\na.png,x\n", "needs a column label")
        try refused("file_name,label\na.png\n", "row 1 has 1 values, the headings are 2")
        try refused("file_name,label,split\na.png,x,elsewhere\n", "the split 'elsewhere'")
        try refused("file_name,label\nb.png,x\n", "it is not there")
    }

    /// A ustar archive of these files.
    private func tar(_ files: [(name: String, bytes: Data)]) -> Data {
        var archive = Data()
        for (name, bytes) in files {
            var header = [UInt8](repeating: 0, count: 512)
            func put(_ text: String, at place: Int) { for (index, byte) in text.utf8.enumerated() { header[place + index] = byte } }
            put(name, at: 0)
            put("0000644\u{0}0000000\u{0}0000000\u{0}", at: 100)
            put(String(format: "%011o", bytes.count), at: 124)
            put("00000000000", at: 136)
            put("        0", at: 148)
            put("ustar\u{0}00", at: 257)
            put(String(format: "%06o\u{0} ", header.reduce(0) { $0 + Int($1) }), at: 148)
            archive += Data(header) + bytes + Data(count: (512 - bytes.count % 512) % 512)
        }
        return archive + Data(count: 1024)
    }

    @Test func shardsAreRead() throws {
        func picture(_ shade: UInt8) throws -> Data { try Place.png(shade) }
        func text(_ text: String) -> Data { Data(text.utf8) }
        let place = try Place()
        try place.write(
            "shards/0.tar",
            tar([("a/1.png", picture(10)), ("a/1.cls", text("1\n")), ("a/2.cls", text("0")), ("a/2.png", picture(20)), ("a/2.txt", text("a caption"))]))
        try place.write("shards/1.tar", tar([("3.json", text("{\"label\": 1}")), ("3.png", picture(30)), ("3.seg.png", picture(99))]))
        #expect(contents(try place.load("/shards")) == ["1 10", "0 20", "1 30"])
        #expect(contents(try place.load("/shards/0.tar")) == ["1 10", "0 20"])
        try place.text("shards/classnames.txt", "cat\ndog\n")
        let named = try place.load("/shards", DataSelection(classes: ["dog"]))
        #expect(contents(named) == ["dog 10", "dog 30"])
        #expect(named.summary == "WebDataset")

        // Without labels the folder in the archive is the class; parts are folders of shards.
        let parts = try Place()
        try parts.write("train/0.tar", tar([("cat/1.png", picture(10)), ("dog/1.png", picture(20))]))
        try parts.write("test/0.tar", tar([("cat/1.png", picture(30)), ("dog/1.png", picture(40))]))
        #expect(contents(try parts.load()) == ["cat 10", "dog 20"])
        #expect(contents(try parts.load("", DataSelection(split: .test))) == ["cat 30", "dog 40"])
        try place.write("cut.tar", tar([("a/1.png", picture(10))]).prefix(700))
        #expect { try place.load("/cut.tar") } throws: { "\($0)".contains("no whole tar archive") }
    }

    @Test func samplesWithoutAClassAreNamed() throws {
        let place = try Place()
        try place.write("x.tar", tar([("1.png", Place.png(10)), ("2.png", Place.png(20)), ("2.cls", Data("a".utf8))]))
        let data = try place.load("/x.tar")
        #expect(contents(data) == ["a 20"])
        #expect(try #require(data.folder).skipped.contains { $0.file == "x.tar/1.png" && $0.reason.contains("no class") })
    }

    /// Each layout as its publisher has it: the training part's pictures and the test part's.
    @Test func publishedLayoutsAreRead() throws {
        func check(_ name: String, _ training: [String], test: [String]?, _ make: (borrowing Place) throws -> Void) throws {
            let place = try Place()
            try make(place)
            let data = try place.load(name + ":")
            #expect(contents(data) == training, "\(name)")
            #expect(data.summary == name)
            let other = {
                try TrainingData.pictures("\(name):\(place.path)", DataSelection(split: .test), size: 8, allowsEmpty: true, pool: ThreadPool(threads: 1))
            }
            if let test { #expect(contents(try other()) == test, "\(name)") } else { #expect(throws: TrainingError.self) { try other() } }
        }
        try check("food-101", ["apple_pie 10", "baklava 20"], test: ["apple_pie 30"]) {
            try $0.text("food-101/meta/train.txt", "apple_pie/1\nbaklava/2\n")
            try $0.text("food-101/meta/test.txt", "apple_pie/3\n")
            for (file, shade) in [("apple_pie/1", 10), ("baklava/2", 20), ("apple_pie/3", 30)] { try $0.picture("food-101/images/\(file).jpg", UInt8(shade)) }
        }
        try check("sun397", ["abbey 10", "apartment_building-outdoor 20"], test: ["abbey 30"]) {
            try $0.text("Partitions/Training_01.txt", "/a/abbey/sun_1.jpg\n/a/apartment_building/outdoor/sun_2.jpg\n")
            try $0.text("Partitions/Testing_01.txt", "/a/abbey/sun_3.jpg\n")
            for (file, shade) in [("a/abbey/sun_1", 10), ("a/apartment_building/outdoor/sun_2", 20), ("a/abbey/sun_3", 30)] {
                try $0.picture("SUN397/\(file).jpg", UInt8(shade))
            }
        }
        try check("df20", ["Amanita muscaria 10", "Boletus edulis 20"], test: ["Boletus edulis 30"]) {
            try $0.text("DF20-train_metadata_PROD-2.csv", "image_path,species,class_id\n1.JPG,Amanita muscaria,0\n2.JPG,Boletus edulis,1\n")
            try $0.text("DF20-public_test_metadata_PROD-2.csv", "image_path,species,class_id\n3.JPG,Boletus edulis,1\n")
            for shade in 1...3 { try $0.picture("DF20_300/\(shade).JPG", UInt8(10 * shade)) }
        }
        try check("caltech-101", ["accordion 10", "airplanes 20"], test: nil) {
            for (name, shade) in [("accordion", 10), ("airplanes", 20), ("BACKGROUND_Google", 30)] {
                try $0.picture("101_ObjectCategories/\(name)/image_0001.jpg", UInt8(shade))
            }
        }
        try check("cub-200", ["001.Black_footed_Albatross 10", "002.Laysan_Albatross 30"], test: ["001.Black_footed_Albatross 20"]) {
            try $0.text("CUB_200_2011/images.txt", "1 001.Black_footed_Albatross/a.jpg\n2 001.Black_footed_Albatross/b.jpg\n3 002.Laysan_Albatross/c.jpg\n")
            try $0.text("CUB_200_2011/image_class_labels.txt", "1 1\n2 1\n3 2\n")
            try $0.text("CUB_200_2011/classes.txt", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n")
            try $0.text("CUB_200_2011/train_test_split.txt", "1 1\n2 0\n3 1\n")
            for (file, shade) in [("001.Black_footed_Albatross/a", 10), ("001.Black_footed_Albatross/b", 20), ("002.Laysan_Albatross/c", 30)] {
                try $0.picture("CUB_200_2011/images/\(file).jpg", UInt8(shade))
            }
        }
        try check("artbench-10", ["baroque 10", "ukiyo_e 20"], test: ["baroque 30"]) {
            for (file, shade) in [("train/baroque/a", 10), ("train/ukiyo_e/b", 20), ("test/baroque/c", 30)] {
                try $0.picture("artbench-10-imagefolder-split/\(file).jpg", UInt8(shade))
            }
        }
        for (name, file) in [("flowers-102", "jpg/image_0000"), ("stanford-cars", "cars_train/0000")] {
            try check(name, ["rose 10"], test: ["rose 20"]) {
                for shade in 1...2 { try $0.picture("\(file)\(shade).jpg", UInt8(10 * shade)) }
                try $0.text("metadata.csv", "file_name,label,split\n\(file)1.jpg,rose,train\n\(file)2.jpg,rose,test\n")
            }
        }
    }

    @Test func otherFoldersAreNoPublishedSets() throws {
        let place = try Place()
        try place.picture("jpg/image_00001.jpg", 10)
        #expect { try place.load("flowers-102:") } throws: { "\($0)".contains("python3 tools/prepare-data flowers-102") }
        for name in ["food-101", "sun397", "df20", "caltech-101", "cub-200", "artbench-10", "stanford-cars"] {
            #expect { try place.load(name + ":") } throws: { "\($0)".contains("is not laid out as \(name) is published") }
        }
    }

    @Test func aSelectionIsTaken() throws {
        let place = try Place()
        for name in ["a", "b", "c"] { for shade in 1...6 { try place.picture("\(name)/\(shade).png", UInt8(10 * shade)) } }
        let two = try place.load("", DataSelection(classes: ["c", "a"]))
        #expect(two.classNames == ["a", "c"])
        #expect(two.labels == [Int](repeating: 0, count: 6) + [Int](repeating: 1, count: 6))
        let few = try place.load("", DataSelection(perClass: 2, seed: 1)), again = try place.load("", DataSelection(perClass: 2, seed: 1))
        #expect(few.byClass.map(\.count) == [2, 2, 2])
        #expect(few.digest == again.digest)
        #expect(try place.load("", DataSelection(perClass: 2, seed: 2)).digest != few.digest)
        #expect(try place.load("", DataSelection(perClass: 60)).digest == place.load().digest)
        #expect { try place.load("", DataSelection(classes: ["d"])) } throws: { "\($0)".contains("no class 'd'; it has a, b, c") }
    }
}
