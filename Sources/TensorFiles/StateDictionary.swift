/// The tensors by name that a torch file is about: the root dictionary itself, what it holds in a section such as `ema`, `model`
/// or `state_dict`, the first of these that has weights (`DiT.md`, "Containers"), or the parameters of a whole module.
struct StateDictionary {
    let section: String?
    let tensors: [NamedTensor]
    let arguments: [String: String]

    /// Averages first: they are what is sampled from.
    private static let sections = [
        "ema", "model_ema", "ema_model", "ema_state_dict", "model_ema_state_dict", "state_dict_ema", "params_ema", "ema_params", "averaged_model",
        "shadow", "shadow_params", "model", "state_dict", "model_state_dict", "module", "params", "net", "network", "transformer", "dit", "weights",
    ]
    /// Parts of a run that hold tensors and are no model.
    private static let others: Set = [
        "opt", "optimizer", "optimizers", "optimizer_states", "optimizer_state_dict", "optim", "scheduler", "lr_scheduler", "lr_schedulers", "scaler",
        "callbacks", "loops", "random_states", "rng_state", "args", "hyper_parameters", "config", "collected_params",
    ]
    private static let argumentSections = ["args", "hyper_parameters", "config", "cfg", "hparams", "opts"]
    /// Sections lie in sections, and modules in modules, but not without end.
    private static let depth = 6, modules = 64
    /// Most values that are looked at: a dictionary may hold itself.
    private static let visits = 1 << 16

    init(_ pickle: Pickle, path: String) throws(TensorFileError) {
        var search = Search(pickle: pickle)
        let root = search.members(pickle.root)
        guard let found = search.weights(in: pickle.root, depth: Self.depth) else {
            throw .noStateDictionary(path: path, found: Array(root.order.prefix(8)))
        }
        tensors = found.tensors
        section = found.path.isEmpty ? nil : found.path.joined(separator: ".")
        arguments = search.arguments(of: root.found)
        var names: Set<String> = []
        for entry in tensors where !names.insert(entry.name).inserted { throw .duplicateName(path: path, name: entry.name) }
    }

    struct NamedTensor {
        let name: String
        let tensor: TorchTensor
    }

    private struct Search {
        let pickle: Pickle
        var visited = 0

        /// The text keys of a dictionary, or of an object's state, in order; of two equal ones the later counts, as in Python.
        func members(_ value: PickleValue) -> (found: [String: PickleValue], order: [String]) {
            var found: [String: PickleValue] = [:]
            var order: [String] = []
            for item in items(of: value) {
                guard case .text(let name) = item.key else { continue }
                if found.updateValue(item.value, forKey: name) == nil { order.append(name) }
            }
            return (found, order)
        }

        private func items(of value: PickleValue) -> [PickleItem] {
            switch value {
            case .dictionary(let index): return pickle.dictionaries[index]
            case .object(let index):
                let object = pickle.objects[index]
                guard object.items.isEmpty else { return object.items }
                // An object with slots has its dictionary first in a pair.
                if case .sequence(let index) = object.state, let first = pickle.sequences[index].first, case .dictionary(let index) = first {
                    return pickle.dictionaries[index]
                }
                if case .dictionary(let index) = object.state { return pickle.dictionaries[index] }
                return []
            default: return []
            }
        }

        /// The weights in a value and where they lie; nil where it has none. Single numbers are no weights.
        mutating func weights(in value: PickleValue, depth: Int) -> (path: [String], tensors: [NamedTensor])? {
            visited += 1
            guard depth > 0, visited < StateDictionary.visits else { return nil }
            let (found, order) = members(value)
            if found["_parameters"] != nil || found["_modules"] != nil {
                var tensors: [NamedTensor] = []
                module(value, prefix: "", depth: StateDictionary.modules, into: &tensors)
                return tensors.contains(where: isWeight) ? ([], tensors) : nil
            }
            let averages = order.filter { name in isAverage(name) && !StateDictionary.others.contains(name) }
            for name in averages + StateDictionary.sections {
                guard let inner = found[name] else { continue }
                // An average without names stands beside the model that has them.
                let own = members(inner).found["shadow_params"]
                if let tensors = named(own ?? inner, beside: found) { return (own == nil ? [name] : [name, "shadow_params"], tensors) }
                if let weights = weights(in: inner, depth: depth - 1) { return ([name] + weights.path, weights.tensors) }
            }
            let direct: [NamedTensor] = order.compactMap { name in
                if case .tensor(let index) = found[name] { NamedTensor(name: name, tensor: pickle.tensors[index]) } else { nil }
            }
            if direct.contains(where: isWeight) { return ([], direct) }
            var best: (path: [String], tensors: [NamedTensor])?
            for name in order where !StateDictionary.others.contains(name) && !StateDictionary.sections.contains(name) {
                guard let inner = found[name], let weights = weights(in: inner, depth: depth - 1) else { continue }
                if weights.tensors.count > best?.tensors.count ?? 0 { best = ([name] + weights.path, weights.tensors) }
            }
            return best
        }

        /// Whether a section's name has "ema" as a word of its own, such as "net_ema".
        private func isAverage(_ name: String) -> Bool { name.lowercased().split { !$0.isLetter }.contains("ema") && !name.lowercased().contains("opt") }

        private func isWeight(_ entry: NamedTensor) -> Bool {
            if case .valueless = entry.tensor.source { return true }
            return !entry.tensor.shape.isEmpty && entry.tensor.shape != [1]
        }

