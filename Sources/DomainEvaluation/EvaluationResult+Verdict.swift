import Evaluation
import Foundation

extension EvaluationResult {
    /// What was found, in plain words, a sentence for each that was compared with the first: which is better, by how much, and whether that is
    /// certain, for which a change must be larger than two of its standard errors.
    package var verdict: [String] { groups.flatMap(verdict) }

    /// A subject at one setting.
    private struct Candidate {
        let name: String
        let frechet: FrechetFigure?
        let heldOut: DenoisingError?
        let heldOutChange: Estimate?
        let agreement: DomainAgreement?
    }

    private func verdict(_ group: EvaluatedGroup) -> [String] {
        let candidates = group.subjects.flatMap { subject -> [Candidate] in
            guard !subject.samples.isEmpty else {
                return [Candidate(name: subject.reference, frechet: nil, heldOut: subject.heldOut, heldOutChange: subject.heldOutChange, agreement: nil)]
            }
            return subject.samples.enumerated().map { position, sample in
                let names = [
                    group.subjects.count > 1 || subject.samples.count == 1 ? subject.reference : nil, subject.samples.count > 1 ? sample.setting.name : nil,
                ]
                // The held-out error knows no setting.
                return Candidate(
                    name: names.compactMap { $0 }.joined(separator: " at "), frechet: sample.own.frechet, heldOut: position == 0 ? subject.heldOut : nil,
                    heldOutChange: position == 0 ? subject.heldOutChange : nil, agreement: sample.own.agreement)
            }
        }
        guard let first = candidates.first else { return [] }
        guard candidates.count > 1 else { return [alone(first, group)].compactMap { $0 } }
        return candidates.dropFirst().compactMap { compared($0, with: first, group) }
    }

    private func alone(_ one: Candidate, _ group: EvaluatedGroup) -> String? {
        guard let frechet = one.frechet else { return nil }
        var text = "\(one.name) against \(group.real.source): a Fréchet figure of \(figure(frechet.distance.value))"
        if let floor = group.ofReal.first?.frechet { text += ", where real images in its place have \(figure(floor.distance.value))" }
        if let right = one.agreement?.class { text += String(format: "; %.0f of 100 pictures are of their class", 100 * right.value) }
        return text + "."
    }

    private func compared(_ one: Candidate, with first: Candidate, _ group: EvaluatedGroup) -> String? {
        let found = [
            one.frechet.flatMap { own in
                own.change.map { Finding("Fréchet figure", own.distance.value, first.frechet?.distance.value ?? 0, $0) }
            },
            one.heldOut.flatMap { own in
                one.heldOutChange.map { Finding("held-out error", own.mean.value, first.heldOut?.mean.value ?? 0, $0) }
            },
        ].compactMap { $0 }
        guard let main = found.first else { return nil }
        let words = found.map { "\($0.name) \(figure($0.value)) against \(figure($0.other)) (\($0.isCertain ? "certain" : "within chance"))" }
        let certain = found.filter(\.isCertain)
        let against = group.real.source
        guard let leading = certain.first else {
            return "\(one.name) and \(first.name) cannot be told apart against \(against): \(words.joined(separator: ", "))."
        }
        if certain.contains(where: { $0.isBetter != leading.isBetter }) {
            return "\(one.name) and \(first.name) against \(against) are each better by one figure: \(words.joined(separator: ", "))."
        }
        let ratio = max(leading.value, leading.other) / max(min(leading.value, leading.other), .leastNormalMagnitude)
        let share = ratio < 2 ? String(format: " by %.0f %%", 100 * abs(leading.value - leading.other) / leading.other) : String(format: ", %.1f times", ratio)
        let other = main.isCertain ? "" : " by its \(leading.name)"
        return
            "\(one.name) is \(leading.isBetter ? "better" : "worse") than \(first.name) against \(against)\(other)\(share): \(words.joined(separator: ", "))."
    }

    /// A figure beside the first's; less is better.
    private struct Finding {
        let name: String
        let value, other: Double
        let isCertain, isBetter: Bool

        init(_ name: String, _ value: Double, _ other: Double, _ change: Estimate) {
            (self.name, self.value, self.other) = (name, value, other)
            isCertain = abs(change.value) > 2 * change.standardError
            isBetter = change.value < 0
        }
    }

    private func figure(_ value: Double) -> String { value.formatted(.number.precision(.significantDigits(3)).grouping(.never)) }
}
