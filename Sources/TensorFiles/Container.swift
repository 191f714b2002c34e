import Foundation

/// What a file is, told by its bytes alone.
enum Container {
    case safetensors
    case torchArchive
    case torchLegacy
    case numpyArchive
    /// A file of another kind, named with what would be right.
    case other(String)
    case unknown

    init(_ file: MappedFile) {
        let start = file.bytes(0..<min(512, file.count))
        // The strict test first: the first bytes of a safetensors file are a length, and may look like anything.
        if Container.announcesHeader(file, start) {
            self = .safetensors
        } else if let other = Container.known(file, start) {
            self = .other(other)
        } else if start.starts(with: [0x50, 0x4b]) {
            self = NumPyArchive.begins(start) ? .numpyArchive : .torchArchive
        } else if Container.isPickle(start) {
            self = .torchLegacy
        } else if start.count < 9 || start[8] == UInt8(ascii: "{") {
            self = .safetensors
        } else {
            self = .unknown
        }
    }

    /// Eight bytes of a length that the file has, then the brace of its JSON.
    private static func announcesHeader(_ file: MappedFile, _ start: [UInt8]) -> Bool {
        guard start.count > 8, file.number(UInt64.self, at: 0) <= UInt64(min(SafetensorsHeader.longest, file.count - 8)) else { return false }
        return start[8...].first { ![0x20, 0x09, 0x0a, 0x0d].contains($0) } == UInt8(ascii: "{")
    }

    private static func isPickle(_ start: [UInt8]) -> Bool {
        start.starts(with: [0x80]) && start.count > 1 && start[1] <= 5 || start.starts(with: TorchLegacy.textMagic)
    }

    /// Kinds with a signature of their own.
    private static func known(_ file: MappedFile, _ start: [UInt8]) -> String? {
        if start.isEmpty { return "empty: its download or copy has not ended" }
        let text = String(decoding: start.prefix(256), as: UTF8.self)
        if text.hasPrefix("version https://git-lfs") {
            let size = text.split(separator: "\n").first { $0.hasPrefix("size ") }.map { " of \($0.dropFirst(5)) bytes" } ?? ""
            return "a Git LFS pointer that stands for a file\(size), not that file: fetch it with 'git lfs pull'"
        }
        for (signature, what) in signatures where start.starts(with: signature) { return what }
        if start.count > 262, start[257..<262].elementsEqual("ustar".utf8) { return "a tar archive: unpack it and give the file of weights in it" }
        let name = URL(filePath: file.path).lastPathComponent
        if start.count >= 3, start[0] == 0x08, start[2] == 0x12 || name.hasSuffix(".onnx") {
            return "an ONNX model, which is a graph; give the PyTorch or safetensors weights"
        }
        if name.contains(".data-0") || name.hasSuffix(".ckpt.meta") || endsAsTable(file) {
            return "a part of a TensorFlow checkpoint; give the PyTorch or safetensors weights"
        }
        if name.hasSuffix(".msgpack") { return "Flax's msgpack; give the PyTorch or safetensors weights" }
        let trimmed = text.drop { $0.isWhitespace || $0 == "\u{feff}" }
        let lower = trimmed.prefix(64).lowercased()
        if ["<!doctype", "<html", "<head", "<script"].contains(where: lower.hasPrefix) {
            return "a web page that was saved in the place of a file: what it was loaded from wants a login, or the file's own address"
        }
        if lower.hasPrefix("<?xml") || lower.hasPrefix("<error") { return "an XML answer of a server, not the file that was asked for" }
        if trimmed.hasPrefix("{") || trimmed.hasPrefix("[") && start.allSatisfy({ $0 >= 0x09 }) { return "JSON text, such as a configuration, without weights" }
        return nil
    }

    private static let signatures: [([UInt8], String)] = [
        ([0x1f, 0x8b, 0x08], "packed with gzip: unpack it first"), (Array("BZh".utf8), "packed with bzip2: unpack it first"),
        ([0xfd, 0x37, 0x7a, 0x58, 0x5a], "packed with xz: unpack it first"), ([0x28, 0xb5, 0x2f, 0xfd], "packed with zstd: unpack it first"),
        ([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], "a 7z archive: unpack it first"), (Array("Rar!".utf8), "a RAR archive: unpack it first"),
        (Array("GGUF".utf8), "GGUF, whose weights are quantised for another program; give the PyTorch or safetensors weights"),
        (Array("ggml".utf8), "GGML, whose weights are quantised for another program; give the PyTorch or safetensors weights"),
        ([0x89] + Array("HDF\r\n".utf8), "HDF5, as Keras saves it; give the PyTorch or safetensors weights"),
        ([0x93] + Array("NUMPY".utf8), "a single numpy array, without names; give a state dict"),
        (Array("SQLite format 3".utf8), "an SQLite database"), (Array("%PDF".utf8), "a PDF"), ([0x89] + Array("PNG".utf8), "a PNG picture"),
        ([0xff, 0xd8, 0xff], "a JPEG picture"), ([0x7f] + Array("ELF".utf8), "a program or library"),
        ([0x50, 0x4b, 0x05, 0x06], "a zip archive with nothing in it"),
    ]

    /// The last eight bytes of a table of TensorFlow's checkpoints.
    private static func endsAsTable(_ file: MappedFile) -> Bool {
        file.count >= 48 && file.number(UInt64.self, at: file.count - 8) == 0xdb47_7524_8b80_fb57
    }
}
