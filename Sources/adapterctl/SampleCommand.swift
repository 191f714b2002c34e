import AdapterFormat
import AdapterStore
import ArgumentParser
import Diffusion
import Foundation
import ImageFiles
import SamplingEngine
import TensorFiles
import TensorMath

/// How images are sampled.
struct SamplingOptions: ParsableArguments {
    @Option(help: "ddpm, ddim, dpm++2m, unipc (VP path); euler, heun, multistep (linear path).") var sampler: String?
    @Option var steps: Int?
    @Option(help: "1 is no guidance.") var guidanceScale = UsualSampling.guidanceScale
    @Option var seed: UInt64 = 1

    var stepCount: Int { steps ?? UsualSampling.steps }

    func chosen(_ convention: DiffusionConvention) throws -> Sampler {
        guard let chosen = sampler.map(Sampler.init(rawValue:)) ?? UsualSampling.sampler(convention.path) else {
            throw Failure.usage("there is no sampler '\(sampler ?? "")': choose among \(Sampler.of(convention.path).map(\.rawValue).joined(separator: ", "))")
        }
        guard guidanceScale.isFinite, guidanceScale >= 0 else { throw Failure.usage("--guidance-scale is a number from 0, not \(guidanceScale)") }
        return chosen
    }
}

struct Sample: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sample images of one domain.", discussion: "Example: adapterctl sample flowers --class rose --n 8 --seed 1 -o roses.png")
    @Argument(help: "A domain in the store, or base.", completion: .adapterNames) var reference: String
    @Option(name: .customLong("class"), help: "A class of the domain (default: all in turn).") var className: String?
    @Option(help: "Images.") var n = 8
    @Option(help: "Pixels of the file for one pixel of the image.") var enlarge = 4
    @Option(help: "The base, where the store has several and the domain is base.") var base: String?
    @Option(help: "Tensors in place of random numbers: latents (n, C, S, S), and noise (network calls, n, C, S, S) where there is any.")
    var noise: String?
    @Option(help: "A safetensors file to write: latents (network calls, n, C, S, S).") var trajectory: String?
    @Option(help: "The Unix socket of a running adapterd, which then samples instead of this process.") var socket: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The PNG file to write.") var file: String?
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let files: [String]
        let digest: String
        let images: Int
        let secondsPerImage: Double
    }

    func run() async throws {
        guard (1...4096).contains(n), (1...64).contains(enlarge) else { throw Failure.usage("--n is between 1 and 4096, --enlarge between 1 and 64") }
        guard file != nil || trajectory != nil else { throw Failure.usage("give --output for a picture, --trajectory for the latents, or both") }
        if let socket { return try await run(through: ServerSocket(path: socket)) }
        let store = try location.open()
        let baseFile = try reference == "base" ? store.baseFile(base) : store.baseFile(store.lookup(reference).baseDigest)
        let adapter = try AdapterCatalogue(store, base: baseFile).bind(reference).adapter
        let engine = try SamplingEngine(baseFile, options: .unbounded, pool: ComputePool())
        guard engine.isPixelSpace || file == nil else {
            throw Failure.usage("'\(reference)' makes latents of \(baseFile.configuration.inChannels) channels, not pictures: give --trajectory alone")
        }
        let sampler = try sampling.chosen(engine.convention)
        let request = try request(adapter, sampler, shape: baseFile.configuration)
        let result = try await engine.sample(request)
        let seconds = result.times.sample / .seconds(1)
        if let file { try write(result.images.map(\.picture), digest: adapter.digest.description, sampler: sampler.rawValue, to: file) }
        if let trajectory { try write(result.latents, to: trajectory, shape: baseFile.configuration) }
        try report([file, trajectory].compactMap { $0 }, digest: adapter.digest.description, seconds: seconds)
    }

    /// All pictures as one PNG file that says how they were made.
    func write(_ pictures: [RGBImage], digest: String, sampler: String, to file: String) throws {
        let text = "\(reference)@\(digest) class=\(className ?? "*") n=\(n) seed=\(sampling.seed) sampler=\(sampler) steps=\(sampling.stepCount) guidance=\(sampling.guidanceScale)"
        try contactSheet(pictures.map { $0.enlarged(by: enlarge) }, columns: min(n, 8)).writePNG(to: file, text: [("difffit", text)])
    }

    func report(_ files: [String], digest: String, seconds: Double) throws {
        let report = Result(files: files, digest: digest, images: n, secondsPerImage: seconds / Double(n))
        try output.report("sample", report) {
            "\(n) images to \(files.joined(separator: " and ")), \(String(format: "%.3f", report.secondsPerImage)) s each, \(digest.prefix(12))"
        }
    }

    private func request(_ adapter: BoundAdapter, _ sampler: Sampler, shape: DiTConfiguration) throws -> SamplingRequest {
        let classes = try className.map { [try classIndex($0, in: adapter.classes)] } ?? Array(0..<max(adapter.classes.names.count, 1))
        let given = try noise.map { try givenNoise($0, shape) }
        let images = (0..<n).map { index in
            ImageOrder(
                adapter: adapter, classIndex: classes[index % classes.count], seed: sampling.seed, index: UInt64(index),
                guidanceScale: sampling.guidanceScale, given: given?[index])
        }
        var request = SamplingRequest(client: "adapterctl", images: images, sampler: sampler, steps: sampling.stepCount)
        request.traces = trajectory != nil
        return request
    }

    private func givenNoise(_ path: String, _ shape: DiTConfiguration) throws -> [GivenNoise] {
        let tensors = try SafetensorsFile(path: path)
        let image = [shape.inChannels, shape.inputSize, shape.inputSize], count = image.reduce(1, *)
        let starts = try tensors.floats("latents"), startShape = try tensors.entry("latents").shape
        guard startShape == [n] + image else { throw Failure.usage("'latents' in '\(path)' has shape \(startShape); wanted is \([n] + image)") }
        var steps: [Float] = [], calls = 0
        if let entry = tensors["noise"] {
            calls = entry.shape.first ?? 0
            guard entry.shape == [calls, n] + image else { throw Failure.usage("'noise' in '\(path)' has shape \(entry.shape); wanted is [calls, \(n)] + \(image)") }
            steps = try tensors.floats("noise")
        }
        return (0..<n).map { index in
            GivenNoise(
                start: Array(starts[(index * count)..<((index + 1) * count)]),
                steps: (0..<calls).map { Array(steps[(($0 * n + index) * count)..<(($0 * n + index + 1) * count)]) })
        }
    }

    private func write(_ latents: [[[Float]]], to path: String, shape: DiTConfiguration) throws {
        let calls = latents.first?.count ?? 0
        let values = (0..<calls).flatMap { call in latents.flatMap { $0[call] } }
        try SafetensorsWriter.write(
            [OutgoingTensor("latents", shape: [calls, n, shape.inChannels, shape.inputSize, shape.inputSize], values)], to: path)
    }
}

/// The row of a class, by name or number; a wrong one is answered with the right ones.
func classIndex(_ text: String, in classes: ClassTable) throws -> Int {
    if let index = classes.names.firstIndex(of: text) { return index }
    if let index = Int(text), (0..<classes.rows).contains(index) { return index }
    let near = nearestNames(to: text, among: classes.names)
    throw Failure.notFound("there is no class '\(text)'; \(near.isEmpty ? "there are \(classes.names.joined(separator: ", "))" : "did you mean \(near.joined(separator: ", "))?")")
}

/// Images in rows with a thin gap.
func contactSheet(_ images: [RGBImage], columns: Int, gap: Int = 2) -> RGBImage {
    let cell = (images.first?.width ?? 0) + gap
    let rows = (images.count + columns - 1) / columns
    var sheet = RGBImage(width: columns * cell - gap, height: rows * cell - gap, filledWith: (24, 24, 28))
    for (index, image) in images.enumerated() { sheet.draw(image, x: index % columns * cell, y: index / columns * cell) }
    return sheet
}
