import TensorFiles

extension AdapterFile {
    /// The adapter in a checkpoint of the whole model, as public ports of DiffFit save it (`reference/difffit.md` section 11): what
    /// DiffFit trains and the class table. The frozen matrices beside them must be the base's, or the adapter is another base's.
    static func tunablePart(of file: TensorFile, base: BaseFile) throws -> TensorFile {
        let frozen = base.configuration.frozenTensors
        let names = Set(frozen.map(\.name) + [BaseFile.positionsName])
        guard file.entries.contains(where: { names.contains($0.name) }) else { return file }
        for (name, shape) in frozen {
            guard let entry = file[name] else { throw AdapterFormatError.missingTensor(file: file.path, name: name, shape: shape) }
            guard entry.shape == shape else {
                throw AdapterFormatError.wrongShape(file: file.path, name: name, shape: entry.shape, expected: shape)
            }
            let own = try base.file.entry(name)
            // An average over many steps drifts by rounding, and a base may be stored rounded itself.
            let tolerance: Float = own.type == .bf16 ? 1 / 256 : 1e-4
            guard entry.type.isFloatingPoint, entry.isClose(to: own, tolerance: tolerance) else {
                throw AdapterFormatError.otherMatrix(file: file.path, name: name, base: base.digest.short)
            }
        }
        let entries = file.entries.filter { !names.contains($0.name) }
        return TensorFile(path: file.path, metadata: file.metadata, entries: entries, section: file.section)
    }
}

extension TensorEntry {
    /// Whether no value differs from another tensor's of the same shape by more than a part of the largest value there.
    fileprivate func isClose(to other: TensorEntry, tolerance: Float) -> Bool {
        let piece = 1 << 18
        var (largest, difference): (Float, Float) = (0, 0)
        for start in stride(from: 0, to: count, by: piece) {
            let range = start..<min(count, start + piece)
            for (a, b) in zip(floats(range), other.floats(range)) {
                guard a.isFinite else { return false }
                largest = max(largest, abs(b))
                difference = max(difference, abs(a - b))
            }
        }
        return difference <= tolerance * largest
    }
}
