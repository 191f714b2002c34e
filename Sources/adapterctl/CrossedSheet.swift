import AdapterComposer
import AdapterStore
import ImageFiles
import SamplingEngine

extension Sheet {
    /// Each pair of domains as one strip, from the first to the second; the first class of each crosses over with the values.
    func crossed(_ domains: [String], at weights: [Double], _ catalogue: AdapterCatalogue, in store: AdapterStore) async throws {
        let pairs = domains.indices.flatMap { a in domains.indices.dropFirst(a + 1).map { (domains[a], domains[$0]) } }
        guard !pairs.isEmpty else { throw Failure.usage("--cross needs two domains or more") }
        guard !domains.contains("base") else {
            throw Failure.usage("--cross takes adapters, each of which is crossed from the base by its weight; leave base out of --domains")
        }
        let same = Dictionary(grouping: domains) { (try? catalogue.bind(Recipe($0)).digest.description) ?? $0 }.values.first { $0.count > 1 }
        if let same { throw Failure.usage("\(same.map { "'\($0)'" }.joined(separator: " and ")) are one adapter: --cross takes each once") }
        let engine = try autoencoder.engine(catalogue.base, store, options: .unbounded(at: precision.chosen(usual: .auto)))
        let sampler = try sampling.chosen(engine.convention), guidance = try sampling.imageGuidance()
        let classes = try Dictionary(uniqueKeysWithValues: domains.map { ($0, try catalogue.bind(Recipe($0)).classNames.first ?? "null") })
        var orders: [ImageOrder] = []
        for (a, b) in pairs {
            for weight in weights {
                let bound = try catalogue.bind(.between(Recipe(a), Recipe(b), weight))
                let blend = "\(1 - weight)*\(a)/\(classes[a] ?? "null")+\(weight)*\(b)/\(classes[b] ?? "null")"
                orders.append(ImageOrder(stages: try bound.choosing(class: blend).stages, seed: sampling.seed, index: 0, guidance: guidance))
            }
        }
        Progress.begin("sampling")
        let sampled = try await engine.sample(
            SamplingRequest(client: "sheet", images: orders, sampler: sampler, steps: sampling.stepCount), onEvent: Progress.follow)
        let pictures = sampled.images.compactMap { $0.picture?.enlarged(by: enlarge) }
        let strips = pairs.indices.map { contactSheet(Array(pictures[($0 * weights.count)..<(($0 + 1) * weights.count)]), columns: weights.count, gap: 0) }
        try page(strips, pairs.map { "\($0) - \($1)" }).writePNG(to: file)
        struct Result: Encodable {
            let pairs, images: Int
            let secondsPerImage: Double
        }
        let result = Result(pairs: pairs.count, images: orders.count, secondsPerImage: sampled.times.sample / .seconds(1) / Double(orders.count))
        try output.report("sheet", result, outputs: [file]) {
            "\(pairs.count, "pair") at \(weights.count, "weight") written to \(file), \(readable(seconds: result.secondsPerImage)) an image"
        }
    }

    func weights(_ text: String) throws -> [Double] {
        let weights = text.split(separator: ",").map { Double($0) }
        guard !weights.isEmpty, weights.allSatisfy({ $0.map { (-10...10).contains($0) } ?? false }) else {
            throw Failure.usage("--cross takes weights such as 0,0.25,0.5,0.75,1; not '\(text)'")
        }
        return weights.compactMap { $0 }
    }

    /// Strips in four columns, each under its name.
    private func page(_ strips: [RGBImage], _ names: [String]) -> RGBImage {
        let columns = 4, gap = 8, line = RGBImage.letterHeight + 6
        let width = strips[0].width + gap, height = strips[0].height + line + gap
        var page = RGBImage(
            width: min(columns, strips.count) * width + gap, height: (strips.count + columns - 1) / columns * height + gap, filledWith: (24, 24, 28))
        for (index, strip) in strips.enumerated() {
            let (x, y) = (gap + index % columns * width, gap + index / columns * height)
            page.draw(text: names[index], x: x, y: y, colour: (190, 190, 200))
            page.draw(strip, x: x, y: y + line)
        }
        return page
    }
}
