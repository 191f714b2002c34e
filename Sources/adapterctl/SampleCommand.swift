import AdapterFormat
import AdapterStore
import ArgumentParser
import Diffusion
import Foundation
import ImageFiles
import SamplingEngine
import TensorMath

/// How images are sampled.
struct SamplingOptions: ParsableArguments {
    @Option(help: "ddpm, ddim, dpm++2m, unipc (VP path); euler, heun, multistep (linear path).") var sampler: String?
    @Option var steps: Int?
    @Option(help: "1 is no guidance.") var guidanceScale: Float = 2
    @Option var seed: UInt64 = 1

    func plan(_ convention: DiffusionConvention, pixels: Bool) throws -> SamplingPlan {
        let usual: Sampler = convention.path == .linear ? .multistep : .ddim
        guard let chosen = sampler.map(Sampler.init(rawValue:)) ?? usual else {
            throw Failure.usage("there is no sampler '\(sampler ?? "")': choose among \(Sampler.of(convention.path).map(\.rawValue).joined(separator: ", "))")
        }
        return try SamplingPlan(chosen, steps: steps ?? 40, convention, clips: pixels)
    }
}

struct Sample: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sample images of one domain.", discussion: "Example: adapterctl sample flowers --class rose --n 8 --seed 1 -o roses.png")
    @Argument(help: "A domain in the store, or base.") var reference: String
    @Option(name: .customLong("class"), help: "A class of the domain (default: all in turn).") var className: String?
    @Option(help: "Images.") var n = 8
    @Option(help: "Pixels of the file for one pixel of the image.") var enlarge = 4
    @Option(help: "The base, where the store has several and the domain is base.") var base: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The PNG file to write.") var file: String
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let file: String
        let digest: String
        let images: Int
        let secondsPerImage: Double
    }

    func run() throws {
        guard (1...4096).contains(n), (1...64).contains(enlarge) else { throw Failure.usage("--n is between 1 and 4096, --enlarge between 1 and 64") }
        let store = try location.open()
        let (baseFile, adapter, digest) = try resolve(store)
        let engine = try SamplingEngine(baseFile, domains: 1, classRows: adapter.classes.rows, pool: ComputePool())
        engine.install(adapter.vector, adapter.classes, row: 0)
        let plan = try sampling.plan(engine.convention, pixels: true)
        let classes = try className.map { [try classIndex($0, in: adapter.classes)] } ?? Array(adapter.classes.names.indices)
        let requests = (0..<n).map { index in
            ImageRequest(
                domain: 0, classIndex: classes[index % classes.count], seed: sampling.seed, index: UInt64(index), guidanceScale: sampling.guidanceScale)
        }
        let start = ContinuousClock.now
        let latents = engine.sample(requests, plan)
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let size = baseFile.configuration.inputSize
        let images = latents.map { RGBImage(latent: $0, size: size).enlarged(by: enlarge) }
        let request = "\(reference)@\(digest) class=\(className ?? "*") n=\(n) seed=\(sampling.seed) sampler=\(plan.sampler.rawValue) steps=\(plan.steps) guidance=\(sampling.guidanceScale)"
        try contactSheet(images, columns: min(n, 8)).writePNG(to: file, text: [("difffit", request)])
        let result = Result(file: file, digest: digest.description, images: n, secondsPerImage: seconds / Double(n))
        try output.report("sample", result) { String(format: "%d images to %@, %.3f s each, %@", n, file as NSString, result.secondsPerImage, digest.short as NSString) }
    }

    private func resolve(_ store: AdapterStore) throws -> (BaseFile, Adapter, Digest) {
        guard reference != "base" else {
            let file = try store.baseFile(base)
            let manifest = AdapterManifest(
                name: "base", baseDigest: file.digest, layoutDigest: file.layout.digest, trainableSet: TrainableSet(.bitfit, gammaDepth: 0),
                classes: file.classes.names, prediction: file.card.prediction, path: file.card.path)
            return (file, Adapter(manifest: manifest, vector: file.vector, classes: file.classes), file.digest)
        }
        let entry = try store.lookup(reference)
        let file = try store.baseFile(entry.baseDigest)
        return (file, try Adapter(store.load(entry.digest, over: file.values())), entry.digest)
    }
}

/// The row of a class, by name or number; a wrong one is answered with the right ones.
func classIndex(_ text: String, in classes: ClassTable) throws -> Int {
    if let index = classes.names.firstIndex(of: text) { return index }
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
