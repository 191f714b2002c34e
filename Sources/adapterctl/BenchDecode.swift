import AdapterFormat
import ArgumentParser
import DiTModel
import Foundation
import Autoencoder
import TensorFiles
import TensorMath

struct BenchDecode: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode", abstract: "Seconds and memory of an autoencoder of Stable Diffusion's shape, or of TAESD's.",
        discussion: "Example: adapterctl bench decode --pixels 512 --precision bf16")
    @Option(help: "Side of the image.") var pixels = 256
    @Option(help: "f32 or bf16.") var precision = "bf16"
    @Option(help: "An autoencoder's file in place of random weights.") var vae: String?
    @Option(help: "full or tiny: Stable Diffusion's AutoencoderKL, or TAESD (default: what --vae holds, else full).") var decoder: String?
    @Flag(help: "The way from the image to the latent.") var encode = false
    @Option var runs = 3
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let timing: Timing
        let precision: String
        let decoder: DecoderKind
        /// Processor time of one run over all threads, which a busy machine changes less than the time that passes.
        let processorSeconds: Double
        /// Of the whole process, from opening the file on.
        let peakBytes: Int
        /// Reading the file and packing its weights.
        let loadSeconds: Double
    }

    func run() throws {
        guard (8...2048).contains(pixels), pixels % 8 == 0, (1...10_000).contains(runs) else {
            throw Failure.usage("--pixels is a multiple of 8 between 8 and 2048, --runs at least 1")
        }
        let dtype = try dtypeNamed(precision, "--precision")
        let form = WeightForm.best(for: dtype)
        if form.dtype != dtype { note("this machine has no \(precision) convolutions: f32 in their place") }
        let scratch = vae == nil ? FileManager.default.temporaryDirectory.appending(path: "vae-\(UUID().uuidString).safetensors").path : nil
        defer { if let scratch { try? FileManager.default.removeItem(atPath: scratch) } }
        let decoder = try decoder.map(decoderNamed)
        if let scratch { try RandomAutoencoder.write(decoder ?? .full, to: scratch) }
        ProcessMemory.resetPeak()
        let start = ContinuousClock.now
        let (kind, work) = try pass(vae ?? scratch ?? "", decoder, form)
        let load = ContinuousClock.now - start
        let name = "\(encode ? "encode" : "decode") of one \(pixels) px image, \(kind.rawValue), \(precision)"
        work()
        let before = clock()
        let timing = Timing(name, runs: runs, warmup: 0, work)
        let processor = Double(clock() - before) / Double(CLOCKS_PER_SEC) / Double(runs)
        let result = Result(
            timing: timing, precision: precision, decoder: kind, processorSeconds: processor, peakBytes: ProcessMemory.peakBytes,
            loadSeconds: load / .seconds(1))
        try output.report("bench decode", result) {
            """
            \(timing.line)
            \(readable(seconds: processor)) of processor time, \(readable(bytes: result.peakBytes)) at most, loaded in \(readable(seconds: result.loadSeconds))
            \(timing.machine), \(form == .plain ? "no oneDNN" : "oneDNN")
            """
        }
    }

    private func pass(_ path: String, _ decoder: DecoderKind?, _ form: WeightForm) throws -> (DecoderKind, () -> Void) {
        let autoencoder = try imageAutoencoder(TensorFile(path: path)), kind: DecoderKind = autoencoder is AutoencoderTiny ? .tiny : .full
        if let decoder, decoder != kind { throw Failure.usage("'\(path)' holds a \(kind.rawValue) autoencoder, not a \(decoder.rawValue) one") }
        let format = autoencoder.format, side = pixels / format.downsampling
        var values = [Float](repeating: 0, count: encode ? 3 * pixels * pixels : format.latentChannels * side * side)
        Philox(seed: 1, stream: 3).normals(into: &values)
        if encode {
            let encoder = try LatentEncoder(autoencoder, height: pixels, width: pixels, pool: ThreadPool(), form)
            return (kind, { _ = encoder.encode(values.span) })
        }
        let latentDecoder = try LatentDecoder(autoencoder, latentHeight: side, latentWidth: side, pool: ThreadPool(), form)
        return (kind, { _ = latentDecoder.decode(values.span) })
    }
}

/// Files of full size with random weights, since the published ones may not be at hand.
struct BenchFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "files", abstract: "Write a base and its autoencoders with random weights of full size.",
        discussion: "Example: adapterctl bench files --model DiT-XL/2 --folder out/random")
    @Option(help: "Where base.safetensors, vae.safetensors and tiny-vae.safetensors go.") var folder: String
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let c = try model.configuration()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let base = folder + "/base.safetensors", vae = folder + "/vae.safetensors", tiny = folder + "/tiny-vae.safetensors"
        let layout = TunableLayout(c)
        let classes = ClassTable(
            names: (0..<c.numClasses).map(String.init), values: RandomAutoencoder.values((c.numClasses + 1) * c.hiddenSize, scale: 0.02, stream: 1))
        var stream: UInt64 = 1
        let shapes = Dictionary(uniqueKeysWithValues: c.frozenTensors.map { ($0.name, $0.count) })
        try BaseFile.write(
            to: base, c, card: .dit, vector: model.randomVector(layout, seed: 1), classes: classes, as: .bf16
        ) { name in
            stream += 1
            return RandomAutoencoder.values(shapes[name] ?? 0, scale: 0.02, stream: stream)
        }
        try RandomAutoencoder.write(.full, to: vae)
        try RandomAutoencoder.write(.tiny, to: tiny)
        try output.report("bench files", ["base": base, "vae": vae, "tiny_vae": tiny]) { "\(base), \(vae) and \(tiny) written" }
    }
}

/// An autoencoder of Stable Diffusion's shape, or TAESD's, with random weights.
enum RandomAutoencoder {
    static func write(_ kind: DecoderKind, to path: String) throws {
        let shapes = kind == .full ? AutoencoderConfiguration.stableDiffusion.tensorShapes : AutoencoderTinyConfiguration.taesd.tensorShapes
        let tensors = shapes.enumerated().map { index, tensor in
            let count = tensor.count
            guard tensor.shape.count > 1 else {
                let isNormWeight = tensor.name.contains("norm") && tensor.name.hasSuffix("weight")
                return OutgoingTensor(tensor.name, shape: tensor.shape, [Float](repeating: isNormWeight ? 1 : 0, count: count))
            }
            // As large as keeps what goes through of one size.
            let scale = 1 / Float(count / tensor.shape[0]).squareRoot()
            return OutgoingTensor(tensor.name, shape: tensor.shape, values(count, scale: scale, stream: UInt64(index)), as: .bf16)
        }
        try SafetensorsWriter.write(tensors, to: path)
    }

    static func values(_ count: Int, scale: Float, stream: UInt64) -> [Float] {
        var values = [Float](repeating: 0, count: count)
        Philox(seed: 1, stream: stream).normals(into: &values)
        for index in values.indices { values[index] *= scale }
        return values
    }
}

/// What the system says of this process's memory.
enum ProcessMemory {
    /// The most that was resident since the start or the last reset.
    static var peakBytes: Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }
        return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }

    static func resetPeak() { try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8) }
}
