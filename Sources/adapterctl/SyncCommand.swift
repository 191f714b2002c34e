import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation
import TensorFiles

struct Sync: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take in every new adapter file of a folder, each under its file's name.",
        discussion: """
            Example: adapterctl sync ~/shared/adapters

            What is there already is left alone, so it may run as often as one likes, on any number of hosts at once. A file that \
            cannot be taken is named with the reason and stops no other; the exit code is then 3. Names are never removed.
            """)
    @Argument(help: "The folder; files end in .safetensors, and hidden ones are passed over.") var folder: String
    @Option(help: "The base of files that do not name theirs, where the store has several.") var base: String?
    @Flag(help: "Let a name that stands for other content stand for the file's from now on.") var replace = false
    @Option(help: "Look again after so many seconds, until interrupted; what has not changed is not told again.") var every: Int?
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        if let every, every < 1 { throw Failure.usage("--every is at least 1 second, not \(every)") }
        guard let every else {
            let rows = try round(location.open())
            try report(rows)
            if rows.contains(where: \.outcome.isTrouble) { throw ExitCode(3) }
            return
        }
        Interruption.watch()
        var known: [SyncedFile] = []
        while !Interruption.happened {
            // Opened anew, so that a store that was moved or restored meanwhile is followed.
            let rows = try round(location.open())
            let news = rows.filter { ![.unchanged, .passed].contains($0.outcome) && !known.contains($0) }
            if !news.isEmpty { try report(news) }
            known = rows
            for _ in 0..<every where !Interruption.happened { sleep(1) }
        }
    }

    private func round(_ store: AdapterStore) throws -> [SyncedFile] {
        var folder = try SharedFolder(folder, store: store, base: base, replace: replace)
        return try folder.takeIn()
    }

    private func report(_ rows: [SyncedFile]) throws {
        try output.report("sync", rows) {
            let told = rows.filter { $0.outcome != .unchanged && $0.outcome != .passed }
            let same = rows.count { $0.outcome == .unchanged }
            let lines = told.map { [$0.name ?? "-", String($0.digest?.prefix(12) ?? "-"), $0.outcome.rawValue, $0.file + ($0.reason.map { ": " + $0 } ?? "")] }
            return ([lines.isEmpty ? nil : table(lines)] + [same > 0 || told.isEmpty ? "\(same) unchanged" : nil]).compactMap { $0 }.joined(separator: "\n")
        }
    }
}

/// What became of one file of the folder.
struct SyncedFile: Encodable, Equatable {
    enum Outcome: String, Encodable {
        case added, replaced, unchanged
        /// A base, whose name no adapter can have.
        case passed
        /// The name stands for other content.
        case conflict
        /// Still being written, perhaps: to be tried again later.
        case unsettled
        case refused

        var isTrouble: Bool { [.conflict, .unsettled, .refused].contains(self) }
    }

    let file: String
    let name: String?
    let digest: String?
    let outcome: Outcome
    let reason: String?
}
