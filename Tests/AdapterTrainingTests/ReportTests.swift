import AdapterFormat
import AdapterTraining
import Foundation
import ImageFiles
import TensorMath
import Testing

@Suite struct ReportTests {
    /// Check values of RFC 3720 (iSCSI), masked as TFRecord does.
    @Test func recordsCarryMaskedCastagnoliSums() {
        func masked(_ crc: UInt32) -> UInt32 { (crc >> 15 | crc << 17) &+ 0xA282_EAD8 }
        #expect(EventFile.maskedCRC(Data(repeating: 0, count: 32)) == masked(0x8A91_36AA))
        #expect(EventFile.maskedCRC(Data(repeating: 0xFF, count: 32)) == masked(0x62A8_AB43))
        #expect(EventFile.maskedCRC(Data(0..<32)) == masked(0x46DD_794E))
        #expect(EventFile.maskedCRC(Data("123456789".utf8)) == masked(0xE306_9283))
    }

    /// Two events as TensorBoard's own writer frames them: lengths, sums and fields at their places.
    @Test func anEventFileIsFramedRecordsOfEvents() throws {
        let folder = try TemporaryFolder()
        let events = try EventFile(folder: folder.path, now: Date(timeIntervalSince1970: 1000))
        try events.scalar("loss", 0.5, step: 300)
        let name = try #require(FileManager.default.contentsOfDirectory(atPath: folder.path).first)
        #expect(name.hasPrefix("events.out.tfevents.1000."))
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: folder.path + "/" + name)))
        var at = 0, records: [[UInt8]] = []
        while at < bytes.count {
            let length = bytes[at..<(at + 8)].reversed().reduce(0) { $0 << 8 | Int($1) }
            func sum(_ start: Int) -> UInt32 { bytes[start..<(start + 4)].reversed().reduce(0) { $0 << 8 | UInt32($1) } }
            #expect(sum(at + 8) == EventFile.maskedCRC(Data(bytes[at..<(at + 8)])))
            let data = Array(bytes[(at + 12)..<(at + 12 + length)])
            #expect(sum(at + 12 + length) == EventFile.maskedCRC(Data(data)))
            records.append(data)
            at += 16 + length
        }
        #expect(records.count == 2)
        #expect(Array(records[0].suffix(15)) == [0x1A, 13] + Array("brain.Event:2".utf8))
        // step 300 as a varint, then summary { value { tag: "loss" simple_value: 0.5 } }
        #expect(Array(records[1].dropFirst(9)) == [0x10, 0xAC, 0x02, 0x2A, 13, 0x0A, 11, 0x0A, 4] + Array("loss".utf8) + [0x15, 0, 0, 0, 0x3F])
    }

    @Test func aRunLeavesItsFolder() throws {
        let folder = try TemporaryFolder()
        var settings = Small.settings(steps: 4)
        settings.validationShare = 0.3
        settings.validationInterval = 2
        let run = try Small.run(settings)
        let record = try RunFolder(folder.path, run, configuration: ["name": "x"], environment: ["lanes": "2"])
        while !run.isFinished { try run.advance() }
        try record.report(run)
        try record.sample(run, SampleSheet(run.objective.convention, classes: 2, seed: 1, steps: 2))
        for name in ["config.json", "environment.json", "data.json", "loss.csv", "loss.png", "samples/000004.png"] {
            #expect(FileManager.default.fileExists(atPath: folder.path + "/" + name), "\(name)")
        }
        let lines = try String(contentsOfFile: folder.path + "/loss.csv", encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 6 && lines[0] == "step,loss,gradient_norm,held_out_error" && lines[1].hasSuffix(",") && !lines[2].hasSuffix(","))
        let sheet = try RGBImage(contentsOf: folder.path + "/samples/000004.png")
        #expect(sheet.width == 2 * (2 * 8 + 2) && sheet.height == 2 * (2 * 8 + 2))
        let config = try String(contentsOfFile: folder.path + "/config.json", encoding: .utf8)
        #expect(config.contains("\"loss_weighting\" : \"constant\"") && config.contains("\"seed\" : 7"))
        let data = try String(contentsOfFile: folder.path + "/data.json", encoding: .utf8)
        #expect(data.contains("\"held_out\" : 3") && data.contains("\(run.data.digest)"))
    }

    /// The same sheet from the same values, whatever else has run; another sheet from other values.
    @Test func sheetsCompare() throws {
        let run = try Small.run(Small.settings())
        let sheet = try SampleSheet(run.objective.convention, classes: 2, seed: 1, steps: 3)
        func draw(lanes: Int) throws -> RGBImage {
            try sheet.draw(run.averagedModel, run.averagedVector, run.averagedClasses, layout: run.layout, pool: ComputePool(lanes: lanes))
        }
        let first = try draw(lanes: 1)
        #expect(try draw(lanes: 2) == first)
        for _ in 0..<3 { try run.advance() }
        #expect(try draw(lanes: 1) != first)
    }
}
