import Evaluation
import Foundation
import ImageFiles
import SystemIO
import TensorMath

/// What one kind of features says of images.
struct Judgement: Encodable {
    var frechet: FrechetFigure?
    var agreement: DomainAgreement?
    var manifold: SampleManifold?
}

/// The images of one subject and setting, and what was found about them.
package struct EvaluatedSample: Encodable {
    let setting: SamplingSetting
    package let pictures: [RGBImage]
    /// The class that each was asked for; nil where the domain has none of the real images' classes.
    let classes: [String]?
    /// By the frozen base, and by the second judge where there is one.
    let features: [Matrix]
    let secondsPerImage: Double
    /// Those of the features.
    var judgements: [Judgement] = []
    /// Against the first setting at equal seeds.
    var psnr: PairedPSNR?

    var own: Judgement { judgements.first ?? Judgement() }

    enum CodingKeys: String, CodingKey { case setting, secondsPerImage, frechet, agreement, manifold, psnr, judge }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(setting, forKey: .setting)
        try values.encode(secondsPerImage, forKey: .secondsPerImage)
        try values.encodeIfPresent(own.frechet, forKey: .frechet)
        try values.encodeIfPresent(own.agreement, forKey: .agreement)
        try values.encodeIfPresent(own.manifold, forKey: .manifold)
        try values.encodeIfPresent(psnr, forKey: .psnr)
        if judgements.count > 1 { try values.encode(judgements[1], forKey: .judge) }
    }
}

/// The held-out error at another precision than the first setting's.
package struct PrecisionError: Encodable {
    let precision: Precision
    let error: DenoisingError
    /// Less the error at the first setting's precision, image by image.
    var change: Estimate?
}

/// One subject, and what was found of it.
package struct EvaluatedSubject: Encodable {
    let reference, digest: String
    /// Classes of the real images that it has; the others were measured and sampled without a class of theirs.
    let classesShared: Int
    var heldOut: DenoisingError?
    /// The held-out error less the first subject's, image by image.
    var heldOutChange: Estimate?
    var otherPrecisions: [PrecisionError] = []
    package internal(set) var samples: [EvaluatedSample] = []

    init(_ subject: EvaluationSubject, _ real: RealImages) {
        reference = subject.reference
        digest = subject.digest.description
        classesShared = real.classNames.count { subject.knows(class: $0, domain: real.domain) }
    }
}

/// What was measured against one set of real images.
package struct EvaluatedGroup: Encodable {
    package let real: RealImages
    package internal(set) var subjects: [EvaluatedSubject] = []
    var referenceImages = 0
    /// What is said of other real images in place of a sample's, as many: what a perfect sampler would score.
    var ofReal: [Judgement] = []

    init(_ real: RealImages) { self.real = real }

    mutating func compareErrors(_ bootstrap: Bootstrap) {
        for index in subjects.indices {
            for other in subjects[index].otherPrecisions.indices {
                let error = subjects[index].otherPrecisions[other].error
                subjects[index].otherPrecisions[other].change = subjects[index].heldOut.map { error.change(from: $0, bootstrap: bootstrap) }
            }
        }
        guard let first = subjects.first?.heldOut else { return }
        for index in subjects.indices.dropFirst() { subjects[index].heldOutChange = subjects[index].heldOut?.change(from: first, bootstrap: bootstrap) }
    }

    enum CodingKeys: String, CodingKey { case data, classes, subjects, referenceImages, floor, classifierOnReal, manifoldOfReal, judgeOnReal }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(real.source, forKey: .data)
        try values.encode(real.classNames, forKey: .classes)
        try values.encode(subjects, forKey: .subjects)
        try values.encode(referenceImages, forKey: .referenceImages)
        try values.encodeIfPresent(ofReal.first?.frechet, forKey: .floor)
        try values.encodeIfPresent(ofReal.first?.agreement, forKey: .classifierOnReal)
        try values.encodeIfPresent(ofReal.first?.manifold, forKey: .manifoldOfReal)
        if ofReal.count > 1 { try values.encode(ofReal[1], forKey: .judgeOnReal) }
    }
}

