import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation
import SystemIO

/// What lists and results say of one adapter.
struct AdapterSummary: Encodable {
    let name: String?
    let digest: String
    let base: String
    let classes: Int
    /// domain, guidance, steps or recovery.
    let role: String
    let trainableSet: String
    let storedBytes: Int
    let contentBytes: Int

    init(_ entry: AdapterEntry) {
        name = entry.name
        digest = entry.digest.description
        base = entry.baseDigest.description
        classes = entry.classCount
        // One that cannot be read does not hide the others.
        let manifest = try? entry.decodedManifest()
        role = manifest?.role ?? "damaged"
        trainableSet = manifest?.trainableSet.method.rawValue ?? "damaged"
        storedBytes = entry.storedBytes
        contentBytes = entry.contentBytes
    }
}

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the adapters by name.", discussion: "Example: adapterctl list --json")
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let entries = try location.open().list()
        try output.report("list", entries.map(AdapterSummary.init)) {
            entries.isEmpty
                ? "no adapters yet: adapterctl add NAME FILE"
                : table(
                    [["NAME", "DIGEST", "ROLE", "CLASSES", "SET", "STORED", "BASE"]]
                        + entries.map { entry in
                            let summary = AdapterSummary(entry)
                            return [
                                entry.name ?? "-", entry.digest.short, summary.role, "\(entry.classCount)", summary.trainableSet,
                                readable(bytes: entry.storedBytes), entry.baseDigest.short,
                            ]
                        })
        }
    }
}

struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show one adapter's manifest.", discussion: "Example: adapterctl show flowers")
    @Argument(help: "A name, a digest or its first digits, or name@digest.", completion: .adapterNames) var reference: String
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Details: Encodable {
        let summary: AdapterSummary
        let manifest: AdapterManifest
    }

    func run() throws {
        let store = try location.open()
        let entry = try store.lookup(reference)
        let manifest = try entry.decodedManifest()
        try output.report("show", Details(summary: AdapterSummary(entry), manifest: manifest)) {
            var rows = [
                ["name", entry.name ?? "-"], ["digest", "\(entry.digest)"], ["base", "\(entry.baseDigest)"],
                ["stored", "\(readable(bytes: entry.storedBytes)) of \(readable(bytes: entry.contentBytes))"],
            ]
            rows += [
                ["set", manifest.setDescription],
                ["predicts", "\(manifest.prediction) on the \(manifest.path) path"],
            ]
            rows += manifest.distillation?.description ?? [["classes", manifest.classes.joined(separator: ", ")]]
            if let recovery = manifest.recovery { rows.append(["recovery", "\(recovery) of its sparse base is in its values"]) }
            if let folded = manifest.foldedGuidance { rows.append(["guidance", "\(folded.kind) \(folded.scale) is in its values"]) }
            if let grid = manifest.imageGrid { rows.append(["images", "\(grid.size, "pixel"), positions divided by \(grid.positionScale)"]) }
            if let facts = manifest.training {
                rows.append([
                    "training",
                    "\(facts.steps, "step") of \(facts.batch) from \(facts.data), seed \(facts.seed), loss \(facts.loss)\(facts.precision.map { ", \($0)" } ?? "")",
                ])
            }
            if let recipe = manifest.recipe { rows.append(["recipe", recipe]) }
            for (index, parent) in (manifest.parents ?? []).enumerated() {
                // A name is a label of now: the parent may have none any more, or be gone.
                let names = (try? store.names(of: parent)) ?? []
                rows.append([index == 0 ? "parents" : "", parent.description + (names.isEmpty ? "" : ", now \(names.joined(separator: ", "))")])
            }
            return table(rows)
        }
    }
}

extension DistillationRecord {
    /// What it is for, in rows of a table.
    var description: [[String]] {
        let between = guidanceInterval == [0, 1] ? "" : " from \(guidanceInterval[0]) to \(guidanceInterval[1])"
        var rows = [["role", "\(role.rawValue), \(method)"]]
        if let recovers {
            rows.append(["recovers", "the dense base \(recovers)"])
        } else {
            rows.append(["guidance", "\(guidance) \(guidanceScale)\(between) is in its values"])
        }
        if let solver {
            rows.append([
                "steps", "\(solver.steps), at \(solver.times.map { $0.formatted(.number.precision(.significantDigits(1...3))) }.joined(separator: " "))",
            ])
        }
        if let dial {
            rows.append(["dial", dial.map { String(format: "%.2f at %.1f dB", $0.scale, $0.psnr) }.joined(separator: ", ")])
        }
        rows.append(["learned from", domains.map(\.name).joined(separator: ", ")])
        if let psnr { rows.append(["nearness", String(format: "%.1f dB to its teacher", psnr)]) }
        return rows
    }
}

