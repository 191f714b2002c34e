/// The tensors by name that a torch file is about: the root dictionary itself, or what it holds under `ema`, `model` or
/// `state_dict`, the first of these that is there (`reference/dit.md` section 2.1).
struct StateDictionary {
    let section: String?
    let tensors: [(name: String, tensor: TorchTensor)]

    private static let sections = ["ema", "model", "state_dict"]
    /// What wrappers of a model put before every name.
    private static let prefixes = ["module.", "_orig_mod."]

    init(_ pickle: Pickle, path: String) throws(TensorFileError) {
        var found: [String: PickleValue] = [:]
        var order: [String] = []
        var section: String?
        var value = pickle.root
        // A section may hold sections again, as training frameworks nest them.
        for _ in 0..<4 {
            (found, order) = StateDictionary.members(value, of: pickle)
            guard let name = StateDictionary.sections.first(where: { if case .dictionary = found[$0] { true } else { false } }), let inner = found[name]
            else { break }
            section = [section, name].compactMap(\.self).joined(separator: ".")
            value = inner
        }
        var tensors: [(name: String, tensor: TorchTensor)] = order.compactMap { name in
            if case .tensor(let index) = found[name] { (name, pickle.tensors[index]) } else { nil }
        }
        guard !tensors.isEmpty else { throw .noStateDictionary(path: path, found: Array(order.prefix(8))) }
        for prefix in StateDictionary.prefixes where tensors.allSatisfy({ $0.name.hasPrefix(prefix) }) {
            tensors = tensors.map { (String($0.name.dropFirst(prefix.count)), $0.tensor) }
        }
        self.section = section
        self.tensors = tensors
    }

    /// The text keys of a dictionary in order; of two equal ones the later counts, as in Python.
    private static func members(_ value: PickleValue, of pickle: Pickle) -> (found: [String: PickleValue], order: [String]) {
        guard case .dictionary(let index) = value else { return ([:], []) }
        var found: [String: PickleValue] = [:]
        var order: [String] = []
        for (key, value) in pickle.dictionaries[index] {
            guard case .text(let name) = key else { continue }
            if found.updateValue(value, forKey: name) == nil { order.append(name) }
        }
        return (found, order)
    }

    /// A table over the file's bytes.
    /// - Parameter find: where the bytes of a storage lie.
    func file(_ file: MappedFile, find: (TorchStorage) throws(TensorFileError) -> Range<Int>) throws(TensorFileError) -> TensorFile {
        var entries: [TensorEntry] = []
        for (name, tensor) in tensors {
            let typeName = tensor.type ?? tensor.storage.type
            guard let type = ElementType(torch: typeName) else { throw .unknownType(path: file.path, name: name, type: typeName) }
            let bytes = try find(tensor.storage)
            try StateDictionary.check(tensor, name, elements: bytes.count / type.size, type, file)
            let part = TensorPart(file: file, offset: bytes.lowerBound + tensor.offset * type.size, shape: tensor.shape, strides: tensor.strides)
            entries.append(TensorEntry(name: name, type: type, shape: tensor.shape, parts: [part]))
        }
        return TensorFile(path: file.path, metadata: [:], entries: entries, section: section)
    }

    /// Every element lies in the storage, and there are no more of them than the file could hold: a stride of 0 repeats one
    /// value as often as it likes.
    private static func check(_ tensor: TorchTensor, _ name: String, elements: Int, _ type: ElementType, _ file: MappedFile) throws(TensorFileError) {
        let fault = TensorFileError.outsideStorage(path: file.path, name: name, shape: tensor.shape, strides: tensor.strides, offset: tensor.offset, elements: elements)
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