/// All that was measured, as `eval --json` prints it.
package struct EvaluationResult: Encodable {
    /// What the Fréchet figure's features are, and the second judge's.
    let features: String
    let judge: String?
    let images, heldOutImages, resamples: Int
    package let groups: [EvaluatedGroup]

    /// One row per subject and setting, after its headings; what no row has, and a source or a setting that all share, has no column.
    package var table: [[String]] {
        let head = [
            "DOMAIN", "SETTING", "AGAINST", "FRÉCHET", "CHANGE", "IN DOMAIN", "IN CLASS", "PRECISION", "RECALL", "VARIETY", "MEMORISED",
            "JUDGE", "CHANGE", "IN CLASS", "PRECISION", "RECALL", "PSNR", "ERROR", "CHANGE", "S/IMAGE",
        ]
        let rows = groups.flatMap { group in group.subjects.flatMap { self.rows($0, group) } + floor(group) }
        let used = head.indices.filter { column in
            let values = Set(rows.map { $0[column] }).subtracting(["-"])
            return !values.isEmpty && (head[column] != "AGAINST" || groups.count > 1) && (head[column] != "SETTING" || values.count > 1)
        }
        return ([head] + rows).map { row in used.map { row[$0] } }
    }

    private func rows(_ subject: EvaluatedSubject, _ group: EvaluatedGroup) -> [[String]] {
        let own = errors(subject.heldOut, subject.heldOutChange)
        var others = subject.otherPrecisions
        func row(_ setting: String, _ measured: [String], _ errors: [String], _ seconds: String) -> [String] {
            [subject.reference, setting, group.real.source] + measured + errors + [seconds]
        }
        guard !subject.samples.isEmpty else {
            let nothing = [String](repeating: "-", count: 14)
            return [row("-", nothing, own, "-")] + others.map { row("precision=\($0.precision.rawValue)", nothing, errors($0.error, $0.change), "-") }
        }
        return subject.samples.enumerated().map { position, sample in
            let measured = figures(sample.judgements) + [sample.psnr.map(decibels) ?? "-"]
            // An error belongs to a precision: it stands beside the first setting of it.
            let other = position > 0 ? others.firstIndex { $0.precision == sample.setting.precision }.map { others.remove(at: $0) } : nil
            return row(
                sample.setting.name, measured, position == 0 ? own : errors(other?.error, other?.change), String(format: "%.3f", sample.secondsPerImage))
        }
    }

    private func figures(_ judgements: [Judgement]) -> [String] {
        let own = judgements.first, second = judgements.dropFirst().first
        return [
            own?.frechet.map { short($0.distance) }, own?.frechet?.change.map { signed($0) }, own?.agreement.map { percent($0.domain) },
            own?.agreement?.class.map { percent($0) }, own?.manifold.map { percent($0.precision) }, own?.manifold.map { percent($0.recall) },
            own?.manifold?.variety.map { String(format: "%.2f", $0) }, own?.manifold?.memorised.map { percent($0) },
            second?.frechet.map { short($0.distance) }, second?.frechet?.change.map { signed($0) }, second?.agreement?.class.map { percent($0) },
            second?.manifold.map { percent($0.precision) }, second?.manifold.map { percent($0.recall) },
        ].map { $0 ?? "-" }
    }

    private func errors(_ error: DenoisingError?, _ change: Estimate?) -> [String] {
        [error.map { short($0.mean) }, change.map { signed($0) }].map { $0 ?? "-" }
    }

    private func floor(_ group: EvaluatedGroup) -> [[String]] {
        guard !group.ofReal.isEmpty else { return [] }
        var figures = figures(group.ofReal)
        // Of a perfect sampler, not a change.
        (figures[1], figures[9]) = ("-", "-")
        return [["real images", "-", group.real.source] + figures + ["-", "-", "-", "-"]]
    }

    /// What the table's columns mean.
    package var notes: [String] {
        var notes: [String] = []
        if images > 0 {
            let references = Set(groups.map(\.referenceImages)).sorted().map(String.init).joined(separator: " or ")
            notes.append(
                "Fréchet figure: squared Fréchet distance of Gaussians fitted to the \(features), in units of each one's deviation over the real images; \(images) images against \(references) real ones. Not the FID."
            )
            if groups.contains(where: { $0.subjects.contains { $0.samples.contains { $0.own.agreement != nil } } }) {
                notes.append("In domain, in class: share that a classifier on these features, taught with other real images, puts there.")
            }
            notes.append(
                "Precision: share of the images that lie among real ones; recall: share of the real images that lie among these; variety: distance of two images of a class over that of real ones."
            )
            if groups.contains(where: { $0.subjects.contains { $0.samples.contains { $0.own.manifold?.memorised != nil } } }) {
                notes.append("Memorised: share of the images that are nearer to one of the training images than any held-out image is.")
            }
        }
        if images > 0, let judge {
            notes.append("Judge: the Fréchet figure on the \(judge), and after it the class, precision and recall by these features.")
        }
        if heldOutImages > 0 {
            notes.append(
                "Error: on held-out images, unweighted training objective, at most \(heldOutImages, "image") at \(DenoisingError.usualBuckets) timesteps with fixed noise."
            )
            notes += groups.filter { !$0.real.holdsOut }.map {
                "The images of '\($0.real.source)' may be ones that were trained on: train with --validation to have some held out, here too."
            }
        }
        notes.append("± is the deviation over \(resamples) bootstrap resamples; a change is against the first row of the same real images, in pairs.")
        return notes
    }

    private func short(_ estimate: Estimate) -> String { "\(digits(estimate.value)) ± \(digits(estimate.standardError))" }
    private func signed(_ estimate: Estimate) -> String { (estimate.value < 0 ? "" : "+") + short(estimate) }
    private func percent(_ estimate: Estimate) -> String { String(format: "%.0f ± %.0f %%", 100 * estimate.value, 100 * estimate.standardError) }
    private func decibels(_ psnr: PairedPSNR) -> String { psnr.median.map { String(format: "%.1f dB", $0) } ?? "equal" }
    private func digits(_ value: Double) -> String {
        String(format: value != 0 && abs(value) < 0.001 ? "%.1e" : abs(value) < 1 ? "%.3f" : abs(value) < 10 ? "%.2f" : "%.1f", value)
    }
}