extension AdapterManifest {
    var setDescription: String {
        guard let lowRank else { return "\(trainableSet.method.rawValue), gammas in \(trainableSet.gammaDepth, "block")" }
        let ranks = Set(lowRank.ranks.values).sorted()
        let span = ranks.count > 1 ? "\(ranks[0]) to \(ranks[ranks.count - 1])" : "\(ranks.first ?? 0)"
        let scales = Set(lowRank.ranks.keys.map(lowRank.scale)).sorted()
        let factor = scales.count > 1 ? "scales \(scales[0]) to \(scales[scales.count - 1])" : "scale \(scales.first ?? lowRank.scale)"
        return "\(trainableSet.method.rawValue), rank \(span) in \(lowRank.ranks.count, "layer"), \(factor)"
    }
}

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read everything back and check every digest.", discussion: "Example: adapterctl verify --golden")
    @Flag(help: "Also make each adapter's recorded network call again and compare.") var golden = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Finding: Encodable {
        let subject: String
        let finding: String
    }

    func run() throws {
        let store = try location.open()
        Progress.begin("verifying")
        var known: [Digest: BaseValues] = [:]
        var unreadable: [VerifyEntry] = []
        for entry in try store.listBases() {
            do { known[entry.digest] = try store.baseFile(entry.digest).values() } catch {
                unreadable.append(VerifyEntry(subject: .base(entry.digest), finding: .damaged(words(of: error))))
            }
        }
        var report = try store.verify { known[$0] }
        let named = Set(report.damaged.map { "\($0.subject)" })
        report.entries += unreadable.filter { !named.contains("\($0.subject)") }
        if golden, report.damaged.isEmpty { try repeatGoldenCalls(store, known, &report) }
        let findings = report.entries.map { Finding(subject: "\($0.subject)", finding: "\($0.finding)") }
        try output.report("verify", findings) {
            report.damaged.isEmpty
                ? "\(report.entries.count, "entry") \(report.entries.count == 1 ? "is" : "are") sound"
                : report.damaged.map { "\($0.subject): \($0.finding)" }.joined(separator: "\n")
        }
        if !report.damaged.isEmpty { throw ExitCode(6) }
    }

    private func repeatGoldenCalls(_ store: AdapterStore, _ known: [Digest: BaseValues], _ report: inout VerifyReport) throws {
        for (digest, values) in known.sorted(by: { $0.key < $1.key }) {
            let base = try store.baseFile(digest)
            let model = try InferenceDiT(base)
            for entry in try store.list() where entry.baseDigest == digest {
                guard let recorded = try entry.decodedManifest().golden else { continue }
                let adapter = try Adapter(store.load(entry.digest, over: values))
                let isSame = InferenceDiT.agree(try model.goldenValues(of: adapter, over: base.layout), recorded)
                report.entries.append(
                    VerifyEntry(
                        subject: .adapter(entry.digest),
                        finding: isSame ? .sound : .damaged("The network does not give what the manifest of \(entry.name ?? entry.digest.short) records.")))
            }
        }
    }
}

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what the store holds, or how a running server is.",
        discussion: "Example: adapterctl status --socket $XDG_RUNTIME_DIR/difffit/adapterd.sock (1 where it is not ready, 14 where nobody answers)")
    @Option(help: "The Unix socket of a running adapterd.") var socket: String?
    @Option(help: "Seconds that the server has to answer.") var timeout = 30
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Counts: Encodable {
        let store: String
        let generation: UInt64
        let names, adapters, bases, adapterBytes, contentBytes, baseBytes: Int
    }

    func run() async throws {
        guard timeout > 0 else { throw Failure.usage("--timeout is a number of seconds from 1 on") }
        if let socket {
            let status = try await ServerStatus.of(ServerSocket(path: socket), within: timeout)
            try output.report("status", status) { status.text }
            if !status.ready { throw ExitCode(1) }
            return
        }
        let store = try location.open()
        let s = try store.statistics()
        let counts = Counts(
            store: store.path, generation: s.generation, names: s.names, adapters: s.adapters, bases: s.bases, adapterBytes: s.adapterBytes,
            contentBytes: s.contentBytes, baseBytes: s.baseBytes)
        try output.report("status", counts) {
            """
            \(store.path), generation \(s.generation)
            \(s.names, "name") for \(s.adapters, "adapter"): \(readable(bytes: s.adapterBytes)) stored of \(readable(bytes: s.contentBytes))
            \(s.bases, "base"): \(readable(bytes: s.baseBytes))
            """
        }
    }
}
