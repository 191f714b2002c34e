import AdapterComposer
import AdapterFormat
import AdapterStore
import ArgumentParser
import Diffusion
import Foundation
import ImageFiles
import SamplingEngine
import TensorFiles
import TensorMath

struct Sample: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sample images of one domain, or of a recipe of several.",
        discussion: """
            Examples: adapterctl sample flowers --class rose --n 8 --seed 1 -o roses.png
                      adapterctl sample '0.7*flowers+0.3*art' --class flowers/rose --n 8 -o garden.png
                      adapterctl sample --morph flowers..art --class rose..portrait --frames 9 --n 4 -o morph.png

            \(recipeHelp)
            A class is rose, flowers/rose, class:3, null, or a blend 0.5*flowers/rose+0.5*art/portrait; with commas there can be one
            for each domain of a schedule or a score, and a domain without one runs with its null class.
            """)
    @Argument(help: "A domain in the store, base, or a recipe.", completion: .adapterNames) var recipe: String?
    @Option(name: .customLong("class"), help: "A class of the domain (default: all in turn).") var className: String?
    @Option(help: "How far from the base: 0 is the base, 1 the domain itself.") var strength = 1.0
    @Option(help: "Take the class names of this one of a recipe's adapters alone.") var labelsFrom: String?
    @Option(help: "A..B in place of a recipe: frames from one to the other, in one batch; --n is the rows of different seeds.") var morph: String?
    @Option(name: .customLong("frames"), help: "Frames of a morph (default: 9).") var givenFrames: Int?
    @Flag(help: "Write a morph as an animated PNG, there and back.") var animated = false
    @Option(help: "Images.") var n = 8
    @Option(help: "Pixels of the file for one pixel of the image (default: 1).") var enlarge: Int?
    @Option(help: "The base, where the store has several and the recipe names no adapter.") var base: String?
    @Option(help: "Tensors in place of random numbers: latents (n, C, S, S), and noise (network calls, n, C, S, S) where there is any.")
    var noise: String?
    @Option(help: "A safetensors file to write: latents (network calls, n, C, S, S).") var trajectory: String?
    @Option(help: "A safetensors file to write: the finished latents (n, C, S, S).") var latents: String?
    @Option(help: "The Unix socket of a running adapterd, which then samples instead of this process.") var socket: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The PNG file to write, or - for standard output.") var file: String?
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var autoencoder: AutoencoderOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    var frames: Int { givenFrames ?? 9 }

    struct Result: Encodable {
        let files: [String]
        let recipe: String
        let digest: String
        let images: Int
        let secondsPerImage: Double
        /// Nil where a server made them.
        let decodeSecondsPerImage: Double?
    }

    func run() async throws {
        guard (1...4096).contains(n), (1...64).contains(enlarge ?? 1) else { throw Failure.usage("--n is between 1 and 4096, --enlarge between 1 and 64") }
        guard file != nil || latents != nil || trajectory != nil else {
            throw Failure.usage("give --output for a picture, --latents for the latents, --trajectory for all of them on the way, or several")
        }
        try checkOutputs(
            [PlannedOutput(file, animated ? .animatedPNG : .png), PlannedOutput(latents, .safetensors), PlannedOutput(trajectory, .safetensors)],
            json: output.json)
        let ends = try morphEnds()
        let decoder = try autoencoder.decoderKind()
        guard decoder == nil || file != nil else { throw Failure.usage("--decoder makes pictures, and without --output there are none") }
        if let socket { return try await run(through: ServerSocket(path: socket)) }
        let whole = try ends.map { Recipe.between($0.from, $0.to, 0.5) } ?? oneRecipe()
        let store = try location.open()
        let baseFile = try store.baseFile(of: whole, base)
        let catalogue = try AdapterCatalogue(store, base: baseFile)
        let engine = try autoencoder.engine(baseFile, store, options: .unbounded(at: precision.chosen(usual: .auto)))
        let strength = try checkedStrength(strength)
        let asked = try sampling.asked(engine.convention)
        let settled = try catalogue.settle(whole, asked, strength: strength, labelsFrom: labelsFrom)
        let (bound, how) = (settled.recipe, settled.sampling)
        var shape = baseFile.configuration
        shape.inputSize = bound.grid?.size ?? shape.inputSize
        let single = try ends == nil ? images(bound, how.guidance, strength, shape) : []
        var images = try ends.map { try morphImages($0, bound, catalogue, asked, how.guidance, strength) } ?? single.map(\.order)
        let level = try sampling.cacheLevel()
        let cache = try catalogue.cache(level, for: bound, sampler: how.sampler, steps: how.steps)
        for index in images.indices { images[index].cache = cache }
        var request = SamplingRequest(client: "adapterctl", images: images, sampler: how.sampler, steps: how.steps)
        request.solver = how.solver
        request.traces = trajectory != nil
        request.latentsOnly = file == nil
        Progress.begin("sampling")
        let result = try await engine.sample(request, onEvent: Progress.follow)
        let digest = bound.digest.description
        if let file {
            var text = PictureText(
                bound, className: describedClass(single.map(\.className)), labelsFrom: labelsFrom, strength: strength, seed: sampling.seed, index: 0,
                sampler: how.sampler, steps: how.steps, guidance: how.guidance, cache: level,
                decoder: decoder ?? .usual(among: engine.decoders), base: baseFile.digest, precision: engine.precision.rawValue)
            if let morph { (text.recipe, text.frames) = (morph, frames) }
            try write(result.images.compactMap(\.picture), text, to: file)
        }
        if let latents { try write([result.images.map(\.latent)], to: latents, shape: shape) }
        if let trajectory {
            let calls = result.latents.first?.count ?? 0
            try write((0..<calls).map { call in result.latents.map { $0[call] } }, isSequence: true, to: trajectory, shape: shape)
        }
        let each = { (time: Duration) in time / .seconds(1) / Double(images.count) }
        try report(
            Result(
                files: [file, latents, trajectory].compactMap { $0 }, recipe: bound.text, digest: digest, images: images.count,
                secondsPerImage: each(result.times.sample), decodeSecondsPerImage: each(result.times.decode)))
    }

    func report(_ report: Result) throws {
        try output.report("sample", report, outputs: report.files) {
            "\(report.images, "image") to \(report.files.joined(separator: " and ")), \(String(format: "%.3f", report.secondsPerImage)) s each, \(report.digest.prefix(12))"
        }
    }

    func oneRecipe() throws -> Recipe {
        guard let recipe else { throw Failure.usage("give a domain or a recipe, or --morph A..B") }
        return try Recipe(recipe)
    }

    private func images(_ bound: BoundRecipe, _ guidance: ImageGuidance, _ strength: Double, _ shape: DiTConfiguration) throws -> [ClassedOrder] {
        try bound.orders(
            class: className, count: n, seed: sampling.seed, guidance: guidance, strength: strength,
            given: noise.map { try givenNoise($0, shape) })
    }

    /// The class as the recipe understood it; `*` for all in turn.
    private func describedClass(_ names: [String]) -> String {
        if morph != nil { return className ?? "*" }
        return className != nil || n == 1 ? names.first ?? "null" : "*"
    }

    /// All pictures as one PNG file that says how they were made; of one picture it is the file that a server sends.
    func write(_ pictures: [RGBImage], _ text: PictureText, to path: String) throws {
        var text = text
        if n > 1 || morph != nil { text.n = n }
        let chunk = [PNGText(key: PictureText.key, value: text.json)]
        let pictures = pictures.map { $0.enlarged(by: enlarge ?? 1) }
        guard morph != nil else { return try contactSheet(pictures, columns: min(n, 8)).writePNG(to: path, text: chunk) }
        guard animated else { return try contactSheet(pictures, columns: frames).writePNG(to: path, text: chunk) }
        let there = (0..<frames).map { frame in contactSheet((0..<n).map { pictures[$0 * frames + frame] }, columns: min(n, 8)) }
        let back = there.dropFirst().dropLast().reversed()
        try AnimatedPNG.data(there + back, milliseconds: 120, text: chunk).writeWhole(to: path)
    }

    private func givenNoise(_ path: String, _ shape: DiTConfiguration) throws -> [GivenNoise] {
        let tensors = try TensorFile(path: path)
        let image = [shape.inChannels, shape.inputSize, shape.inputSize], count = image.reduce(1, *)
        let starts = try tensors.floats("latents"), startShape = try tensors.entry("latents").shape
        guard startShape == [n] + image else { throw Failure.usage("'latents' in '\(path)' has shape \(startShape); wanted is \([n] + image)") }
        var steps: [Float] = [], calls = 0
        if let entry = tensors["noise"] {
            calls = entry.shape.first ?? 0
            guard entry.shape == [calls, n] + image else {
                throw Failure.usage("'noise' in '\(path)' has shape \(entry.shape); wanted is [calls, \(n)] + \(image)")
            }
            steps = try tensors.floats("noise")
        }
        return (0..<n).map { index in
            GivenNoise(
                start: Array(starts[(index * count)..<((index + 1) * count)]),
                steps: (0..<calls).map { Array(steps[(($0 * n + index) * count)..<(($0 * n + index + 1) * count)]) })
        }
    }

    /// Writes latents of one network call after the other, (n, C, S, S) each.
    private func write(_ calls: [[[Float]]], isSequence: Bool = false, to path: String, shape: DiTConfiguration) throws {
        let sides = (isSequence ? [calls.count] : []) + [calls.first?.count ?? n, shape.inChannels, shape.inputSize, shape.inputSize]
        try SafetensorsWriter.write([OutgoingTensor("latents", shape: sides, calls.flatMap { $0.flatMap { $0 } })], to: path)
    }
}

