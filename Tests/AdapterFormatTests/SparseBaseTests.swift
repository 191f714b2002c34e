import AdapterFormat
import Foundation
import TensorFiles
import Testing

/// Bases whose blocks' matrices are 2:4 sparse, in every form that they are read and written in.
@Suite final class SparseBaseTests {
    private let folder = NSTemporaryDirectory() + "sparse-base-\(UUID().uuidString)"
    private let dense, sparse: BaseFile

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let golden = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-tiny.safetensors").path
        let dense = try BaseFile(path: golden, heads: 4)
        var card = dense.card
        card.sparsity = BaseSparsity(pattern: TwoOfFour.name, saliency: "magnitude", dense: dense.digest)
        let path = folder + "/sparse.safetensors"
        try BaseFile.write(to: path, dense.configuration, card: card, vector: dense.vector, classes: dense.classes, as: .f32) { name in
            try dense.file.floats(name).enumerated().map { dense.configuration.isSparse(name) && $0 % 4 > 1 ? 0 : $1 }
        }
        self.dense = dense
        sparse = try BaseFile(path: path)
    }

    deinit { try? FileManager.default.removeItem(at: URL(filePath: folder)) }

    @Test func itIsAnotherBaseOfTheSameShape() throws {
        #expect(sparse.isSparse)
        #expect(!dense.isSparse)
        #expect(sparse.digest != dense.digest)
        #expect(sparse.configuration == dense.configuration)
        #expect(sparse.card.sparsity?.dense == dense.digest)
        for tensor in sparse.configuration.frozenTensors {
            let isSparse = sparse.configuration.isSparse(tensor.name)
            #expect(try sparse.file.entry(tensor.name).isTwoOfFour == isSparse)
            let values = try dense.file.floats(tensor.name).enumerated().map { isSparse && $0 % 4 > 1 ? 0 : $1 }
            #expect(try sparse.file.floats(tensor.name) == values)
        }
        #expect(sparse.configuration.frozenTensors.count { sparse.configuration.isSparse($0.name) } == 4 * sparse.configuration.depth)
    }

    /// The digest is of the values, whatever held them: compressed, or with their zeros.
    @Test func everyFormIsTheSameBase() throws {
        let forms = try [sparse.encoding(), sparse.exported(), sparse.exported(compressed: true)]
        for (index, form) in forms.enumerated() {
            let path = folder + "/form-\(index).safetensors"
            try SafetensorsWriter.write(form, to: path)
            let read = try BaseFile(path: path)
            #expect(read.digest == sparse.digest)
            #expect(read.isSparse)
            // With its zeros, as the reference's code reads it.
            #expect(try TensorFile(path: path)["blocks.0.attn.qkv.weight"] == nil || index == 1)
        }
        let rounded = folder + "/rounded.safetensors"
        try SafetensorsWriter.write(sparse.encoding(as: .bf16), to: rounded)
        #expect(try BaseFile(path: rounded).digest != sparse.digest)
        #expect(try BaseFile(path: rounded).isSparse)
    }

    /// A file of other software has the form and no card.
    @Test func aFileWithoutACardIsTakenForWhatItHolds() throws {
        let path = folder + "/outside.safetensors", file = try TensorFile(path: sparse.file.path)
        // Bits are made again from the values that they belong to.
        let matrices = try sparse.configuration.frozenTensors.filter { sparse.configuration.isSparse($0.name) }.flatMap { tensor in
            let entry = try sparse.file.entry(tensor.name)
            return OutgoingTensor.twoOfFour(tensor.name, shape: tensor.shape, as: .f32) { entry.floats($0) }
        }
        let others = file.entries.filter { entry in matrices.allSatisfy { $0.name != entry.name } }.map { OutgoingTensor($0, as: .f32) }
        #expect(matrices.count == 12 * sparse.configuration.depth)
        try SafetensorsWriter.write(others + matrices, metadata: ["format": "pt"], to: path)
        let read = try BaseFile(path: path, heads: 4, inputSize: 8, classes: 10)
        #expect(read.isSparse)
        #expect(read.card.sparsity == BaseSparsity(pattern: TwoOfFour.name))
        #expect(read.vector == sparse.vector)
    }

    /// A file that compressed-tensors wrote is read to the values of the dense one beside it, and written in its bytes.
    @Test func compressedTensorsOwnFileIsRead() throws {
        let containers = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/containers").path
        let dense = try BaseFile(path: containers + "/dit.safetensors", heads: 2), path = containers + "/dit-sparse-24.safetensors"
        let read = try BaseFile(path: path, heads: 2), file = try TensorFile(path: path)
        #expect(read.isSparse)
        for tensor in read.configuration.frozenTensors {
            let values = try dense.file.floats(tensor.name), own = try read.file.floats(tensor.name)
            guard read.configuration.isSparse(tensor.name) else {
                #expect(own == values)
                continue
            }
            for first in stride(from: 0, to: values.count, by: 4) {
                let four = values[first..<(first + 4)], least = four.map(abs).sorted()[2]
                #expect(Array(own[first..<(first + 4)]) == four.map { abs($0) >= least ? $0 : 0 })
            }
            let again = OutgoingTensor.twoOfFour(tensor.name, shape: tensor.shape, as: .f32) { Array(own[$0]) }
            let written = folder + "/matrix.safetensors"
            try SafetensorsWriter.write(again, to: written)
            let ours = try TensorFile(path: written), layer = String(tensor.name.dropLast(".weight".count))
            #expect(try ours.floats(layer + ".compressed") == file.floats(layer + ".compressed"))
            #expect(try ours.integers(layer + ".bitmask") == file.integers(layer + ".bitmask"))
            #expect(try ours.integers(layer + ".shape") == file.integers(layer + ".shape"))
        }
    }

    /// diffusers has no form for it: its folder has the zeros, and says that they are no accident.
    @Test func aDiffusersFolderComesBack() throws {
        let containers = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/containers").path
        let base = try BaseFile(path: containers + "/dit-sparse-24.safetensors", heads: 2), path = folder + "/diffusers"
        try DiffusersFolder.write(base, to: path)
        let back = try BaseFile(path: path)
        #expect(back.isSparse)
        #expect(back.digest == base.digest)
    }

    /// What says that it is sparse and is not, is not taken for either.
    @Test func aFalseWordIsRefused() throws {
        let path = folder + "/false.safetensors", file = try TensorFile(path: dense.file.path)
        try SafetensorsWriter.write(
            file.entries.map { OutgoingTensor($0, as: .f32) },
            metadata: file.metadata.merging(["sparsity_config": #"{"format":"dense","sparsity_structure":"2:4"}"#]) { $1 }, to: path)
        #expect(throws: AdapterFormatError.notTwoOfFour(file: path, name: "blocks.0.attn.qkv.weight")) { try BaseFile(path: path, heads: 4) }
        #expect(throws: AdapterFormatError.self) { try sparse.checkMayBecomeSparse() }
        try dense.checkMayBecomeSparse()
    }

    /// Law 2: an adapter of the dense base is refused, in a sentence that says what to do.
    @Test func anAdapterOfTheDenseBaseIsRefused() throws {
        let manifest = AdapterManifest(
            name: "a", baseDigest: dense.digest, layoutDigest: dense.layout.digest, trainableSet: TrainableSet(.difffit, dense.configuration),
            classes: dense.classes.names, prediction: dense.card.prediction, path: dense.card.path)
        let path = folder + "/adapter.safetensors"
        try AdapterFile.write(Adapter(manifest: manifest, vector: dense.vector, classes: dense.classes), layout: dense.layout, to: path)
        _ = try AdapterFile.read(path: path, base: dense)
        let error = AdapterFormatError.denseBase(file: path, base: dense.digest.short, sparse: sparse.digest.short)
        #expect(throws: error) { try AdapterFile.read(path: path, base: sparse) }
        #expect("\(error)".contains("adapterctl recover"))
    }

    /// Two cannot be taken of every four where a row is no whole number of fours.
    @Test func aRowOfAnotherWidthIsNamed() {
        var odd = dense.configuration
        #expect(odd.faultOfTwoOfFour == nil)
        odd.hiddenSize = 66
        #expect(odd.faultOfTwoOfFour?.contains("'blocks.0.attn.qkv.weight' have 66 weights") == true)
    }
}
