import AdapterFormat
import AdapterStore
import SamplingEngine

extension AdapterStore {
    /// Copies a base into the store in the store's own form, with the autoencoders that belong to it. The same again changes nothing.
    ///
    /// - Parameters:
    ///   - path: as `DiffFitBase(path:)` takes it.
    ///   - name: a-z, 0-9, '.', '_', '-', 64 characters at most; nil takes the nearest to the file's own.
    ///   - autoencoder, tinyAutoencoder: as `DiffFitBase(path:)` takes them.
    /// - Returns: the base as the store lists it.
    /// - Throws: `TensorFileError`, `StoreError`, `DiffFitError`; the store is then as before.
    @discardableResult
    public func importBase(path: String, as name: String? = nil, autoencoder: String? = nil, tinyAutoencoder: String? = nil) throws -> BaseEntry {
        try DiffFitError.translating {
            let base = try BaseFile(path: path)
            let given = try [autoencoder, tinyAutoencoder].compactMap { $0 }.map { try AutoencoderFile(path: $0) }
            let digest = try importBase(base, autoencoders: base.autoencoders + given, as: name.map { try AdapterName($0).description }).digest
            return try self.base(digest)
        }
    }

    /// Takes an adapter file into the store under a name, bound to its base completely or refused with the tensor that does not fit.
    /// Blocks for one network call, whose values are recorded with the adapter (`adapterctl verify --golden` makes it again).
    ///
    /// - Parameters:
    ///   - path: an adapter file, a checkpoint of a DiffFit port, or a LoRA adapter of PEFT, diffusers or kohya, file or folder.
    ///   - name: a-z, 0-9, '.', '_', '-', 64 characters at most, and not `base`.
    ///   - base: as `DiffFitBase(_:in:)` takes it.
    ///   - replace: lets a name that stands for other content stand for this one from now on.
    ///   - onRemark: told, in a sentence, what was taken though the file says two things of it, or nothing.
    /// - Throws: `TensorFileError`; `StoreError`, `nameTaken` among them; `DiffFitError` of the kind `incompatible` where the file belongs
    ///   to another base or leaves open what no shape shows. The store is then as before.
    @discardableResult
    public func addAdapter(
        path: String, as name: String, base: String? = nil, replace: Bool = false, onRemark: (@Sendable (String) -> Void)? = nil
    ) throws -> AddOutcome {
        try DiffFitError.translating {
            let name = try AdapterName(name).description, base = try baseFile(base)
            var adapter = try AdapterFile.read(path: path, base: base, as: .remarking(onRemark))
            return try add(&adapter, as: name, over: base, replace: replace)
        }
    }
}

extension AdapterReading {
    static func remarking(_ onRemark: (@Sendable (String) -> Void)?) -> AdapterReading {
        var reading = AdapterReading()
        reading.onRemark = onRemark
        return reading
    }
}
