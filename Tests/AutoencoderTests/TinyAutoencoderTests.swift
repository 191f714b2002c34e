import Foundation
import GoldenFiles
import Autoencoder
import TensorFiles
import TensorMath
import Testing

/// diffusers' AutoencoderTiny, and an AutoencoderKL of 16 channels, with random weights, recorded by tools/goldens/vae_tiny.py.
@Suite final class TinyAutoencoderTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "tiny-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private static let recorded = ["vae-tiny-4", "vae-tiny-16", "vae-kl-16"]

    private func open(_ name: String) throws -> any ImageAutoencoder { try imageAutoencoder(TensorFile(path: GoldenPassTests.path(name))) }

    /// A recorded file with its tensors renamed or left out, and fields of its configuration changed; nil takes one out.
    private func rewritten(
        _ name: String, _ fields: [String: Any?] = [:], _ change: (String, [Int]) -> (String, [Int])? = { ($0, $1) }
    ) throws -> String {
        let file = try TensorFile(path: GoldenPassTests.path(name))
        let tensors = try file.entries.compactMap { entry in
            try change(entry.name, entry.shape).map { OutgoingTensor($0.0, shape: $0.1, try file.floats(entry.name)) }
        }
        var config = try #require(try JSONSerialization.jsonObject(with: Data((file.metadata["config"] ?? "").utf8)) as? [String: Any])
        for (field, value) in fields { config[field] = value }
        let path = folder.appending(path: "\(UUID().uuidString).safetensors").path
        let text = String(decoding: try JSONSerialization.data(withJSONObject: config), as: UTF8.self)
        try SafetensorsWriter.write(tensors, metadata: ["config": text], to: path)
        return path
    }

    @Test(arguments: recorded, GoldenPassTests.forms)
    func bothWaysAgree(name: String, form: WeightForm) throws {
        let autoencoder = try open(name), passes = try Golden(name), format = autoencoder.format
        let (latent, image) = (GoldenPassTests.image(0, of: passes, "passes.latent"), GoldenPassTests.image(0, of: passes, "passes.image"))
        // diffusers' decode is called with what the pipelines make of the network's latents.
        #expect(latent.values.contains { $0 > 6 })
        #expect(latent.values.contains { $0 < -6 })
        let network = latent.values.map { ($0 - format.shiftFactor) * format.scalingFactor }
        let decoder = try LatentDecoder(
            autoencoder, latentHeight: latent.sides[1], latentWidth: latent.sides[2], pool: ThreadPool(threads: 2), form)
        #expect(decoder.imageSize == (image.sides[1], image.sides[2]))
        for _ in 0..<2 { #expect(relativeError(decoder.decode(network.span), image.values) < 1e-5) }

        let input = GoldenPassTests.image(0, of: passes, "passes.input")
        let encoder = try LatentEncoder(autoencoder, height: input.sides[1], width: input.sides[2], pool: ThreadPool(threads: 2), form)
        for _ in 0..<2 { #expect(relativeError(encoder.encode(input.values.span).mean, passes["passes.encoded"]) < 1e-5) }
    }

    /// A tiny encoder knows one latent alone: a sample of it is the latent.
    @Test func aTinyEncoderHasNoVariance() throws {
        let encoder = try LatentEncoder(open("vae-tiny-4"), height: 8, width: 12, pool: ThreadPool(threads: 1))
        let posterior = encoder.encode([Float](repeating: 0.5, count: 3 * 96).span)
        #expect(posterior.mean.count == 4 * 6)
        #expect(posterior.logVariance.allSatisfy { exp($0 / 2) == 0 })
    }

    @Test func bfloat16StaysNear() throws {
        guard WeightForm.best(for: .bf16).dtype == .bf16 else { return }
        let autoencoder = try open("vae-tiny-4"), passes = try Golden("vae-tiny-4")
        let decoder = try LatentDecoder(autoencoder, latentHeight: 4, latentWidth: 6, pool: ThreadPool(threads: 2), .packed(.bf16))
        let error = relativeError(decoder.decode(passes["passes.latent"].span), passes["passes.image"])
        #expect(error < 0.03, "bfloat16 rounds to 8 bits: \(error)")
        #expect(error > 1e-4, "bfloat16 rounds to 8 bits: \(error)")
    }

    /// A file for pictures of other channels is no file for pictures.
    @Test func otherThanThreeChannelsAreRefused() throws {
        let file = try TensorFile(path: GoldenPassTests.path("vae-tiny-16")), first = "encoder.layers.0.weight"
        let tensors = try file.entries.map { entry in
            guard entry.name == first else { return OutgoingTensor(entry.name, shape: entry.shape, try file.floats(entry.name)) }
            return OutgoingTensor(first, shape: [4, 5, 3, 3], [Float](repeating: 0, count: 180))
        }
        let path = folder.appending(path: "five.safetensors").path
        try SafetensorsWriter.write(tensors, to: path)
        #expect(throws: AutoencoderError.unsupported(file: path, field: "in_channels", value: "5", wanted: "3")) { try AutoencoderTiny(path: path) }
    }

    /// Law 5 inside one image, in every form.
    @Test(arguments: Array(Set(GoldenPassTests.forms + [.best(for: .bf16)])))
    func threadsDoNotChangeABit(form: WeightForm) throws {
        let autoencoder = try open("vae-tiny-16"), passes = try Golden("vae-tiny-16")
        let latent = passes["passes.latent"], image = passes["passes.input"]
        let results = try [1, 2, 3].map { threads in
            let pool = ThreadPool(threads: threads)
            let decoder = try LatentDecoder(autoencoder, latentHeight: 4, latentWidth: 6, pool: pool, form)
            let encoder = try LatentEncoder(autoencoder, height: 8, width: 12, pool: pool, form)
            return decoder.decode(latent.span) + encoder.encode(image.span).mean
        }
        #expect(results[0] == results[1])
        #expect(results[0] == results[2])
    }

    @Test func tensorsAndFieldsGiveTheConfiguration() throws {
        let c = try AutoencoderTiny(path: GoldenPassTests.path("vae-tiny-4")).configuration
        #expect(c.encoder == AutoencoderTinyConfiguration.Half(channels: 5, blocks: [1, 0, 2]))
        #expect(c.decoder == AutoencoderTinyConfiguration.Half(channels: 4, blocks: [2, 1, 0]))
        let sixteen = try open("vae-tiny-16").format
        #expect(sixteen.latentChannels == 16)
        #expect(sixteen.downsampling == 2)
        #expect(sixteen.scalingFactor == 1.5305)
        #expect(sixteen.shiftFactor == 0.0609)
        let large = try open("vae-kl-16").format
        #expect(large == sixteen)
        // As the class has it where nothing is said.
        let silent = try rewritten("vae-tiny-16", ["scaling_factor": NSNull(), "shift_factor": nil, "act_fn": "ReLU", "num_decoder_blocks": NSNull()])
        let format = try AutoencoderTiny(path: silent).format
        #expect(format.scalingFactor == 1)
        #expect(format.shiftFactor == 0)
        // TAESD's shape, which the bench has: 2.4 million values.
        #expect(AutoencoderTinyConfiguration.taesd.tensorShapes.reduce(0) { $0 + $1.count } == 2_445_063)
    }

    @Test(arguments: [
        ("act_fn", "gelu" as any Sendable, "has act_fn gelu; only relu is known here"), ("act_fn", "silu", "only relu"),
        ("upsample_fn", "bilinear", "only nearest"),
        ("upsampling_scaling_factor", 4, "only 2"), ("_class_name", "AutoencoderKL", "only AutoencoderTiny"), ("latent_channels", 4, "those of 16"),
        ("out_channels", 4, "those of 3"), ("in_channels", 1, "those of 3"),
        ("num_decoder_blocks", [1, 2], "has num_decoder_blocks [1, 2], but its tensors are those of [1, 1]"),
        ("num_encoder_blocks", [1, 1], "those of [0, 1]"), ("decoder_block_out_channels", [6, 8], "those of [6, 6]"),
        ("encoder_block_out_channels", [4], "those of [4, 4]"), ("scaling_factor", 0, "only a positive number"), ("scaling_factor", "high", "cannot be read"),
    ])
    func fieldsThatChangeNumbersAreRefused(field: String, value: any Sendable, wanted: String) throws {
        let path = try rewritten("vae-tiny-16", [field: value])
        let error = #expect(throws: AutoencoderError.self) { try AutoencoderTiny(path: path) }
        #expect(error?.description.contains(wanted) == true, "\(String(describing: error))")
    }

    @Test func faultsOfTensorsAreNamed() throws {
        func refusal(_ change: (String, [Int]) -> (String, [Int])?) throws -> AutoencoderError? {
            let path = try rewritten("vae-tiny-4", [:], change)
            let error = #expect(throws: AutoencoderError.self) { _ = try imageAutoencoder(TensorFile(path: path)) }
            #expect(error?.description.contains(path) == true)
            return error
        }
        func missing(_ name: String) throws -> String? {
            guard case .missingTensor(_, let found, _) = try refusal({ $0 == name ? nil : ($0, $1) }) else { return nil }
            return found
        }
        for name in ["decoder.layers.3.conv.2.bias", "decoder.layers.9.bias", "encoder.layers.0.bias", "encoder.layers.4.conv.4.weight"] {
            #expect(try missing(name) == name)
        }
        // A level's convolution, and a block, without which the numbers have a gap.
        #expect(try missing("decoder.layers.8.weight") == "decoder.layers.7.conv.0.weight")
        #expect(try missing("decoder.layers.2.conv.0.weight") == "decoder.layers.2.conv.0.weight")
        let wrong = try refusal { ($0, $0 == "decoder.layers.5.weight" ? [4, 2, 3, 6] : $1) }
        guard case .wrongShape(_, "decoder.layers.5.weight", _, [4, 4, 3, 3]) = wrong else { return #expect(Bool(false), "\(String(describing: wrong))") }
        let stray = try refusal { ($0 == "passes.latent" ? "decoder.layers.9.conv.6.weight" : $0, $1) }
        guard case .unknownTensor(_, "decoder.layers.9.conv.6.weight") = stray else { return #expect(Bool(false), "\(String(describing: stray))") }
        // TAESD's own names, which its converter to diffusers changes.
        let other = try refusal { ($0.replacing("decoder.layers.", with: ""), $1) }
        guard case .notAnAutoencoder = other else { return #expect(Bool(false), "\(String(describing: other))") }
        #expect(other?.description.contains("AutoencoderTiny in diffusers'") == true)
        let uneven = try refusal { $0.hasPrefix("encoder.layers.") && !["0", "1"].contains($0.split(separator: ".")[2]) ? nil : ($0, $1) }
        guard case .unequalLevels(_, 1, 3) = uneven else { return #expect(Bool(false), "\(String(describing: uneven))") }
    }

    @Test func aDecoderAloneIsTakenAndEncodesNothing() throws {
        let path = try rewritten("vae-tiny-4", [:]) { $0.hasPrefix("encoder.") ? nil : ($0, $1) }
        let autoencoder = try imageAutoencoder(TensorFile(path: path))
        #expect(!autoencoder.hasEncoder)
        let latent = try Golden("vae-tiny-4")["passes.latent"], pool = ThreadPool(threads: 1)
        let image = try LatentDecoder(autoencoder, latentHeight: 4, latentWidth: 6, pool: pool).decode(latent.span)
        #expect(try image == LatentDecoder(open("vae-tiny-4"), latentHeight: 4, latentWidth: 6, pool: pool).decode(latent.span))
        #expect(throws: AutoencoderError.missingTensor(file: path, name: "encoder.layers.0.weight", shape: [])) {
            try LatentEncoder(autoencoder, height: 8, width: 8, pool: pool)
        }
        #expect(throws: AutoencoderError.badSides(height: 10, width: 8, multiple: 4)) {
            try LatentEncoder(self.open("vae-tiny-4"), height: 10, width: 8, pool: pool)
        }
    }
}
