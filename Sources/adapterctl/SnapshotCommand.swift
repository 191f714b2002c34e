import AdapterFormat
import AdapterStore
import ArgumentParser

struct Snapshot: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy the store as it is at one moment, while servers and other commands use it.",
        discussion: "Example: adapterctl snapshot ~/backup/monday")
    @Argument(help: "The new store's folder, made with those above it; nothing may be there yet.") var destination: String
    @Flag(help: "Copy base files even where a hard link would do.") var copyBases = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let store: String
        let generation: UInt64
        let names, adapters, bases, linkedBases, bytes: Int
    }

    func run() throws {
        let store = try location.open()
        try makeFolder(above: destination)
        Progress.begin("copying")
        let report = try store.snapshot(at: destination, copyingBases: copyBases)
        let result = Result(
            store: report.path, generation: report.generation, names: report.names, adapters: report.adapters, bases: report.bases,
            linkedBases: report.linkedBases, bytes: report.bytes)
        try output.report("snapshot", result) {
            let linked = report.linkedBases > 0 ? " (\(report.linkedBases) as \(report.linkedBases == 1 ? "a hard link" : "hard links"))" : ""
            return "\(report.path) holds generation \(report.generation): \(report.names, "name") for \(report.adapters, "adapter"), "
                + "\(report.bases, "base")\(linked), \(readable(bytes: report.bytes))"
        }
    }
}
