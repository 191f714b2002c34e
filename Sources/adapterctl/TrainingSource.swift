import AdapterFormat
import AdapterTraining
import ArgumentParser
import Foundation
import SyntheticDomains
import TensorMath

/// What is taken of a data set.
struct DataOptions: ParsableArguments {
    @Option(help: "train, validation or test, of data that comes in parts (default: train).") var split: String?
    @Option(help: "Classes to take, separated by commas (default: all).") var classes: String?
    @Option(help: "Pictures of each class: drawn of a synthetic domain (default: 1000; of a base 1500), or at most, chosen by the seed (default: all).")
    var perClass: Int?

    func validate() throws {
        if let split, DataSplit(rawValue: split) == nil {
            throw ValidationError("--split is \(DataSplit.allCases.map(\.rawValue).joined(separator: ", ")), not '\(split)'")
        }
        guard (1...100_000).contains(perClass ?? 1) else { throw ValidationError("--per-class is between 1 and 100000, not \(perClass ?? 0)") }
    }

    func selection(seed: UInt64) -> DataSelection {
        let names = classes?.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } ?? []
        return DataSelection(split: split.flatMap { DataSplit(rawValue: $0) }, classes: names, perClass: perClass, seed: seed)
    }
}

/// Training images as the command line names them: a drawn domain, or pictures, of which is said what was not used.
/// - Parameters:
///   - drawn: pictures of each class of a drawn domain, where the selection does not say.
///   - allowsEmpty: whether a class of a folder may have no usable picture.
func loadData(
    _ text: String, _ selection: DataSelection, size: Int, drawn: Int, allowsEmpty: Bool = false, pool: ThreadPool
) throws -> TrainingData {
    if text.hasPrefix("synthetic:") {
        let domain = try SyntheticDomain.known(String(text.dropFirst("synthetic:".count))), seed = selection.seed, perClass = selection.perClass ?? drawn
        guard selection.split == nil, selection.classes.isEmpty else {
            throw Failure.usage("a drawn domain has no parts and is drawn with all of its classes: leave --split and --classes out")
        }
        let labels = domain.classes.indices.flatMap { [Int](repeating: $0, count: perClass) }
        let images = labels.enumerated().map { domain.image(class: $1, index: $0 % perClass, size: size, seed: seed) }
        return TrainingData(classNames: domain.classes, size: size, images: images, labels: labels, summary: text)
    }
    try checkScheme(text)
    let start = ContinuousClock.now
    let data = try TrainingData.pictures(text, selection, size: size, allowsEmpty: allowsEmpty, pool: pool) { done, count in
        guard ProgressLine.isTerminal, ContinuousClock.now - start > .seconds(1) else { return }
        ProgressLine.draw(["reading pictures: \(done) of \(count)"])
    }
    if let report = data.folder { tell(report, used: data.count) }
    return data
}

/// Refuses what --data cannot mean, before the work.
func checkData(_ text: String) throws {
    if text.hasPrefix("synthetic:") {
        _ = try SyntheticDomain.known(String(text.dropFirst("synthetic:".count)))
    } else {
        try checkScheme(text)
        try TrainingData.check(text)
    }
}

/// Names the drawn domain that was probably meant, where there is no such folder: a misspelt scheme, or none.
func checkScheme(_ text: String) throws(Failure) {
    guard !FileManager.default.fileExists(atPath: text) else { return }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let known = ([SyntheticDomain.base] + SyntheticDomain.downstream).map(\.name), domain = parts.last ?? ""
    let isScheme = parts.count == 1 || (!parts[0].contains("/") && (known.contains(domain) || !nearestNames(to: parts[0], among: ["synthetic"]).isEmpty))
    guard isScheme, let near = nearestNames(to: domain.lowercased(), among: known, limit: 1).first, parts.count > 1 || near == domain else { return }
    throw .notFound("there is no folder '\(text)' to read pictures from; did you mean synthetic:\(near)?")
}

/// The first files that could not be used by name, the others by number; data.json has all.
private func tell(_ report: FolderReport, used: Int) {
    let shown = 10
    for skipped in report.skipped.prefix(shown) { note("skipped '\(skipped.file)': \(skipped.reason)") }
    if report.skipped.count > shown { note("and \(report.skipped.count - shown) more, which the run's data.json names") }
    if !report.skipped.isEmpty { note("\(report.skipped.count, "file") could not be used, \(used) could") }
    if let line = report.passedOverLine { note(line) }
    for remark in report.remarks { note("note: \(remark)") }
}

extension SyntheticDomain {
    static func known(_ name: String) throws -> SyntheticDomain {
        guard let found = named(name) else {
            let known = ([base] + downstream).map(\.name).joined(separator: ", ")
            throw Failure.notFound(
                "there is no synthetic domain '\(name)': known are \(known)" + suggestion(for: name, among: ([base] + downstream).map(\.name)))
        }
        return found
    }
}
