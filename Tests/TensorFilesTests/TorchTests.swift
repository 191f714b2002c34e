import Foundation
import TensorFiles
import Testing

@Suite struct TorchTests {
    /// Each of these was written by torch itself from the values of `dit.safetensors`.
    @Test(arguments: [
        ("dit.pt", nil), ("dit-module.pt", nil), ("dit-train.pt", "ema"), ("dit-legacy.pt", nil), ("dit-strided.pt", nil),
        ("dit-parameters.pt", "state_dict"), ("dit-f64.pt", nil), ("dit-sharded.safetensors.index.json", nil),
    ])
    func everyContainerGivesTheSameBytes(name: String, section: String?) throws {
        let (file, truth) = (try TensorFile(path: container(name)), try TensorFile(path: container("dit.safetensors")))
        #expect(file.section == section)
        #expect(Set(file.entries.map(\.name)) == Set(truth.entries.map(\.name)))
        for entry in truth.entries {
            #expect(file[entry.name]?.shape == entry.shape)
            #expect(try file.floats(entry.name).map(\.bitPattern) == truth.floats(entry.name).map(\.bitPattern), "\(entry.name)")
            #expect(try file.entry(entry.name).hasSameValues(as: entry))
        }
    }

    @Test func halvesAreConverted() throws {
        let truth = try TensorFile(path: container("dit.safetensors"))
        let (half, brain) = (try TensorFile(path: container("dit-f16.pt")), try TensorFile(path: container("dit-bf16.pt")))
        for entry in truth.entries {
            let values = try truth.floats(entry.name)
            #expect(try half.floats(entry.name) == values.map { Float(Float16($0)) })
            #expect(try brain.floats(entry.name) == values.map(BFloat16.rounded))
        }
    }

