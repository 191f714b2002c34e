import AdapterFormat
import AdapterStore
import DiTModel
import Foundation
import Programs
import TensorFiles

/// A folder that others put adapter files into, on its way into a store.
struct SharedFolder {
    private let folder: String
    private let store: AdapterStore
    private let base: String?
    private let replace: Bool
    /// Bases that files of this folder needed, read once.
    private var bases: [Digest: Base] = [:]
    /// The file that gave each name, so that two files cannot fight for one.
    private var givers: [String: String] = [:]

    private struct Base {
        let file: BaseFile
        let values: BaseValues
        let model: InferenceDiT
    }

    /// An adapter of DiT-XL/2 with 10,000 classes has 50 MB.
    private static let largestFile = 1 << 28
    /// A file without a digest of its own must have been left alone for so many seconds; nothing else shows that it is whole.
    private static let settledAfter = 10.0

    init(_ folder: String, store: AdapterStore, base: String?, replace: Bool) throws {
        self.folder = folder
        self.store = store
        self.base = base
        self.replace = replace
        if let base { _ = try store.baseFile(base) }
    }

    /// Every file in the order of names. Throws only for what no other file could escape: no folder, no store, no room.
    mutating func takeIn() throws -> [SyncedFile] {
        let files: [String]
        do { files = try FileManager.default.contentsOfDirectory(atPath: folder) } catch { throw SystemFault(error, at: folder) }
        return try files.filter { !$0.hasPrefix(".") && ($0.hasSuffix(".safetensors") || isAdapterFolder($0)) }.sorted().map { try takeIn($0) }
    }

    /// Whether it is a folder as PEFT and diffusers save LoRA adapters; other folders are nobody's adapters.
    private func isAdapterFolder(_ name: String) -> Bool {
        let path = "\(folder)/\(name)"
        return FileManager.default.fileExists(atPath: path + "/")
            && ["adapter_model", "pytorch_lora_weights"].contains { FileManager.default.fileExists(atPath: "\(path)/\($0).safetensors") }
    }

    private mutating func takeIn(_ file: String) throws -> SyncedFile {
        func row(_ outcome: SyncedFile.Outcome, _ name: String? = nil, _ digest: Digest? = nil, _ reason: String? = nil) -> SyncedFile {
            SyncedFile(file: file, name: name, digest: digest?.description, outcome: outcome, reason: reason)
        }
        // The shipped folder has its base beside its adapters.
        if file == "base.safetensors" { return row(.passed, nil, nil, "the name is the base's: adapterctl base import") }
        do {
            let path = try AdapterFile.weights(folder + "/" + file)
            let content = try TensorFile(MappedFile(copying: path, limit: Self.largestFile))
            if content.metadata["config"] != nil { return row(.passed, nil, nil, "it is a base: adapterctl base import") }
            let stated = try AdapterFile.manifest(of: content)
            if !AdapterFile.namesItsDigest(content), let age = age(path), age < Self.settledAfter {
                return row(
                    .unsettled, nil, nil,
                    "it changed a moment ago and does not name its digest; it is taken once it has lain still for \(Int(Self.settledAfter)) s")
            }
            let name = try name(of: file, stated)
            let base = try base(for: stated)
            var adapter = try AdapterFile.read(content, base: base.file, as: .noting)
            let digest = adapter.digest
            if let other = givers.updateValue(file, forKey: name), other != file {
                givers[name] = other
                return row(.conflict, name, digest, "'\(other)' gives the same name")
            }
            // What is known already needs no proof, and a damaged frame of it is written anew.
            if try !store.names(of: digest).contains(name) {
                let golden = try base.model.goldenValues(of: adapter, over: base.file.layout)
                if let recorded = adapter.manifest.golden, !InferenceDiT.agree(golden, recorded) {
                    return row(.refused, name, digest, "the network does not give what its manifest records: it is damaged, or only half there")
                }
                adapter.manifest.golden = adapter.manifest.golden ?? golden
            }
            adapter.manifest.name = nil
            switch try store.add(adapter.stored(), as: name, over: base.values, replace: replace, precision: adapter.storedPrecision(over: base.file.vector)) {
            case .added: return row(.added, name, digest)
            case .replaced(let old): return row(.replaced, name, digest, "was \(old.short)")
            case .unchanged: return row(.unchanged, name, digest)
            }
        } catch StoreError.nameTaken(let name, let digest) {
            return row(.conflict, name, nil, "the name stands for \(digest.short); --replace moves it")
        } catch let error where error is TensorFileError || error is AdapterFormatError {
            return row(.refused, nil, nil, "\(error)")
        } catch let error as StoreError {
            switch error {
            case .incompatible, .notRounded, .tooLarge, .baseNotFound, .severalBases, .digestMismatch: return row(.refused, nil, nil, "\(error)")
            default: throw error
            }
        }
    }

    /// The file's name, which everybody sees; the manifest's where the file's cannot be one or is a digest.
    private func name(of file: String, _ stated: AdapterManifest?) throws -> String {
        let stem = file.hasSuffix(".safetensors") ? String(file.dropLast(".safetensors".count)) : file
        if AdapterName.isValid(stem), Digest(hex: stem) == nil { return stem }
        if let name = stated?.name, AdapterName.isValid(name) { return name }
        throw AdapterFormatError.badName(stem)
    }

    private mutating func base(for stated: AdapterManifest?) throws -> Base {
        let digest: Digest
        if let stated {
            digest = try store.base(fitting: stated)
        } else {
            digest = try store.baseFile(self.base).digest
        }
        if let known = bases[digest] { return known }
        let file = try store.baseFile(digest)
        let base = try Base(file: file, values: file.values(), model: InferenceDiT(file))
        bases[digest] = base
        return base
    }

    /// Seconds since the file last changed, by its file system's clock; nil for a file that is gone.
    private func age(_ path: String) -> Double? {
        let date = try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
        return date.map { -$0.timeIntervalSinceNow }
    }
}
