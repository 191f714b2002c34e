import Foundation
import GoldenFiles
import Autoencoder
import TensorFiles
import TensorMath
import Testing

/// What files are taken, under which names, and what is said of the others.
@Suite final class AutoencoderFileTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "autoencoder-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// The small recorded model, its tensors renamed, reshaped or left out.
    private func rewritten(
        _ name: String, metadata: [String: String]? = nil, _ change: (String, [Int]) -> (String, [Int])?
    ) throws -> String {
        let file = try TensorFile(path: GoldenPassTests.path("vae-small"))
        let tensors = try file.entries.compactMap { entry in
            try change(entry.name, entry.shape).map { OutgoingTensor($0.0, shape: $0.1, try file.floats(entry.name)) }
        }
        let path = folder.appending(path: name).path
        try SafetensorsWriter.write(tensors, metadata: metadata ?? file.metadata, to: path)
        return path
    }

    private func decode(_ path: String) throws -> [Float] {
        let autoencoder = try AutoencoderKL(path: path)
        let decoder = try LatentDecoder(autoencoder, latentHeight: 8, latentWidth: 8, pool: ThreadPool(threads: 1))
        let latent = Array(try Golden("vae-small-passes")["latent"][..<256])
        return decoder.decode(latent.span)
    }

    @Test func everyNamingGivesTheSameBytes() throws {
        let present = try decode(GoldenPassTests.path("vae-small"))
        #expect(try decode(GoldenPassTests.path("vae-small-compvis")) == present)
        let old = try rewritten("old.safetensors") { name, shape in
            let pairs = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]
            return (pairs.reduce(name) { $0.replacing($1.0, with: $1.1) }, shape)
        }
        #expect(try decode(old) == present)
        let bare = try rewritten("decoder.safetensors") { name, shape in
            name.hasPrefix("encoder.") || name.hasPrefix("quant_conv.") ? nil : (name, shape)
        }
        #expect(try decode(bare) == present)
        #expect(throws: AutoencoderError.self) {
            try LatentEncoder(AutoencoderKL(path: bare), height: 32, width: 32, pool: ThreadPool(threads: 1))
        }
    }

    @Test func shapesAndFieldsGiveTheConfiguration() throws {
        let autoencoder = try AutoencoderKL(path: GoldenPassTests.path("vae-small"))
        let c = autoencoder.configuration
        #expect(c.blockOutChannels == [8, 8, 16])
        #expect(c.layersPerBlock == 1)
        #expect(c.latentChannels == 4)
        #expect(c.inChannels == 3)
        #expect(c.downsampling == 4)
        #expect(c.scalingFactor == 0.18215)
        #expect(c.normNumGroups == 4)
        #expect(c.hasMidAttention)
        #expect(autoencoder.hasEncoder)
        let given = try rewritten("given.safetensors", metadata: ["config": #"{"norm_num_groups":4,"scaling_factor":0.5,"shift_factor":0.25}"#]) { ($0, $1) }
        let fields = try AutoencoderKL(path: given).configuration
        #expect(fields.scalingFactor == 0.5)
        #expect(fields.shiftFactor == 0.25)
        // Beside the file, as diffusers keeps it.
        try Data(#"{"norm_num_groups":8,"_class_name":"AutoencoderKL","scaling_factor":null}"#.utf8).write(to: folder.appending(path: "config.json"))
        let beside = try rewritten("beside.safetensors", metadata: [:]) { ($0, $1) }
        #expect(try AutoencoderKL(path: beside).configuration.normNumGroups == 8)
    }

    @Test func faultsAreNamed() throws {
        let none = try rewritten("none.safetensors") { name, shape in name.hasPrefix("decoder.conv_in") ? nil : (name, shape) }
        #expect(throws: AutoencoderError.notAnAutoencoder(file: none)) { try AutoencoderKL(path: none) }
        let groups = try rewritten("groups.safetensors", metadata: [:]) { ($0, $1) }
        #expect(throws: AutoencoderError.unknownGroups(file: groups, channels: 16, groups: 32)) { try AutoencoderKL(path: groups) }
        let name = "decoder.mid_block.resnets.0.conv1.weight"
        let missing = try rewritten("missing.safetensors") { $0 == name ? nil : ($0, $1) }
        #expect(throws: AutoencoderError.missingTensor(file: missing, name: name, shape: [16, 16, 3, 3])) { try AutoencoderKL(path: missing) }
        let wrong = try rewritten("wrong.safetensors") { ($0, $0 == name ? [16, 48, 3, 1] : $1) }
        #expect(throws: AutoencoderError.wrongShape(file: wrong, name: name, shape: [16, 48, 3, 1], expected: [16, 16, 3, 3])) {
            try AutoencoderKL(path: wrong)
        }
        let file = try TensorFile(path: GoldenPassTests.path("vae-small"))
        let extra = folder.appending(path: "extra.safetensors").path
        let tensors = try file.entries.map { OutgoingTensor($0.name, shape: $0.shape, try file.floats($0.name)) }
        try SafetensorsWriter.write(
            tensors + [OutgoingTensor("decoder.conv_mid.bias", shape: [1], [0]), OutgoingTensor("loss.logvar", shape: [1], [0])],
            metadata: file.metadata, to: extra)
        #expect(throws: AutoencoderError.unknownTensor(file: extra, name: "decoder.conv_mid.bias")) { try AutoencoderKL(path: extra) }
        let act = try rewritten("act.safetensors", metadata: ["config": #"{"act_fn":"relu"}"#]) { ($0, $1) }
        #expect(throws: AutoencoderError.unsupported(file: act, field: "act_fn", value: "relu", wanted: "silu")) { try AutoencoderKL(path: act) }
        let autoencoder = try AutoencoderKL(path: GoldenPassTests.path("vae-small"))
        #expect(throws: AutoencoderError.badSides(height: 30, width: 32, multiple: 4)) {
            try LatentEncoder(autoencoder, height: 30, width: 32, pool: ThreadPool(threads: 1))
        }
    }
}
