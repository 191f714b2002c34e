import TensorFiles

extension AdapterFile {
    /// The adapter in a checkpoint of the whole model, as public ports of DiffFit save it (`DiffFit.md`, "Files of public
    /// implementations"): what DiffFit trains and the class table. The frozen matrices beside them must be the base's, or the
    /// adapter is another base's.
    static func tunablePart(of file: TensorFile, base: BaseFile) throws -> TensorFile {
        let frozen = base.configuration.frozenTensors
        let names = Set(frozen.map(\.name) + [BaseFile.positionsName])
        guard file.entries.contains(where: { names.contains($0.name) }) else { return file }
        for (name, shape) in frozen.map({ ($0.name, $0.shape) }) {
            guard let entry = file[name] else { throw AdapterFormatError.missingTensor(file: file.path, name: name, shape: shape) }
            guard entry.shape == shape else {
                throw AdapterFormatError.wrongShape(file: file.path, name: name, shape: entry.shape, expected: shape)
            }
            guard entry.dtype.isFloatingPoint, entry.isClose(to: try base.file.entry(name)) else {
                throw AdapterFormatError.otherMatrix(file: file.path, name: name, base: base.digest.short)
            }
        }
        let entries = file.entries.filter { !names.contains($0.name) }
        return TensorFile(path: file.path, metadata: file.metadata, entries: entries, section: file.section, arguments: file.arguments)
    }
}

extension TensorEntry {
    /// Whether no value differs from another tensor's of the same shape by more than a part of the largest value there: what
    /// an average over many steps drifts by, or the rounding of the coarser of the two.
    func isClose(to other: TensorEntry) -> Bool {
        guard let (difference, largest) = distance(to: other) else { return false }
        if difference <= 1e-4 * largest { return true }
        // A store keeps float32 of what may have been rounded before: the values show it, not the type.
        let step = max(roundingStep, other.roundingStep)
        return difference <= step * largest
    }

    /// The largest difference and the largest value of the other; nil where a value is not finite.
    private func distance(to other: TensorEntry) -> (difference: Float, largest: Float)? {
        var (largest, difference): (Float, Float) = (0, 0)
        for range in pieces {
            for (a, b) in zip(floats(range), other.floats(range)) {
                guard a.isFinite else { return nil }
                largest = max(largest, abs(b))
                difference = max(difference, abs(a - b))
            }
        }
        return (difference, largest)
    }

    /// Twice the relative rounding of the coarsest format that holds every value: a base and a port may both be rounded.
    var roundingStep: Float {
        let formats: [(step: Float, holds: (Float) -> Bool)] = [
            (0x1p-2, { Float8Rounding.holdsWide($0) }), (0x1p-3, { Float8Rounding.holds($0) }), (0x1p-8, { BFloat16.rounded($0) == $0 }),
            (0x1p-10, { Float(Float16($0)) == $0 }),
        ]
        return formats.first { format in pieces.allSatisfy { floats($0).allSatisfy(format.holds) } }?.step ?? 0
    }
}

/// Eight-bit floats: with three bits of mantissa, or with two in a wider range.
private enum Float8Rounding {
    static func holds(_ value: Float) -> Bool { value.bitPattern & 0x000f_ffff == 0 && abs(value) <= 448 }
    static func holdsWide(_ value: Float) -> Bool { value.bitPattern & 0x001f_ffff == 0 && abs(value) <= 57344 }
}