// MARK: Morphs

extension Sample {
    private func morphEnds() throws -> (from: Recipe, to: Recipe)? {
        guard let morph else {
            if animated || givenFrames != nil { throw Failure.usage("--animated and --frames are of a morph: give --morph A..B") }
            return nil
        }
        guard recipe == nil else { throw Failure.usage("give a recipe or --morph, not both") }
        guard sampling.cache == "exact" else { throw Failure.usage("--cache is for a calibrated adapter; a morph's frames are others") }
        guard noise == nil else { throw Failure.usage("--noise gives each image its own start; a morph's frames share theirs") }
        guard (2...64).contains(frames) else { throw Failure.usage("--frames is between 2 and 64") }
        guard let dots = morph.range(of: ".."), dots.lowerBound > morph.startIndex, dots.upperBound < morph.endIndex else {
            throw Failure.usage("--morph takes two recipes with two dots between, as in flowers..art; not '\(morph)'")
        }
        let ends = (from: try Recipe(String(morph[..<dots.lowerBound])), to: try Recipe(String(morph[dots.upperBound...])))
        for (end, text) in [(ends.from, morph[..<dots.lowerBound]), (ends.to, morph[dots.upperBound...])] where end.sum == nil {
            throw Failure.usage("'\(text)' changes over the steps or adds predictions; a morph is between two vectors")
        }
        return ends
    }

