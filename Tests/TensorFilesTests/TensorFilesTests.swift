import Foundation
import TensorFiles
import Testing

private func goldens() throws -> [String] {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens").path
    return try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".safetensors") }.sorted().map { "\(folder)/\($0)" }
}

private func file(header: String, data: [UInt8] = [], length: UInt64? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    let count = length ?? UInt64(text.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * UInt64($0))) } + text + data
}

@Suite struct SafetensorsTests {
    @Test func everyRecordedFileOpensAndItsTensorsFillIt() throws {
        let files = try goldens()
        #expect(files.count >= 10)
        for path in files {
            let file = try TensorFile(path: path)
            #expect(!file.entries.isEmpty)
            let last = try #require(file.entries.last?.mapped)
            #expect(last.range.upperBound == last.file.count)
        }
    }

    /// Bytes that Python's safetensors 0.4 writes for {"b": float32 [[1, -2.5]], "a": int64 [7]} with metadata {"k": "v"}.
    @Test func aPythonFileReads() throws {
        let header =
            #"{"__metadata__":{"k":"v"},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}  "#
        let data: [UInt8] = [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]
        try withFile(file(header: header, data: data)) { path in
            let file = try TensorFile(path: path)
            #expect(file.metadata == ["k": "v"])
            #expect(try file.floats("b") == [1, -2.5])
            #expect(try file.integers("a") == [7])
            #expect(throws: TensorFileError.noTensor(path: path, name: "c")) { try file.floats("c") }
            #expect(throws: TensorFileError.wrongType(path: path, name: "a", type: "I64", wanted: "a floating-point type")) { try file.floats("a") }
        }
    }

    @Test(arguments: [
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "not what shape"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "should begin at 0"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#, 6, "should begin at 4"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8, "describes 4"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 0, "lies at bytes 0 to 4"),
        (#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4, "unknown type 'F31'"),
        (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4, "twice"),
        (#"{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}}"#, 4, "not what shape"),
        (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "a whole number"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "should begin at 0"),
        (#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4, "dtype, shape and two data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4, "not 'x'"),
        (#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}"#, 4, "below 2^63"),
        (#"["a"]  "#, 0, "neither safetensors nor"),
        (#"{} x"#, 0, "the end of the header"),
    ])
    func eachLieOfAHeaderHasItsOwnSentence(header: String, bytes: Int, sentence: String) throws {
        try withFile(file(header: header, data: [UInt8](repeating: 0, count: bytes))) { path in
            do {
                _ = try TensorFile(path: path)
                Issue.record("'\(header)' was taken")
            } catch {
                #expect("\(error)".contains(sentence), "\(error)")
            }
        }
    }

    @Test func lengthsBeyondTheFileAreRefusedBeforeMemoryIsTaken() throws {
        try withFile([1, 2, 3]) { path in #expect(throws: TensorFileError.tooShort(path: path, bytes: 3)) { try TensorFile(path: path) } }
        try withFile(file(header: "{}", length: .max)) { path in
            #expect(throws: TensorFileError.headerTooLong(path: path, header: .max, bytes: 10)) { try TensorFile(path: path) }
        }
    }

    @Test func whatIsWrittenReadsBackAndIsAlwaysTheSameBytes() throws {
        let values: [Float] = [1, -0.0, .leastNonzeroMagnitude, 3.25, 1e30, -7]
        let tensors = [
            OutgoingTensor("half \"quoted\" \\ ü", shape: [6], values, as: .bf16), OutgoingTensor("numbers", shape: [2], integers: [-5, 1 << 40]),
            OutgoingTensor("values", shape: [2, 3], values),
        ]
        let data = SafetensorsWriter.encoded(tensors, metadata: ["b": "2", "a": "1\n"])
        #expect(data == SafetensorsWriter.encoded(tensors, metadata: ["a": "1\n", "b": "2"]))
        try withFile(data) { path in
            let file = try TensorFile(path: path)
            #expect(file.metadata == ["a": "1\n", "b": "2"])
            #expect(try file.floats("values").map(\.bitPattern) == values.map(\.bitPattern))
            #expect(try file.floats("half \"quoted\" \\ ü") == values.map(BFloat16.rounded))
            #expect(try file.integers("numbers") == [-5, 1 << 40])
            let starts = try file.entries.map { try #require($0.mapped).range.lowerBound }
            #expect(zip(starts, file.entries).allSatisfy { $0 % $1.dtype.size == 0 })
            #expect(starts[0] % 64 == 0)
        }
    }

    @Test func noMutationCrashesTheReader() throws {
        let sound = [UInt8](
            SafetensorsWriter.encoded(
                [OutgoingTensor("a", shape: [2, 2], [1, 2, 3, 4]), OutgoingTensor("b", shape: [3], integers: [1, 2, 3])], metadata: ["k": "v"]))
        var mutations = Mutations(seed: 42)
        var refused = 0
        for _ in 0..<4000 {
            try withFile(mutations.mutated(sound)) { path in
                do {
                    let file = try TensorFile(path: path)
                    for entry in file.entries where entry.dtype.isFloatingPoint { _ = try file.floats(entry.name) }
                } catch { refused += 1 }
            }
        }
        #expect(refused > 2000)
    }
}

@Suite struct BFloat16Tests {
    @Test func everyPatternSurvivesAndRoundingIsToTheNearestEven() {
        for bits in UInt16.min...UInt16.max {
            let value = BFloat16.value(bits)
            if value.isNaN { #expect(BFloat16.value(BFloat16.bits(value)).isNaN) } else { #expect(BFloat16.bits(value) == bits) }
        }
        #expect(BFloat16.bits(Float(bitPattern: 0x3f80_8000)) == 0x3f80)
        #expect(BFloat16.bits(Float(bitPattern: 0x3f81_8000)) == 0x3f82)
        #expect(BFloat16.bits(Float(bitPattern: 0x3f80_8001)) == 0x3f81)
        #expect(BFloat16.value(BFloat16.bits(.greatestFiniteMagnitude)) == .infinity)
        #expect(BFloat16.value(BFloat16.bits(Float(bitPattern: 0x7f80_0001))).isNaN)
    }
}
