import AdapterTraining
import Foundation
import SyntheticDomains

/// Training images as the command line names them.
func loadData(_ text: String, size: Int, perClass: Int, seed: UInt64) throws -> TrainingData {
    if text.hasPrefix("synthetic:") {
        let domain = try SyntheticDomain.known(String(text.dropFirst("synthetic:".count)))
        guard (1...100_000).contains(perClass) else { throw Failure.usage("--per-class is between 1 and 100000, not \(perClass)") }
        let labels = domain.classes.indices.flatMap { [Int](repeating: $0, count: perClass) }
        let images = labels.enumerated().map { domain.image(class: $1, index: $0 % perClass, size: size, seed: seed) }
        return TrainingData(classNames: domain.classes, size: size, images: images, labels: labels, summary: text)
    }
    let (data, report) = try TrainingData.folder(text, size: size)
    for broken in report.broken { note("skipped: \(broken)") }
    if !report.broken.isEmpty { note("\(report.broken.count, "file") could not be used, \(data.count) could") }
    return data
}

extension SyntheticDomain {
    static func known(_ name: String) throws -> SyntheticDomain {
        guard let found = named(name) else {
            let known = ([base] + downstream).map(\.name).joined(separator: ", ")
            throw Failure.notFound("there is no synthetic domain '\(name)': known are \(known)" + suggestion(for: name, among: ([base] + downstream).map(\.name)))
        }
        return found
    }
}