        /// The parameters and saved buffers of a module and of those in it, as its `state_dict()` would name them.
        private mutating func module(_ value: PickleValue, prefix: String, depth: Int, into tensors: inout [NamedTensor]) {
            visited += 1
            guard depth > 0, visited < StateDictionary.visits else { return }
            let (state, _) = members(value)
            var passing: Set<String> = []
            if case .sequence(let index) = state["_non_persistent_buffers_set"] {
                for case .text(let name) in pickle.sequences[index] { passing.insert(name) }
            }
            for (key, passed) in [("_parameters", []), ("_buffers", passing)] as [(String, Set<String>)] {
                guard let part = state[key] else { continue }
                let (found, order) = members(part)
                for name in order where !passed.contains(name) {
                    if case .tensor(let index) = found[name] { tensors.append(NamedTensor(name: prefix + name, tensor: pickle.tensors[index])) }
                }
            }
            guard let inner = state["_modules"] else { return }
            let (found, order) = members(inner)
            for name in order { if let child = found[name] { module(child, prefix: "\(prefix)\(name).", depth: depth - 1, into: &tensors) } }
        }

        /// A list of averages in the order of the model's parameters, under the names that the model beside it has.
        private mutating func named(_ list: PickleValue, beside found: [String: PickleValue]) -> [NamedTensor]? {
            guard case .sequence(let index) = list else { return nil }
            let averages = pickle.sequences[index].compactMap { if case .tensor(let index) = $0 { pickle.tensors[index] } else { nil } }
            for name in ["model", "state_dict", "model_state_dict", "module", "net"] {
                guard let value = found[name], let model = weights(in: value, depth: 3) else { continue }
                // Some keep averages of what is trained alone, and positions are not.
                for tensors in [model.tensors, model.tensors.filter { !$0.name.hasSuffix("pos_embed") }] {
                    guard tensors.count == averages.count, zip(tensors, averages).allSatisfy({ $0.tensor.shape == $1.shape }) else { continue }
                    let own = Dictionary(zip(tensors.map(\.name), averages), uniquingKeysWith: { $1 })
                    return model.tensors.map { NamedTensor(name: $0.name, tensor: own[$0.name] ?? $0.tensor) }
                }
            }
            return nil
        }

        /// The plain values that a run was given.
        func arguments(of root: [String: PickleValue]) -> [String: String] {
            var arguments: [String: String] = [:]
            for section in StateDictionary.argumentSections {
                guard let value = root[section] else { continue }
                for (name, value) in members(value).found {
                    switch value {
                    case .integer(let number): arguments[name] = "\(number)"
                    case .number(let number): arguments[name] = "\(number)"
                    case .text(let text): arguments[name] = text
                    case .bool(let flag): arguments[name] = "\(flag)"
                    default: break
                    }
                }
            }
            return arguments
        }
    }

    /// A table over the file's bytes.
    /// - Parameter find: where the bytes of a storage lie.
    func file(_ file: MappedFile, find: (TorchStorage) throws(TensorFileError) -> Range<Int>) throws(TensorFileError) -> TensorFile {
        var entries: [TensorEntry] = []
        for (name, tensor) in tensors.map({ ($0.name, $0.tensor) }) {
            let storage: TorchStorage
            switch tensor.source {
            case .storage(let own): storage = own
            case .valueless(let what): throw .valueless(path: file.path, name: name, what: what)
            }
            let typeName = tensor.type ?? storage.type
            guard let type = DType(torch: typeName) else { throw .unknownType(path: file.path, name: name, type: typeName) }
            let bytes = try find(storage)
            try StateDictionary.check(tensor, name, elements: bytes.count / type.size, type, file)
            let part = TensorPart(file: file, offset: bytes.lowerBound + tensor.offset * type.size, shape: tensor.shape, strides: tensor.strides)
            entries.append(TensorEntry(name: name, type: type, shape: tensor.shape, parts: [part]))
        }
        return TensorFile(path: file.path, metadata: [:], entries: entries, section: section, arguments: arguments)
    }

    /// Every element lies in the storage, and there are no more of them than the file could hold: a stride of 0 repeats one
    /// value as often as it likes.
    private static func check(_ tensor: TorchTensor, _ name: String, elements: Int, _ type: DType, _ file: MappedFile) throws(TensorFileError) {
        let fault = TensorFileError.outsideStorage(
            path: file.path, name: name, shape: tensor.shape, strides: tensor.strides, offset: tensor.offset, elements: elements)
        guard tensor.offset >= 0, tensor.offset <= elements, (tensor.shape + tensor.strides).allSatisfy({ $0 >= 0 }) else { throw fault }
        let sides = zip(tensor.shape, tensor.strides)
        var (count, last) = (1, tensor.offset)
        for (side, stride) in sides {
            let (product, overflow) = count.multipliedReportingOverflow(by: side)
            let (reach, tooFar) = max(side - 1, 0).multipliedReportingOverflow(by: stride)
            let (sum, carry) = last.addingReportingOverflow(reach)
            guard !overflow, !tooFar, !carry else { throw fault }
            (count, last) = (product, sum)
        }
        guard count == 0 || last < elements else { throw fault }
        guard count <= file.count / type.size else { throw .repeated(path: file.path, name: name, shape: tensor.shape, bytes: file.count) }
    }
}