    @Test func aViewReadsItsElementsInAnyPiecesAndFromAnyPlace() throws {
        let file = try TensorFile(path: container("dit-strided.pt")), truth = try TensorFile(path: container("dit.safetensors"))
        let transposed = try file.entry("blocks.0.mlp.fc1.weight")
        #expect(transposed.mapped == nil)
        let values = try truth.floats("blocks.0.mlp.fc1.weight")
        for range in [0..<1, 5..<40, 15..<17, 1000..<1024, 7..<7] { #expect(transposed.floats(range) == Array(values[range])) }
        let shared = try #require(try file.entry("blocks.1.attn.qkv.bias").mapped)
        #expect(shared.range.count == 48 * 4)
    }

    @Test func stackedTensorsAreOneAfterTheOther() throws {
        let file = try TensorFile(path: container("dit-strided.pt"))
        let parts = try ["blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.weight"].map(file.entry)
        let stacked = try #require(TensorEntry.stacked("both", parts))
        #expect(stacked.shape == [128, 16])
        #expect(stacked.mapped == nil)
        #expect(stacked.floats(1000..<1100) == Array((parts[0].floats(0..<1024) + parts[1].floats(0..<1024))[1000..<1100]))
        #expect(TensorEntry.stacked("no", [parts[0], try file.entry("pos_embed")]) == nil)
    }

    @Test(arguments: [false, true])
    func anArchiveByHandReads(wide: Bool) throws {
        let transposed = SampleTensor(name: "t", strides: [1, 2]), last = SampleTensor(name: "last", offset: 3, shape: [], strides: [])
        let empty = SampleTensor(name: "empty", offset: 4, shape: [0, 5], strides: [5, 1])
        try withFile(TorchSample.archive(TorchSample.pickle([SampleTensor(), transposed, last, empty]), wide: wide)) { path in
            let file = try TensorFile(path: path)
            #expect(try file.floats("a") == [1, 2, 3, 4])
            #expect(try file.floats("t") == [1, 3, 2, 4])
            #expect(try file.floats("last") == [4])
            #expect(try file.floats("empty").isEmpty)
            #expect(try file.entry("empty").mapped != nil)
        }
    }

    /// What it does not know it does not run.
    @Test func unknownClassesAreSkippedAndNothingIsCalled() throws {
        let S = TorchSample.self
        let call = S.global("os", "system") + S.tuple(S.text("touch /tmp/tensorfiles-was-run")) + [0x52]
        let object = S.global("argparse", "Namespace") + [0x29, 0x81, 0x7d, 0x28] + S.text("lr") + S.integer(1) + [0x75, 0x62]
        let pickle = [0x80, 2, 0x7d, 0x28] + S.text("run") + call + S.text("args") + object + S.text("a") + S.tensor(SampleTensor()) + [0x75, 0x2e]
        let names = try withFile(S.archive(pickle)) { try TensorFile(path: $0).entries.map(\.name) }
        #expect(names == ["a"])
        #expect(!FileManager.default.fileExists(atPath: "/tmp/tensorfiles-was-run"))
    }

    private static func lies() -> [(file: [UInt8], sentence: String)] {
        let S = TorchSample.self
        let tensors: [(SampleTensor, String)] = [
            (SampleTensor(offset: 1), "reaches beyond its storage of 4 elements"), (SampleTensor(offset: -1), "reaches beyond"),
            (SampleTensor(shape: [-1, 2]), "reaches beyond"), (SampleTensor(strides: [-2, 1]), "reaches beyond"),
            (SampleTensor(strides: [.max, 1]), "reaches beyond"), (SampleTensor(shape: [.max, .max]), "reaches beyond"),
            (SampleTensor(shape: [1 << 40, 1], strides: [0, 0]), "strides repeat elements"),
            (SampleTensor(shape: [2], strides: [2, 1]), "not given by storage, offset, size and stride"),
            (SampleTensor(storage: "7"), "no storage '7'"), (SampleTensor(count: 5), "too few for 5"), (SampleTensor(count: .max), "too few for"),
            (SampleTensor(count: -1), "too few for -1"), (SampleTensor(type: "ComplexFloatStorage"), "unknown type 'ComplexFloatStorage'"),
        ]
        let sound = S.pickle([SampleTensor()])
        let archive = S.archive(sound)
        let nested = [UInt8](repeating: 0x28, count: 100_000)
        return tensors.map { (S.archive(S.pickle([$0.0])), $0.1) } + [
            (S.archive(Array(sound.dropLast())), "cut short"), (S.archive([0x80, 2, 0x2e]), "its stack is empty"),
            (S.archive([0x80, 2, 0x68, 9, 0x2e]), "memo has no entry 9"), (S.archive([0x80, 2, 0x82, 1, 0x2e]), "opcode 130"),
            (S.archive([0x80, 2, 0x58, 0xff, 0xff, 0xff, 0xff, 0x2e]), "a length of 4294967295 reaches beyond"),
            (S.archive([0x80, 2, 0x4e, 0x2e]), "holds no dictionary of tensors"),
            (S.archive([0x80, 2, 0x7d, 0x28] + S.text("epoch") + S.integer(3) + [0x75, 0x2e]), "it holds 'epoch'"),
            (S.archive(nested), "cut short"), (S.archive([UInt8](repeating: 0x4e, count: 1_100_000)), "more than 1048576 steps"),
            (Array(archive.dropLast()), "it is cut short"), (S.zip([("a/data.pkl", sound)]), "no storage '0'"),
            (S.zip([("a/data.pkl", sound)], method: 8), "is compressed"), (S.zip([("a/b", sound)]), "a zip archive with 1 file"),
            (S.zip([("a/data.pkl", sound), ("a/data.pkl", sound)]), "two members"),
            (S.zip([("a/data.pkl", sound), ("a/byteorder", Array("big".utf8))]), "its byte order is 'big'"),
            ([0x80, 2, 0x7d, 0x2e] + [UInt8](repeating: 0, count: 20), "a Python pickle that torch.save did not write"),
        ]
    }

    @Test func eachLieOfATorchFileHasItsOwnSentence() throws {
        for (bytes, sentence) in Self.lies() {
            try withFile(bytes) { path in
                do {
                    _ = try TensorFile(path: path)
                    Issue.record("a file with this fault was taken: \(sentence)")
                } catch { #expect("\(error)".contains(sentence), "\(error)") }
            }
        }
    }

    @Test func aLegacyFileThatIsCutShortIsRefusedAtEveryLength() throws {
        let sound = [UInt8](try Data(contentsOf: URL(filePath: container("dit-legacy.pt"))))
        for length in [14, 16, 200, 2000, sound.count / 2, sound.count - 1] {
            try withFile(sound.prefix(length)) { path in #expect(throws: TensorFileError.self) { try TensorFile(path: path) } }
        }
    }

    @Test func anIndexNamesFilesOfItsOwnFolderOnly() throws {
        for (map, sentence) in [
            (#"{"a": "../x.safetensors"}"#, "not a file of the same folder"), (#"{"a": ""}"#, "not a file of the same folder"),
            (#"{"a": 1}"#, "no JSON object with a 'weight_map'"), (#"{"a": "none.safetensors"}"#, "cannot be read"),
        ] {
            try withFile(#"{"weight_map": \#(map)}"#.utf8, named: ".index.json") { path in
                do {
                    _ = try TensorFile(path: path)
                    Issue.record("'\(map)' was taken")
                } catch { #expect("\(error)".contains(sentence), "\(error)") }
            }
        }
    }

    /// A short run of what tools/fuzz does for longer.
    @Test func noMutationCrashesTheReader() throws {
        let archive = TorchSample.archive(TorchSample.pickle([SampleTensor(), SampleTensor(name: "t", strides: [1, 2])]))
        let legacy = [UInt8](try Data(contentsOf: URL(filePath: container("dit-legacy.pt"))).prefix(6000))
        var mutations = Mutations(seed: 7)
        var (read, refused) = (0, 0)
        for round in 0..<4000 {
            try withFile(mutations.mutated(round % 4 == 0 ? legacy : archive)) { path in
                do {
                    let file = try TensorFile(path: path)
                    for entry in file.entries where entry.dtype.isFloatingPoint { _ = try file.floats(entry.name) }
                    read += 1
                } catch { refused += 1 }
            }
        }
        #expect(read > 50, "\(read) read, \(refused) refused")
        #expect(refused > 1500, "\(read) read, \(refused) refused")
    }
}
