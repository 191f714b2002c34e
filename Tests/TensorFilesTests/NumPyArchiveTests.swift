import Foundation
import TensorFiles
import Testing

/// NumPy's archives, and folders with weights, in the place of a file of weights.
@Suite struct NumPyArchiveTests {
    /// The bytes of a `.npy` member.
    private func array(_ descr: String, _ shape: String, fortran: Bool = false, _ data: [UInt8], version: UInt8 = 1) -> [UInt8] {
        let text = "{'descr': '\(descr)', 'fortran_order': \(fortran ? "True" : "False"), 'shape': \(shape), }\n"
        let length = version == 1 ? TorchSample.bytes(UInt16(text.utf8.count)) : TorchSample.bytes(UInt32(text.utf8.count))
        return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + Array(text.utf8) + data
    }

    private let six = (1...6).flatMap { TorchSample.bytes(Float($0).bitPattern) }

    @Test func arraysAreReadInBothOrders() throws {
        let file = TorchSample.zip([
            ("c.npy", array("<f4", "(2, 3)", six)), ("f.npy", array("<f4", "(2, 3)", fortran: true, six, version: 2)),
            ("labels.npy", array("<i8", "(2,)", TorchSample.bytes(UInt64(7)) + TorchSample.bytes(UInt64(9)))), ("one.npy", array("|u1", "()", [5], version: 3)),
        ])
        try withFile(file, named: ".npz") { path in
            let file = try TensorFile(path: path)
            #expect(file.entries.map(\.name) == ["c", "f", "labels", "one"])
            #expect(file.entries.map(\.shape) == [[2, 3], [2, 3], [2], []])
            #expect(file.entries.map(\.dtype) == [.f32, .f32, .i64, .u8])
            #expect(try file.floats("c") == [1, 2, 3, 4, 5, 6])
            // Column by column in the file.
            #expect(try file.floats("f") == [1, 3, 5, 2, 4, 6])
            #expect(try file.integers("labels") == [7, 9])
            #expect(try file.integers("one") == [5])
        }
    }

    @Test func whatIsNoPlainArrayIsRefused() throws {
        let cases: [([UInt8], UInt16, String)] = [
            (array(">f4", "(2, 3)", six), 0, "unknown type '>f4'"), (array("|O", "(1,)", [0]), 0, "unknown type '|O'"),
            (array("<f4", "(2, 4)", six), 0, "24 bytes"), (array("<f4", "(9223372036854775807, 9)", six), 0, "damaged"),
            (array("<f4", "(2, 3)", six), 8, "is compressed"), (Array("NUMPY".utf8), 0, "damaged"),
            (array("<f4", "(99999999999999999999,)", six), 0, "24 bytes"),
        ]
        for (bytes, method, words) in cases {
            try withFile(TorchSample.zip([("a.npy", bytes)], method: method), named: ".npz") { path in
                let error = #expect(throws: TensorFileError.self) { try TensorFile(path: path) }
                #expect(error.map { "\($0)".contains(words) } == true, "\(words): \(error.map { "\($0)" } ?? "")")
            }
        }
        try withFile(TorchSample.zip([("a.npy", array("<f4", "(2, 3)", six)), ("b.txt", [1])])) { path in
            let error = #expect(throws: TensorFileError.self) { try TensorFile(path: path) }
            #expect(error.map { "\($0)".contains("'b.txt' is no array") } == true)
        }
    }

    @Test func aFolderIsTheWeightsInIt() throws {
        let folder = NSTemporaryDirectory() + "weights-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, value) in [("model.fp16", 2), ("model", 1), ("other", 3)] as [(String, Float)] {
            try SafetensorsWriter.write([OutgoingTensor("w", shape: [1], [value])], to: "\(folder)/\(name).safetensors")
        }
        let file = try TensorFile(path: folder)
        #expect(try file.floats("w") == [1])
        #expect(file.path == folder + "/model.safetensors")
    }
}
