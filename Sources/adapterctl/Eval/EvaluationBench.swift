import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Evaluation
import Foundation
import ImageFiles
import SamplingEngine
import SyntheticDomains
import TensorMath

/// What one evaluation holds on to: the frozen base that measures, the pool, and the random numbers.
struct EvaluationBench {
    let frozen: BaseFile
    let convention: DiffusionConvention
    let features: FrozenFeatures
    private let counts: EvaluationCounts
    private let bootstrap: Bootstrap
    private let seed: UInt64
    private let cache: FeatureCache
    private let pool = ThreadPool()

    init(frozen: BaseFile, counts: EvaluationCounts, seed: UInt64, usesCache: Bool) throws {
        (self.frozen, self.counts, self.seed) = (frozen, counts, seed)
        convention = try TrainingObjective(frozen, lossWeighting: "constant").convention
        features = FrozenFeatures(try InferenceDiT(frozen), base: frozen, convention: convention)
        bootstrap = Bootstrap(resamples: counts.resamples)
        cache = FeatureCache(features, base: frozen.digest, isUsed: usesCache, pool: pool)
    }

    /// Everything about the subjects of one set of real images: all that is compared is compared with the first of them.
    func evaluate(_ subjects: [EvaluationSubject], _ real: RealImages, _ settings: [SamplingSetting]) async throws -> EvaluatedGroup {
        var group = EvaluatedGroup(real)
        let heldOut = counts.heldOut > 0 ? real.latents(.heldOut, counts.heldOut, pool: pool) : nil
        for subject in subjects {
            var evaluated = EvaluatedSubject(subject, real)
            if let heldOut, let adapter = subject.adapter {
                note("\(subject.reference): denoising error of \(heldOut.count, "held-out image")")
                Progress.begin("measuring")
                evaluated.heldOut = try denoisingError(adapter, of: subject, heldOut, real, settings[0].precision)
                for precision in Precision.allCases where precision != settings[0].precision && settings.contains(where: { $0.precision == precision }) {
                    let error = try denoisingError(adapter, of: subject, heldOut, real, precision)
                    evaluated.otherPrecisions.append(PrecisionError(precision: precision, error: error))
                }
            }
            for setting in counts.n > 0 ? settings : [] {
                note("\(subject.reference), \(setting.name): \(counts.n, "image")")
                Progress.begin("sampling")
                evaluated.samples.append(try await sample(subject, setting, real))
            }
            group.subjects.append(evaluated)
        }
        group.compareErrors(bootstrap)
        if counts.n > 0 { try compareSamples(&group, real) }
        return group
    }

    private func denoisingError(_ adapter: BoundAdapter, of subject: EvaluationSubject, _ images: LabelledLatents, _ real: RealImages, _ precision: Precision)
        throws -> DenoisingError
    {
        let rows = try real.classNames.map { name in
            if let row = subject.row(ofClass: name, domain: real.domain) { return row }
            guard adapter.classes.hasNullRow else { throw Failure.usage("'\(subject.reference)' has no class '\(name)', and none that stands for no class") }
            return adapter.classes.nullClass
        }
        // An adapter of another resolution is measured at that.
        var images = try adapter.grid.map { try real.resized(to: $0.size).latents(.heldOut, images.count, pool: pool) } ?? images
        images.labels = images.labels.map { rows[$0] }
        let adapterSlots = AdapterSlots(subject.base.layout, count: 1, classRows: adapter.classes.rows)
        adapterSlots.install(adapter.vector, adapter.classes, slot: 0)
        return DenoisingError.measure(
            try InferenceDiT(subject.base, precision: precision).fitting(adapter.grid), tunables: adapterSlots.tunables[0],
            objective: try TrainingObjective(subject.base, lossWeighting: "constant"), images: images, bootstrap: bootstrap, pool: pool)
    }

