import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Evaluation
import ImageFiles
import SamplingEngine
import SyntheticDomains
import SystemIO
import TensorMath

/// How much of each kind an evaluation measures.
package struct EvaluationCounts: Sendable {
    /// Images sampled per domain and setting; 0 samples none.
    package var images: Int
    /// Held-out images of the denoising error; 0 leaves it out.
    package var heldOut: Int
    /// Real images that the Fréchet figure compares with.
    package var reference: Int
    /// Real images per class that the domain classifier is taught with; 0 leaves it out.
    package var lessons: Int
    /// Bootstrap resamples behind each standard error, two or more.
    package var resamples: Int

    package init(images: Int, heldOut: Int, reference: Int, lessons: Int, resamples: Int) {
        (self.images, self.heldOut, self.reference, self.lessons, self.resamples) = (images, heldOut, reference, lessons, resamples)
    }
}

/// What a bench is at, for whoever waits for it.
package enum EvaluationEvent: Sendable {
    /// "measuring", "sampling" or "comparing" begins.
    case phase(String)
    /// A line about what is measured next.
    case note(String)
    /// Of the request that samples.
    case sampling(SamplingEvent)
}

/// What one evaluation holds on to: the features of the frozen base that measure, the pool, and the random numbers.
package struct EvaluationBench {
    package let convention: DiffusionConvention
    /// The frozen base, and a classifier where one was given.
    private let judges: [Judge]
    private let counts: EvaluationCounts
    private let bootstrap: Bootstrap
    private let seed: UInt64
    private let pool = ThreadPool()
    private let onEvent: (EvaluationEvent) -> Void

    /// Features that measure, and those of real images that are kept.
    private struct Judge {
        let features: FrozenFeatures
        let cache: FeatureCache

        init(_ features: FrozenFeatures, of base: BaseFile, folder: String?, pool: ThreadPool) {
            (self.features, cache) = (features, FeatureCache(features, base: base.digest, folder: folder, pool: pool))
        }
    }

    /// - Parameters:
    ///   - frozen: the base whose features measure; every subject is an adapter of it, or of a base of its shape.
    ///   - judge: a classifier (`ClassifierSource`) whose features measure beside them.
    ///   - seed: of the sampled images.
    ///   - featureFolder: keeps features of real images for another evaluation; nil measures them anew.
    package init(
        frozen: BaseFile, judge: BaseFile? = nil, counts: EvaluationCounts, seed: UInt64, featureFolder: String? = nil,
        onEvent: @escaping (EvaluationEvent) -> Void = { _ in }
    ) throws {
        (self.counts, self.seed, self.onEvent) = (counts, seed, onEvent)
        convention = try TrainingObjective(frozen, lossWeighting: "constant").convention
        var judges = [
            Judge(
                FrozenFeatures(try InferenceDiT(frozen), base: frozen, convention: convention), of: frozen, folder: featureFolder, pool: pool)
        ]
        if let judge {
            let (size, own) = (judge.configuration.inputSize, frozen.configuration.inputSize)
            guard judge.card.prediction == ClassifierSource.prediction else { throw EvaluationError.noClassifier(judge.card.name) }
            guard size == own else { throw EvaluationError.judgeSize(size, base: own) }
            judges.append(
                Judge(try FrozenFeatures(InferenceDiT(judge), classifier: judge), of: judge, folder: featureFolder, pool: pool))
        }
        self.judges = judges
        bootstrap = Bootstrap(resamples: counts.resamples)
    }

    /// What was found of every group, as it is reported.
    package func result(_ groups: [EvaluatedGroup]) -> EvaluationResult {
        EvaluationResult(
            features: judges[0].features.description, judge: judges.dropFirst().first?.features.description, images: counts.images,
            heldOutImages: counts.heldOut, resamples: counts.resamples, groups: groups)
    }

    /// Everything about the subjects of one set of real images: all that is compared is compared with the first of them.
    /// - Throws: `EvaluationError`, and what binding, sampling and reading throw.
    package func evaluate(_ subjects: [EvaluationSubject], _ real: RealImages, _ settings: [SamplingSetting]) async throws -> EvaluatedGroup {
        var group = EvaluatedGroup(real)
        let heldOut = counts.heldOut > 0 ? real.latents(.heldOut, counts.heldOut, pool: pool) : nil
        for subject in subjects {
            var evaluated = EvaluatedSubject(subject, real)
            if let heldOut, let adapter = subject.adapter {
                onEvent(.note("\(subject.reference): denoising error of \(heldOut.count, "held-out image")"))
                onEvent(.phase("measuring"))
                evaluated.heldOut = try denoisingError(adapter, of: subject, heldOut, real, settings[0].precision)
                for precision in Precision.allCases where precision != settings[0].precision && settings.contains(where: { $0.precision == precision }) {
                    let error = try denoisingError(adapter, of: subject, heldOut, real, precision)
                    evaluated.otherPrecisions.append(PrecisionError(precision: precision, error: error))
                }
            }
            for setting in counts.images > 0 ? settings : [] {
                onEvent(.note("\(subject.reference), \(setting.name): \(counts.images, "image")"))
                onEvent(.phase("sampling"))
                evaluated.samples.append(try await sample(subject, setting, real))
            }
            group.subjects.append(evaluated)
        }
        group.compareErrors(bootstrap)
        if counts.images > 0 {
            onEvent(.phase("comparing"))
            onEvent(.note("\(real.source): \(counts.reference, "real image")\(counts.lessons > 0 ? ", and the classifier's" : "")"))
            for judge in judges.indices { try compareSamples(&group, real, by: judge) }
            comparePictures(&group)
        }
        return group
    }

    private func denoisingError(_ adapter: BoundAdapter, of subject: EvaluationSubject, _ images: LabelledLatents, _ real: RealImages, _ precision: Precision)
        throws -> DenoisingError
    {
        let rows = try real.classNames.map { name in
            if let row = subject.row(ofClass: name, domain: real.domain) { return row }
            guard adapter.classes.hasNullRow else { throw EvaluationError.noClass(name, reference: subject.reference) }
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
        let settled = try subject.settled(setting)
        guard let sampling = settled.setting.sampling else { preconditionFailure("a setting without a sampling") }
        let shared = real.classNames.compactMap { name in subject.stages(ofClass: name, domain: real.domain, settled).map { (name: name, stages: $0) } }
        let classes = try shared.isEmpty ? subject.ownStages(settled) : shared.map(\.stages)
        var orders = (0..<counts.images).map { index in
            ImageOrder(stages: classes[index % classes.count], seed: seed, index: UInt64(index), guidance: sampling.guidance)
        }
        for index in orders.indices { orders[index].cache = settled.cache }
        let engine = try SamplingEngine(subject.base, options: .unbounded(at: setting.precision), pool: pool)
        var request = SamplingRequest(client: "eval", images: orders, sampler: sampling.sampler, steps: sampling.steps)
        request.solver = sampling.solver
        let result = try await engine.sample(request, onEvent: { onEvent(.sampling($0)) })
        let pictures = result.images.compactMap(\.picture)
        let own = judges[0].features
        let latents = LabelledLatents(labels: Array(pictures.indices), size: own.imageCount, pool: pool) { [side = own.imageSize] index, row in
            let picture = pictures[index]
            (picture.width == side ? picture : picture.centreCropped(to: side)).copy(into: row)
        }
        return EvaluatedSample(
            setting: settled.setting, pictures: pictures, classes: shared.isEmpty ? nil : orders.indices.map { shared[$0 % shared.count].name },
            features: judges.map { $0.features.measure(latents.values, pool: pool) }, secondsPerImage: result.times.sample / .seconds(1) / Double(counts.images)
        )
    }

    /// Fréchet figures, agreement with the classifier and the manifold of every sample of the group, by one judge's features.
    private func compareSamples(_ group: inout EvaluatedGroup, _ real: RealImages, by position: Int) throws {
        let cache = judges[position].cache
        let images = real.latents(.reference, counts.reference, pool: pool)
        guard images.count > 1 else { throw EvaluationError.fewPictures(images.count, source: real.source) }
        let reference = cache.measure(images)
        let second = real.isEndless ? cache.measure(real.latents(.second, counts.images, pool: pool)) : nil
        let taught = counts.lessons > 0 ? try classifier(with: real, judges[position]) : nil
        let sampled = group.subjects.flatMap { $0.samples.map { $0.features[position] } }
        let parts = real.trainedAndHeldOut(pool: pool), known = parts.map { (cache.measure($0.training), cache.measure($0.heldOut)) }
        let manifold = { (features: Matrix, classes: [String]?) in
            SampleManifold(
                sample: features, classes: classes?.compactMap { real.classNames.firstIndex(of: $0) }, reference: reference,
                referenceLabels: images.labels, training: known?.0, heldOut: known?.1, bootstrap: bootstrap)
        }
        let agreement = { (features: Matrix, classes: [String]?) in
            taught.map { $0.classifier.agreement(features, domain: $0.domain, classes: classes, bootstrap: bootstrap) }
        }
        var figures = FrechetFigure.measure(
            reference: reference, samples: sampled + (second.map { [$0] } ?? []), bootstrap: bootstrap, pool: pool)
        if let second {
            let classes = (0..<second.rows).map { real.classNames[$0 % real.classNames.count] }
            group.ofReal.append(Judgement(frechet: figures.removeLast(), agreement: agreement(second, classes), manifold: manifold(second, classes)))
        } else if let parts, let heldOut = known?.1 {
            // Of a folder there are no further pictures, but those that nobody was taught with can be told apart too.
            group.ofReal.append(Judgement(agreement: agreement(heldOut, parts.heldOut.labels.map { real.classNames[$0] })))
        }
        group.referenceImages = reference.rows
        for index in group.subjects.indices {
            for sample in group.subjects[index].samples.indices {
                let (features, classes) = (group.subjects[index].samples[sample].features[position], group.subjects[index].samples[sample].classes)
                group.subjects[index].samples[sample].judgements.append(
                    Judgement(frechet: figures.removeFirst(), agreement: agreement(features, classes), manifold: manifold(features, classes)))
            }
        }
    }

    /// The pictures of every setting against those of the first.
    private func comparePictures(_ group: inout EvaluatedGroup) {
        for index in group.subjects.indices {
            for position in group.subjects[index].samples.indices.dropFirst() {
                group.subjects[index].samples[position].psnr = PairedPSNR(
                    group.subjects[index].samples[position].pictures, against: group.subjects[index].samples[0].pictures)
            }
        }
    }

    /// Trained on drawn images of the eight domains, and on the folder's where the real images are one.
    /// - Returns: the position of the real images' domain too; a folder may have a drawn one's name.
    private func classifier(with real: RealImages, _ judge: Judge) throws -> (classifier: DomainClassifier, domain: Int) {
        let eight = SyntheticDomain.downstream.map { RealImages($0, size: judge.features.imageSize) }
        let domains = eight.contains { $0.source == real.source } ? eight : eight + [real]
        var rows: [Matrix] = [], labels: [DomainClassifier.Label] = []
        for (index, domain) in domains.enumerated() {
            let images = domain.latents(.lesson, counts.lessons * domain.classNames.count, pool: pool)
            rows.append(judge.cache.measure(images))
            labels += images.labels.map { DomainClassifier.Label(domain: index, class: $0) }
        }
        let all = Memory(capacity: Memory.paddedCount(labels.count * judge.features.width)).take(labels.count, judge.features.width)
        var next = 0
        for part in rows {
            all.rows(next..<(next + part.rows)).copy(from: part)
            next += part.rows
        }
        let classifier = DomainClassifier(domains.map { DomainClassifier.Domain(name: $0.domain, classes: $0.classNames) }, features: all, labels: labels)
        return (classifier, domains.firstIndex { $0.source == real.source } ?? 0)
    }
}
