import AdapterFormat
import AdapterStore
import ArgumentParser
import Diffusion
import Foundation
import ImageFiles
import SamplingEngine
import TensorMath

/// Every domain of the store on one page, from one process and one base, with a hot swap between domains.
struct Sheet: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sample every domain onto one sheet and time the swaps.", discussion: "Example: adapterctl sheet -o out/domains.png")
    @Option(help: "Images per class.") var perClass = 2
    @Option(help: "Pixels of the file for one pixel of the image.") var enlarge = 2
    @Option(help: "The base, where the store has several.") var base: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The PNG file to write.") var file: String
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Row: Encodable {
        let name, digest: String
        let storedBytes: Int
        /// From the store's bytes to a row of the bank, and from memory.
        let swapColdSeconds, swapWarmSeconds, secondsPerImage: Double
    }

    func run() throws {
        let store = try location.open()
        let baseFile = try store.baseFile(base)
        let values = try baseFile.values()
        let entries = try store.list().filter { $0.baseDigest == baseFile.digest }
        guard !entries.isEmpty else { throw Failure.notFound("the store has no adapters of this base: adapterctl add NAME FILE") }
        let most = entries.map(\.classCount).max() ?? 0
        let engine = try SamplingEngine(baseFile, domains: 1, classRows: most + 1, pool: ComputePool())
        let plan = try sampling.plan(engine.convention, pixels: true)
        let size = baseFile.configuration.inputSize
        var rows: [Row] = []
        var strips: [RGBImage] = []
        var classNames: [[String]] = []
        for entry in entries {
            let (adapter, cold) = try timed {
                let adapter = try store.load(entry.digest, over: values)
                engine.install(adapter.vector, adapter.classes, row: 0)
                return adapter
            }
            let (_, warm) = timed { for _ in 0..<100 { engine.install(adapter.vector, adapter.classes, row: 0) } }
            let requests = (0..<(adapter.classes.names.count * perClass)).map { index in
                ImageRequest(
                    domain: 0, classIndex: index / perClass, seed: sampling.seed, index: UInt64(index), guidanceScale: sampling.guidanceScale)
            }
            let (latents, seconds) = timed { engine.sample(requests, plan) }
            strips.append(contactSheet(latents.map { RGBImage(latent: $0, size: size).enlarged(by: enlarge) }, columns: latents.count))
            classNames.append(adapter.classes.names)
            rows.append(
                Row(
                    name: entry.name ?? entry.digest.short, digest: entry.digest.description, storedBytes: entry.storedBytes, swapColdSeconds: cold,
                    swapWarmSeconds: warm / 100, secondsPerImage: seconds / Double(requests.count)))
        }
        try labelled(strips, rows.map(\.name), classNames).writePNG(to: file)
        try output.report("sheet", rows) {
            table(
                [["DOMAIN", "DIGEST", "STORED", "SWAP COLD", "SWAP WARM", "S/IMAGE"]]
                    + rows.map {
                        [
                            $0.name, String($0.digest.prefix(12)), readable(bytes: $0.storedBytes), String(format: "%.2f ms", $0.swapColdSeconds * 1e3),
                            String(format: "%.1f us", $0.swapWarmSeconds * 1e6), String(format: "%.3f", $0.secondsPerImage),
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
                page.draw(text: name, x: left + column * width + margin, y: y + strip.height + margin, colour: (150, 150, 160))
            }
            y += strip.height + line
        }
        return page
    }

    private func timed<Result>(_ work: () throws -> Result) rethrows -> (Result, Double) {
        let start = ContinuousClock.now
        let result = try work()
        return (result, (ContinuousClock.now - start) / .seconds(1))
    }
}
