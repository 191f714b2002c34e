import DiffFit
import Foundation
import ProgramRunner

/// A folder of the test's own with a store of the shipped base in it, gone at its end.
struct Workplace: ~Copyable {
    let path: String
    let store: AdapterStore

    init(adapters: [String] = ["flowers", "birds"]) throws {
        let path = try temporaryFolder("library"), store = try AdapterStore.create(at: path + "/store")
        try store.importBase(path: Shipped.file("base"))
        for name in adapters { try store.addAdapter(path: Shipped.file(name), as: name) }
        (self.path, self.store) = (path, store)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Runs `adapterctl` over the store.
    func adapterctl(_ arguments: String...) throws -> (code: Int32, output: String, errors: String) {
        let result = try ProgramRunner.run(builtProgram("adapterctl"), arguments, environment: ["HOME": path, "DIFFFIT_STORE": store.path])
        return (result.code, result.output, result.errors)
    }
}

/// The model in `adapters/`.
enum Shipped {
    static func file(_ name: String) -> String { checkout + "/adapters/\(name).safetensors" }
}

func golden(_ name: String) -> String { checkout + "/Tests/Goldens/\(name).safetensors" }
