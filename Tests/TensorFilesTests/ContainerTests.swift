import Foundation
import TensorFiles
import Testing

/// Files that are something else, each named for what it is.
@Suite struct ContainerTests {
    private func sentence(_ bytes: some Sequence<UInt8>, named suffix: String = "") throws -> String {
        try withFile(bytes, named: suffix) { path in (#expect(throws: TensorFileError.self) { try TensorFile(path: path) }).map { "\($0)" } ?? "" }
    }

    @Test func everyForeignFileIsNamed() throws {
        let S = TorchSample.self
        let pad = [UInt8](repeating: 0, count: 600)
        let files: [(String, [UInt8], String)] = [
            ("", [], "is empty"),
            (
                ".pt", Array("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 2700518528\n".utf8),
                "Git LFS pointer that stands for a file of 2700518528 bytes"
            ),
            (".pt", Array("\n<!DOCTYPE html><html><title>Sign in</title>".utf8), "a web page"),
            (".bin", Array("<?xml version=\"1.0\"?><Error/>".utf8), "an XML answer"),
            (".gz", [0x1f, 0x8b, 8, 0] + pad, "packed with gzip"), (".xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0] + pad, "packed with xz"),
            (".tar", [UInt8](repeating: 0x61, count: 257) + Array("ustar".utf8) + pad, "a tar archive"),
            (".gguf", Array("GGUF".utf8) + pad, "GGUF"), (".onnx", [8, 7, 0x12, 7] + Array("pytorch".utf8) + pad, "an ONNX model"),
            (".h5", [0x89] + Array("HDF\r\n\u{1a}\n".utf8) + pad, "HDF5"), (".npy", [0x93] + Array("NUMPY".utf8) + pad, "a single numpy array"),
            (".json", Array("{\n  \"num_layers\": 28, \"sample_size\": 32}".utf8), "JSON text"),
            (".ckpt.data-00000-of-00001", pad, "a part of a TensorFlow checkpoint"),
            (".msgpack", [0x81, 0xa6] + pad, "Flax's msgpack"), (".png", [0x89] + Array("PNG\r\n".utf8) + pad, "a PNG picture"),
            (".zip", S.zip([("photos/1.jpg", pad), ("photos/2.jpg", pad)]), "a zip archive with 2 files, such as 'photos/1.jpg'"),
            (".npz", S.zip([("arr_0.npy", pad)]), "'arr_0' is no array of numpy's"), (".zip", [0x50, 0x4b, 5, 6] + pad, "a zip archive with nothing in it"),
            (".pt", S.zip([("m/data.pkl", S.pickle([])), ("m/constants.pkl", []), ("m/code/__torch__.py", [])]), "a TorchScript program"),
            (".pkl", [0x80, 4, 0x95, 2, 0, 0, 0, 0, 0, 0, 0, 0x7d, 0x2e] + pad, "a Python pickle that torch.save did not write"),
            (".bin", pad, "neither safetensors nor"),
        ]
        for (suffix, bytes, wanted) in files {
            let said = try sentence(bytes, named: suffix)
            #expect(said.contains(wanted), "\(suffix): \(said)")
        }
        let folder = NSTemporaryDirectory() + "container-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let thrown = #expect(throws: TensorFileError.self) { try TensorFile(path: folder) }
        #expect(thrown.map { "\($0)".contains("it is a folder without") } == true)
    }
}

@Suite struct SafetensorsFormsTests {
    private func file(_ header: String, _ data: [UInt8]) -> [UInt8] { TorchSample.bytes(UInt64(header.utf8.count)) + header.utf8 + data }

    /// As the format's other readers take them.
    @Test func nullMetadataAndBlanksBeforeTheHeaderAreTaken() throws {
        let header = #"   {"__metadata__":null,"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]}}"#
        try withFile(file(header, [0, 0, 0x80, 0x3f])) { path in
            let file = try TensorFile(path: path)
            #expect(file.metadata.isEmpty)
            #expect(try file.floats("a") == [1])
            #expect(try file.entry("a").shape == [])
            #expect(try file.floats("e").isEmpty)
        }
        let broken = file(#"{"__metadata__":nul,"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, [])
        try withFile(broken) { path in #expect(throws: TensorFileError.self) { try TensorFile(path: path) } }
    }

    @Test(arguments: [
        ("F8_E4M3", 8), ("F8_E5M2", 8), ("F8_E8M0", 8), ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8), ("F6_E2M3", 6), ("F6_E3M2", 6), ("F4", 4), ("U16", 16),
        ("U32", 32),
        ("U64", 64), ("C64", 64), ("I16", 16), ("BOOL", 8),
    ])
    func everyTypeOfTheFormatIsKnown(type: String, bits: Int) throws {
        let size = 8 * bits / 8
        try withFile(file(#"{"a":{"dtype":"\#(type)","shape":[2,4],"data_offsets":[0,\#(size)]}}"#, [UInt8](repeating: 1, count: size))) { path in
            let file = try TensorFile(path: path), entry = try file.entry("a")
            #expect(entry.dtype.rawValue == type)
            #expect(entry.shape == [2, 4])
            #expect(try #require(entry.mapped).range.count == size)
            if entry.dtype.isInteger { #expect(try file.integers("a").count == 8) }
            if !entry.dtype.isInteger, !entry.dtype.isFloatingPoint { #expect(throws: TensorFileError.self) { try file.floats("a") } }
        }
        let odd = bits < 8 ? 1 : size + 1
        try withFile(file(#"{"a":{"dtype":"\#(type)","shape":[2,4],"data_offsets":[0,\#(odd)]}}"#, [UInt8](repeating: 1, count: odd))) { path in
            #expect(throws: TensorFileError.self) { try TensorFile(path: path) }
        }
    }

    /// Values of the OCP tables: largest, one, smallest, and what has no number.
    @Test func eightBitFloatsAndWideIntegersHaveTheirValues() throws {
        func header(_ type: String, _ count: Int, _ bytes: Int) -> String { #"{"a":{"dtype":"\#(type)","shape":[\#(count)],"data_offsets":[0,\#(bytes)]}}"# }
        try withFile(file(header("F8_E4M3", 6, 6), [0x7e, 0x38, 0x01, 0x80, 0xb8, 0x7f])) { path in
            let values = try TensorFile(path: path).floats("a")
            #expect(Array(values.prefix(5)) == [448, 1, 0x1p-9, -0.0, -1])
            #expect(values[3].sign == .minus)
            #expect(values[5].isNaN)
        }
        try withFile(file(header("F8_E5M2", 4, 4), [0x7b, 0x3c, 0x01, 0x7c])) { path in
            let values = try TensorFile(path: path).floats("a")
            #expect(values == [57344, 1, 0x1p-16, .infinity])
        }
        try withFile(file(header("U16", 2, 4), [0xff, 0xff, 1, 0])) { path in
            let values = try TensorFile(path: path).integers("a")
            #expect(values == [65535, 1])
        }
        try withFile(file(header("U64", 1, 8), [UInt8](repeating: 0xff, count: 8))) { path in
            #expect(throws: TensorFileError.wrongType(path: path, name: "a", type: "U64", wanted: "a number below 2^63")) {
                try TensorFile(path: path).integers("a")
            }
        }
    }
}