    /// Row by row one seed, in each the frames from one end to the other. Classes cross over as the values do.
    private func morphImages(
        _ ends: (from: Recipe, to: Recipe), _ half: BoundRecipe, _ catalogue: AdapterCatalogue, _ asked: AskedSampling, _ guidance: ImageGuidance,
        _ strength: Double
    ) throws -> [ImageOrder] {
        let usual = { (end: Recipe) in try end.references.isEmpty ? "null" : catalogue.bind(end).classNames.first ?? "null" }
        let classes = className.map { name in
            name.range(of: "..").map { [String(name[..<$0.lowerBound]), String(name[$0.upperBound...])] } ?? [name, name]
        }
        let (from, to) = try classes.map { ($0[0], $0[1]) } ?? (usual(ends.from), usual(ends.to))
        let (first, last) = try (full(from, ends.from, catalogue, half), full(to, ends.to, catalogue, half))
        let stages = try (0..<frames).map { frame in
            let share = Double(frame) / Double(frames - 1)
            let bound = try catalogue.settle(.between(ends.from, ends.to, share), asked, strength: strength, labelsFrom: labelsFrom).recipe
            let blend = first == last ? first : "\(1 - share)*\(first)+\(share)*\(last)"
            return try bound.choosing(class: blend, strength: strength).stages
        }
        return (0..<n).flatMap { row in
            stages.map { ImageOrder(stages: $0, seed: sampling.seed, index: UInt64(row), guidance: guidance) }
        }
    }

    /// A class of one end as the united table names it.
    private func full(_ name: String, _ end: Recipe, _ catalogue: AdapterCatalogue, _ half: BoundRecipe) throws -> String {
        guard labelsFrom == nil, !half.classNames.contains(name), let adapter = try catalogue.bind(end).adapter,
            half.classNames.contains("\(adapter.name)/\(name)")
        else { return name }
        return "\(adapter.name)/\(name)"
    }
}
