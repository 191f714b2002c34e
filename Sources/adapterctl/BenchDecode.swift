import AdapterFormat
import ArgumentParser
import DiTModel
import Foundation
import Autoencoder
import TensorFiles
import TensorMath

struct BenchDecode: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode", abstract: "Seconds and memory of an autoencoder of Stable Diffusion's shape.",
        discussion: "Example: adapterctl bench decode --pixels 512 --precision bf16")
    @Option(help: "Side of the image.") var pixels = 256
    @Option(help: "f32 or bf16.") var precision = "bf16"
    @Option(help: "An autoencoder's file in place of random weights.") var vae: String?
    @Flag(help: "The way from the image to the latent.") var encode = false
    @Option var runs = 3
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let timing: Timing
        let precision: String
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
        if let scratch { try RandomAutoencoder.write(to: scratch) }
        ProcessMemory.resetPeak()
        let start = ContinuousClock.now
        let work = try pass(vae ?? scratch ?? "", form)
        let load = ContinuousClock.now - start
        let name = "\(encode ? "encode" : "decode") of one \(pixels) px image, \(precision)"
        work()
        let before = clock()
        let timing = Timing(name, runs: runs, warmup: 0, work)
        let processor = Double(clock() - before) / Double(CLOCKS_PER_SEC) / Double(runs)
        let result = Result(
            timing: timing, precision: precision, processorSeconds: processor, peakBytes: ProcessMemory.peakBytes, loadSeconds: load / .seconds(1))
        try output.report("bench decode", result) {
            """
            \(timing.line)
            \(readable(seconds: processor)) of processor time, \(readable(bytes: result.peakBytes)) at most, loaded in \(readable(seconds: result.loadSeconds))
            \(timing.machine), \(form == .plain ? "no oneDNN" : "oneDNN")
            """
        }
    }

    private func pass(_ path: String, _ form: WeightForm) throws -> () -> Void {
        let autoencoder = try AutoencoderKL(path: path)
        let side = pixels / autoencoder.configuration.downsampling
        var values = [Float](repeating: 0, count: encode ? 3 * pixels * pixels : autoencoder.configuration.latentChannels * side * side)
        Philox(seed: 1, stream: 3).normals(into: &values)
        if encode {
            let encoder = try LatentEncoder(autoencoder, height: pixels, width: pixels, pool: ThreadPool(), form)
            return { _ = encoder.encode(values.span) }
        }
        let decoder = try LatentDecoder(autoencoder, latentHeight: side, latentWidth: side, pool: ThreadPool(), form)
        return { _ = decoder.decode(values.span) }
    }
}

/// Files of full size with random weights, since the published ones may not be at hand.
struct BenchFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "files", abstract: "Write a base and its autoencoder with random weights of full size.",
        discussion: "Example: adapterctl bench files --model DiT-XL/2 --folder out/random")
    @Option(help: "Where base.safetensors and vae.safetensors go.") var folder: String
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let c = try model.configuration()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let base = folder + "/base.safetensors", vae = folder + "/vae.safetensors"
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
        try RandomAutoencoder.write(to: vae)
        try output.report("bench files", ["base": base, "vae": vae]) { "\(base) and \(vae) written" }
    }
}

/// An autoencoder of Stable Diffusion's shape with random weights.
enum RandomAutoencoder {
    static func write(to path: String) throws {
        let shape = AutoencoderConfiguration.stableDiffusion
        let tensors = shape.tensorShapes.enumerated().map { index, tensor in
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
