import AdapterFormat
import AdapterStore
import ArgumentParser
import Foundation
import Programs

/// Where the store is, and what is in it that a command needs.
struct StoreLocation: ParsableArguments {
    @Option(name: .customLong("store"), help: "The store's folder (else DIFFFIT_STORE, else the user's data folder).")
    var folder: String?

    var path: String {
        if let folder { return folder }
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["DIFFFIT_STORE"], !path.isEmpty { return path }
        return UserFolders.store(environment)
    }

    func open() throws -> AdapterStore { try AdapterStore.open(at: path, options: .checkingContent) }
    func create() throws -> AdapterStore { try AdapterStore.create(at: path, options: .checkingContent) }
}

extension CompletionKind {
    /// The names in the store, looked up whenever the shell asks.
    static var adapterNames: CompletionKind {
        .custom { _, _, _ in ((try? StoreLocation.parse([]).open().list()) ?? []).compactMap(\.name) }
    }
}

extension AdapterStore {
    /// Said where a base and an adapter have one name. Their names are kept apart: --base and the base verbs take a base's, everything else an
    /// adapter's.
    func twins(ofBase name: String) throws -> [String] {
        try list().contains { $0.name == name } ? ["an adapter is called '\(name)' too: with --base the name means the base, elsewhere the adapter"] : []
    }

    func twins(ofAdapter name: String) throws -> [String] {
        try listBases().contains { $0.decodedCard?.name == name }
            ? ["a base is called '\(name)' too: with --base the name means the base, elsewhere the adapter"] : []
    }
}

extension AdapterReading {
    /// What is taken though a file leaves it open is a line beside the results.
    static var noting: AdapterReading {
        var reading = AdapterReading()
        reading.onRemark = { note("warning: \($0)") }
        return reading
    }
}

/// A base file that a command is given in place of the store's; what is taken though it does not say so is a line beside the results.
func baseFile(at path: String, heads: Int? = nil, inputSize: Int? = nil, classes: Int? = nil) throws -> BaseFile {
    let base = try BaseFile(path: path, heads: heads, inputSize: inputSize, classes: classes)
    for remark in base.remarks { note("warning: \(remark)") }
    return base
}
