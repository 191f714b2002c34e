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
        let records = records(bytes)
        #expect(records.count == 3)
        #expect(Array(records[0].suffix(15)) == [0x1A, 13] + Array("brain.Event:2".utf8))
        // session_log { status: START }, at which TensorBoard forgets the run's earlier events.
        #expect(Array(records[1].dropFirst(9)) == [0x10, 0, 0x3A, 2, 0x08, 1])
        // step 300 as a varint, then summary { value { tag: "loss" simple_value: 0.5 } }
        #expect(Array(records[2].dropFirst(9)) == [0x10, 0xAC, 0x02, 0x2A, 13, 0x0A, 11, 0x0A, 4] + Array("loss".utf8) + [0x15, 0, 0, 0, 0x3F])
    }

    /// The records of an event file, each sum looked at.
    private func records(_ bytes: [UInt8]) -> [[UInt8]] {
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
        return records
    }

    /// Steps of one curve in a folder's event files, in their order. Steps here are below 128, so one byte holds each.
    private func steps(of tag: String, in folder: String) throws -> [Int] {
        try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix("events.") }.sorted().flatMap { name in
            records([UInt8](try Data(contentsOf: URL(filePath: folder + "/" + name)))).filter { Data($0).range(of: Data(tag.utf8)) != nil }.map { Int($0[10]) }
        }
    }

    /// Stopped between two reports, killed behind its checkpoint, resumed, run again: TensorBoard has every step once.
    @Test func everyStepIsInTheEventFilesOnce() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/run"
        func begin(_ steps: Int, resumes: Bool) throws -> (RunFolder, TrainingRun) {
            let place = try RunPlace(path, resumes: resumes), run = try Small.run(Small.settings(steps: steps))
            if let state = place.state { try run.restore(from: state) }
            return (try RunFolder(place, run, configuration: [:], environment: [:]), run)
        }
        do {
            let (record, run) = try begin(12, resumes: false)
            for _ in 0..<5 { try run.advance() }
            try record.sample(run)
            try run.save(to: record.checkpoint)  // step 5, of which nothing was reported
            for _ in 0..<3 { try run.advance() }
            try record.report(run)  // step 8, and then it is killed
        }
        #expect(try steps(of: "loss/train", in: path) == Array(1...8))
        do {
            let (record, run) = try begin(12, resumes: true)
            #expect(run.step == 5)
            #expect(try steps(of: "loss/train", in: path) == Array(1...5))
            while !run.isFinished { try run.advance() }
            try record.report(run)
            try record.finish(run)
        }
        for tag in ["loss/train", "gradient norm", "learning rate"] { #expect(try steps(of: tag, in: path) == Array(1...12)) }
        #expect(try steps(of: "samples", in: path) == [5])
        do {
            let (record, run) = try begin(14, resumes: true)
            while !run.isFinished { try run.advance() }
            try record.report(run)
            try record.finish(run)
        }
        #expect(try steps(of: "loss/train", in: path) == Array(1...14))
        let (record, run) = try begin(3, resumes: false)
        while !run.isFinished { try run.advance() }
        try record.report(run)
        #expect(try steps(of: "loss/train", in: path) == Array(1...3))
        // What the finished run left is there still, apart.
        #expect(try steps(of: "loss/train", in: path + "/earlier-1") == Array(1...14))
        #expect(FileManager.default.fileExists(atPath: path + "/earlier-1/finished.safetensors"))
        #expect(FileManager.default.fileExists(atPath: path + "/earlier-1/samples/000005.png"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: path + "/samples").isEmpty)
    }

    /// Two runs with folders of their own would write one file, and one of them for nothing.
    @Test func anOutputIsOneRunsAtATime() throws {
        let folder = try TemporaryFolder()
        let output = folder.path + "/x.safetensors", link = folder.path + "/link.safetensors"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "x.safetensors")
        try Data("old".utf8).write(to: URL(filePath: output))
        do {
            let first = try RunPlace(folder.path + "/a", resumes: false, output: output)
            for other in [output, link] {
                let refusal = #expect(throws: TrainingError.outputHeld(other, process: Int(ProcessInfo.processInfo.processIdentifier))) {
                    try RunPlace(folder.path + "/b", resumes: false, output: other)
                }
                #expect(refusal?.description.contains("give another -o") == true)
            }
            withExtendedLifetime(first) {}
        }
        withExtendedLifetime(try RunPlace(folder.path + "/b", resumes: false, output: link)) {}
        #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder.path)) == ["a", "b", "x.safetensors", "link.safetensors"])
    }

    @Test func aFolderIsOneRunsAtATime() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/run"
        do {
            let first = try RunPlace(path, resumes: false)
            #expect(throws: TrainingError.held(folder: path, process: Int(ProcessInfo.processInfo.processIdentifier))) { try RunPlace(path, resumes: true) }
            let run = try Small.run(Small.settings())
            let record = try RunFolder(first, run, configuration: [:], environment: [:])
            try run.advance()
            try run.save(to: record.checkpoint)
        }
        // A run that was stopped is gone on from, or kept beside the new one when that is asked for.
        #expect(throws: TrainingError.unfinished(folder: path, step: 1, steps: 6)) { try RunPlace(path, resumes: false) }
        #expect(try RunPlace(path, resumes: true).state == path + "/checkpoint.safetensors")
        #expect(try RunPlace(path, resumes: false, restarts: true).movedTo == path + "/earlier-1")
        #expect(FileManager.default.fileExists(atPath: path + "/earlier-1/checkpoint.safetensors"))
        #expect(try RunPlace(path, resumes: false).movedTo == nil)
        // Files of others are left alone, or put aside where a run would write over them.
        try Data("mine".utf8).write(to: URL(filePath: path + "/loss.csv"))
        #expect(try RunPlace(path, resumes: false).movedTo == path + "/earlier-2")
        #expect(try String(contentsOfFile: path + "/earlier-2/loss.csv", encoding: .utf8) == "mine")
        try Data("{}".utf8).write(to: URL(filePath: path + "/config.json"))
        #expect(throws: TrainingError.otherContent(folder: path)) { try RunPlace(path, resumes: false) }
    }

    @Test func aShortRunAdaptsItsWarmUpAndSaysSo() {
        var settings = TrainingSettings(steps: 40, batch: 1, seed: 1, learningRate: 1)
        #expect(settings.usedWarmup == 4)
        #expect(settings.optimiser(at: 3).learningRate == 1)
        #expect(settings.optimiser(at: 0).learningRate == 0.25)
        #expect(
            settings.shortRunLine
                == "a short run of 40 steps: the learning rate rises over 4 steps in place of 100, the average spans its last 5 in place of 500")
        settings.steps = 1
        #expect(settings.usedWarmup == 1)
        #expect(settings.optimiser(at: 0).learningRate == 1)
        #expect(settings.shortRunLine?.contains("over 1 step in") == true)
        settings.steps = 1500
        #expect(settings.usedWarmup == 100)
        #expect(settings.shortRunLine == nil)
    }

    @Test func aRunLeavesItsFolder() throws {
        let folder = try TemporaryFolder()
        var settings = Small.settings(steps: 4)
        settings.validationShare = 0.3
        settings.validationInterval = 2
        let run = try Small.run(settings)
        let record = try RunFolder(RunPlace(folder.path, resumes: false), run, configuration: ["name": "x"], environment: ["threads": "2"])
        while !run.isFinished { try run.advance() }
        try record.report(run)
        try record.sample(run)
        for name in ["config.json", "environment.json", "data.json", "loss.csv", "loss.png", "samples/000004.png"] {
            #expect(FileManager.default.fileExists(atPath: folder.path + "/" + name), "\(name)")
        }
        let lines = try String(contentsOfFile: folder.path + "/loss.csv", encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        try #require(lines.count == 6)
        #expect(lines[0] == "step,loss,gradient_norm,held_out_error")
        #expect(lines[1].hasSuffix(","))
        #expect(!lines[2].hasSuffix(","))
        let sheet = try RGBImage(contentsOf: folder.path + "/samples/000004.png")
        #expect(sheet.width == 2 * (2 * 8 + 2))
        #expect(sheet.height == 2 * (2 * 8 + 2))
        let config = try String(contentsOfFile: folder.path + "/config.json", encoding: .utf8)
        #expect(config.contains("\"loss_weighting\" : \"constant\""))
        #expect(config.contains("\"seed\" : 7"))
        let data = try String(contentsOfFile: folder.path + "/data.json", encoding: .utf8)
        #expect(data.contains("\"held_out\" : 3"))
        #expect(data.contains("\(run.source.digest)"))
    }

    /// The same sheet from the same values, whatever else has run; another sheet from other values.
    @Test func sheetsCompare() throws {
        let run = try Small.run(Small.settings())
        let sheet = try SampleSheet(run.source.convention, classes: 2, seed: 1, steps: 3)
        func draw(threads: Int) throws -> RGBImage {
            try sheet.draw(
                run.averagedModel, TunableVector(run.average.vector.array, layout: run.layout),
                ClassTable(names: run.source.classNames, values: run.average.classTable.array), layout: run.layout, pool: ThreadPool(threads: threads))
        }
        let first = try draw(threads: 1)
        #expect(try draw(threads: 2) == first)
        for _ in 0..<3 { try run.advance() }
        #expect(try draw(threads: 1) != first)
    }
}