    /// Images of the classes that the real ones have, in turn; of all its own where it has none of them.
    private func sample(_ subject: EvaluationSubject, _ setting: SamplingSetting, _ real: RealImages) async throws -> EvaluatedSample {
        let shared = real.classNames.compactMap { name in subject.stages(ofClass: name, domain: real.domain).map { (name: name, stages: $0) } }
        let classes = try shared.isEmpty ? subject.ownStages() : shared.map(\.stages)
        var orders = (0..<counts.n).map { index in
            ImageOrder(stages: classes[index % classes.count], seed: seed, index: UInt64(index), guidance: setting.guidance)
        }
        let cache = try subject.cache(setting)
        for index in orders.indices { orders[index].cache = cache }
        let engine = try SamplingEngine(subject.base, options: .unbounded(at: setting.precision), pool: pool)
        let result = try await engine.sample(
            SamplingRequest(client: "eval", images: orders, sampler: setting.sampler, steps: setting.steps), onEvent: Progress.follow)
        let pictures = result.images.compactMap(\.picture)
        let latents = LabelledLatents(labels: Array(pictures.indices), size: features.imageCount, pool: pool) { [side = features.imageSize] index, row in
            let picture = pictures[index]
            (picture.width == side ? picture : picture.centreCropped(to: side)).copy(into: row)
        }
        return EvaluatedSample(
            setting: setting, pictures: pictures, classes: shared.isEmpty ? nil : orders.indices.map { shared[$0 % shared.count].name },
            features: features.measure(latents.values, pool: pool), secondsPerImage: result.times.sample / .seconds(1) / Double(counts.n))
    }

    /// Fréchet figures, agreement with the classifier and paired PSNR of every sample of the group.
    private func compareSamples(_ group: inout EvaluatedGroup, _ real: RealImages) throws {
        Progress.begin("comparing")
        note("\(real.source): \(counts.reference, "real image")\(counts.lessons > 0 ? ", and the classifier's" : "")")
        let images = real.latents(.reference, counts.reference, pool: pool)
        guard images.count > 1 else {
            throw Failure.usage("'\(real.source)' has \(images.count, "picture"); the Fréchet figure compares with two or more: give --n 0")
        }
        let reference = cache.measure(images)
        let second = real.isEndless ? cache.measure(real.latents(.second, counts.n, pool: pool)) : nil
        let taught = counts.lessons > 0 ? try classifier(with: real) : nil
        let sampled = group.subjects.flatMap { $0.samples.map(\.features) }
        var figures = FrechetFigure.measure(
            reference: reference, samples: sampled + (second.map { [$0] } ?? []), bootstrap: bootstrap, pool: pool)
        if let second {
            group.floor = figures.removeLast()
            let classes = (0..<second.rows).map { real.classNames[$0 % real.classNames.count] }
            group.classifierOnReal = taught.map { $0.classifier.agreement(second, domain: $0.domain, classes: classes, bootstrap: bootstrap) }
        }
        group.referenceImages = reference.rows
        for index in group.subjects.indices {
            for position in group.subjects[index].samples.indices {
                let sample = group.subjects[index].samples[position]
                group.subjects[index].samples[position].frechet = figures.removeFirst()
                group.subjects[index].samples[position].agreement = taught.map {
                    $0.classifier.agreement(sample.features, domain: $0.domain, classes: sample.classes, bootstrap: bootstrap)
                }
                if position > 0 {
                    group.subjects[index].samples[position].psnr = PairedPSNR(sample.pictures, against: group.subjects[index].samples[0].pictures)
                }
            }
        }
    }

    /// Trained on drawn images of the eight domains, and on the folder's where the real images are one.
    /// - Returns: the position of the real images' domain too; a folder may have a drawn one's name.
    private func classifier(with real: RealImages) throws -> (classifier: DomainClassifier, domain: Int) {
        let eight = try SyntheticDomain.downstream.map { try RealImages("synthetic:\($0.name)", size: features.imageSize) }
        let domains = eight.contains { $0.source == real.source } ? eight : eight + [real]
        var rows: [Matrix] = [], labels: [DomainClassifier.Label] = []
        for (index, domain) in domains.enumerated() {
            let images = domain.latents(.lesson, counts.lessons * domain.classNames.count, pool: pool)
            rows.append(cache.measure(images))
            labels += images.labels.map { DomainClassifier.Label(domain: index, class: $0) }
        }
        let all = Memory(capacity: Memory.paddedCount(labels.count * features.width)).take(labels.count, features.width)
        var next = 0
        for part in rows {
            all.rows(next..<(next + part.rows)).copy(from: part)
            next += part.rows
        }
        let classifier = DomainClassifier(domains.map { DomainClassifier.Domain(name: $0.domain, classes: $0.classNames) }, features: all, labels: labels)
        return (classifier, domains.firstIndex { $0.source == real.source } ?? 0)
    }
}
