import AdapterComposer
import AdapterFormat
import AdapterStore
import ArgumentParser
import Diffusion
import Foundation
import ImageFiles
import SamplingEngine

/// Every domain of the store on one page, from one process and one base, with a hot swap between domains.
struct Sheet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sample every domain onto one sheet and time the swaps.",
        discussion: """
            Examples: adapterctl sheet -o out/domains.png
                      adapterctl sheet --adding turbo4 -o out/fast.png            (every domain with a distilled vector)
                      adapterctl sheet --cross 0,0.25,0.5,0.75,1 -o out/crossed.png   (each pair of domains, from one to the other)
            """)
    @Option(help: "Images per class.") var perClass = 2
    @Option(help: "Only these, with commas between; base is the frozen base with no adapter.") var domains: String?
    @Option(help: "Add this to every domain, a distilled vector or another adapter.") var adding: String?
    @Option(help: "At most so many classes of each.") var classes = 16
    @Option(help: "Cross each pair of domains at these weights of the second, with commas between.") var cross: String?
    @Option(help: "Pixels of the file for one pixel of the image.") var enlarge = 2
    @Option(help: "The base, where the store has several.") var base: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The PNG file to write, or - for standard output.") var file: String
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var autoencoder: AutoencoderOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Row: Encodable {
        let name, digest: String
        let storedBytes: Int
        /// From the store's bytes to an adapter slot, and from memory.
        let swapColdSeconds: Double
        var swapWarmSeconds: Double
        let secondsPerImage: Double
    }

    func run() async throws {
        guard (1...64).contains(perClass), (1...64).contains(enlarge), (1...64).contains(classes) else {
            throw Failure.usage("--per-class, --classes and --enlarge are between 1 and 64")
        }
        guard sampling.cache == "exact" else { throw Failure.usage("--cache is for sample and eval; a sheet is made of every step") }
        try checkOutputs([PlannedOutput(file, .png)], json: output.json)
        let store = try location.open()
        let baseFile = try store.baseFile(base)
        let catalogue = try AdapterCatalogue(store, base: baseFile)
        let references = try domains?.split(separator: ",").map(String.init) ?? catalogue.list().filter { try $0.decodedManifest().isDomain }.compactMap(\.name)
        guard !references.isEmpty else { throw Failure.notFound("the store has no adapters of this base: adapterctl add NAME FILE") }
        if let cross { return try await crossed(references, at: weights(cross), catalogue, in: store) }
        let convention = try DiffusionConvention(baseFile), asked = try sampling.asked(convention)
        let settled = try references.map { reference in
            try catalogue.settle(Recipe(adding.map { "\(reference)+\($0)" } ?? reference), asked)
        }
        // As many adapter slots as one image needs, so that each domain has to be swapped in.
        var options = try EngineOptions.unbounded(at: precision.chosen(usual: .auto))
        options.domains = settled.map(\.recipe.stages.count).max() ?? 1
        let engine = try autoencoder.engine(baseFile, store, options: options)
        Progress.begin("sampling")
        var rows: [Row] = []
        var strips: [RGBImage] = []
        var classNames: [[String]] = []
        for (position, reference) in references.enumerated() {
            let (recipe, how) = (settled[position].recipe, settled[position].sampling)
            let names = Array(recipe.classNames.prefix(classes))
            let stages = try names.map { try recipe.choosing(class: $0).stages }
            let orders = (0..<(names.count * perClass)).map { index in
                ImageOrder(stages: stages[index / perClass], seed: sampling.seed, index: UInt64(index), guidance: how.guidance)
            }
            var request = SamplingRequest(client: "sheet", images: orders, sampler: how.sampler, steps: how.steps)
            request.solver = how.solver
            let sampled = try await engine.sample(request) { event in
                // Of the domain at hand, beside those before it.
                if case .progress(let step, let count) = event { Progress.step(100 * position + 100 * step / max(count, 1), of: 100 * references.count) }
            }
            strips.append(contactSheet(sampled.images.compactMap { $0.picture?.enlarged(by: enlarge) }, columns: orders.count))
            classNames.append(names)
            rows.append(
                Row(
                    name: reference == "base" ? reference : try store.lookup(reference).name ?? recipe.label, digest: recipe.digest.description,
                    storedBytes: reference == "base" ? 0 : try store.lookup(reference).storedBytes,
                    swapColdSeconds: (recipe.load + sampled.times.swap) / .seconds(1), swapWarmSeconds: 0,
                    secondsPerImage: sampled.times.sample / .seconds(1) / Double(orders.count)))
        }
        // Every adapter is resident by now: what is left of a swap is the copy.
        let sampler = UsualSampling.sampler(engine.convention.path)
        for (index, settled) in settled.enumerated() {
            let order = ImageOrder(adapter: settled.recipe.stages[0].parts[0].adapter, classIndex: 0, seed: 0, index: 0, guidanceScale: 1)
            let times = try await engine.sample(SamplingRequest(client: "sheet", images: [order], sampler: sampler, steps: 1)).times
            rows[index].swapWarmSeconds = times.swap / .seconds(1)
        }
        try labelled(strips, rows.map(\.name), classNames).writePNG(to: file)
        try output.report("sheet", rows, outputs: [file]) {
            table(
                [["DOMAIN", "DIGEST", "STORED", "SWAP COLD", "SWAP WARM", "S/IMAGE"]]
                    + rows.map {
                        [
                            $0.name, String($0.digest.prefix(12)), readable(bytes: $0.storedBytes), readable(seconds: $0.swapColdSeconds),
                            readable(seconds: $0.swapWarmSeconds), String(format: "%.3f", $0.secondsPerImage),
                        ]
                    }) + "\nwritten to \(file)"
        }
    }

    /// Strips one below the other, each domain's name on the left and each class's under its images.
    private func labelled(_ strips: [RGBImage], _ names: [String], _ classNames: [[String]]) -> RGBImage {
        let margin = 4, line = RGBImage.letterHeight + 2 * margin
        let left = (names.map { RGBImage.textWidth($0, scale: 2) }.max() ?? 0) + 2 * margin
        var page = RGBImage(
            width: left + (strips.map(\.width).max() ?? 0), height: strips.reduce(0) { $0 + $1.height + line }, filledWith: (24, 24, 28))
        var y = 0
        for (row, strip) in strips.enumerated() {
            page.draw(text: names[row], x: margin, y: y + (strip.height - 2 * RGBImage.letterHeight) / 2, scale: 2)
            page.draw(strip, x: left, y: y)
            let width = strip.width / max(classNames[row].count, 1)
            for (column, name) in classNames[row].enumerated() {
                let fitting = String(name.prefix((width - margin) / RGBImage.letterStep))
                page.draw(text: fitting, x: left + column * width + margin, y: y + strip.height + margin, colour: (150, 150, 160))
            }
            y += strip.height + line
        }
        return page
    }
}
