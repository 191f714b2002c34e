/// NumPy's `.npz`: a zip archive of `.npy` members, each a dictionary of type, order and shape before its elements. Mapped, as
/// `numpy.savez` writes it; what `savez_compressed` packs is refused.
///
/// The form is that of `numpy.lib.format`, versions 1 to 3.
enum NumPyArchive {
    private static let ending = ".npy", magic = [0x93] + Array("NUMPY".utf8)
    /// numpy refuses a longer header itself.
    private static let longestHeader = 10_000

    /// Whether a zip archive's first member is an array.
    static func begins(_ start: [UInt8]) -> Bool {
        guard start.count > 30 else { return false }
        let length = Int(start[26]) | Int(start[27]) << 8
        return start.dropFirst(30).prefix(length).suffix(ending.utf8.count).elementsEqual(ending.utf8)
    }

    static func open(_ file: MappedFile) throws(TensorFileError) -> TensorFile {
        let directory = try ZipDirectory(file)
        let refused = { (reason: String) in TensorFileError.badArchive(path: file.path, reason: reason) }
        if let name = directory.compressed.min() { throw refused("'\(name)' is compressed: save the arrays with numpy.savez") }
        var entries: [TensorEntry] = []
        for (member, range) in directory.members.sorted(by: { $0.value.lowerBound < $1.value.lowerBound }) {
            guard member.hasSuffix(ending) else { throw refused("'\(member)' is no array of numpy's") }
            entries.append(try entry(String(member.dropLast(ending.count)), file, range))
        }
        return TensorFile(path: file.path, entries: entries)
    }

    private static func entry(_ name: String, _ file: MappedFile, _ range: Range<Int>) throws(TensorFileError) -> TensorEntry {
        var reader = ByteReader(file, range)
        let refused = TensorFileError.badArchive(path: file.path, reason: "'\(name)' is no array of numpy's, or damaged")
        guard let start = reader.take(magic.count), file.bytes(start) == magic, let major = reader.number(UInt8.self), reader.take(1) != nil,
            let length = major == 1 ? reader.number(UInt16.self).map(Int.init) : reader.number(UInt32.self).map(Int.init),
            length <= longestHeader, let text = reader.take(length).map({ String(decoding: file.bytes($0), as: UTF8.self) }),
            let type = text.firstMatch(of: /'descr': *'([^']*)'/)?.1, let order = text.firstMatch(of: /'fortran_order': *(True|False)/)?.1,
            let sides = text.firstMatch(of: /'shape': *\(([0-9, ]*)\)/)?.1.split(separator: ",").map({ $0.filter { $0 != " " } })
        else { throw refused }
        guard let known = DType(numpy: String(type)) else { throw .unknownType(path: file.path, name: name, type: String(type)) }
        let shape = sides.filter { !$0.isEmpty }.compactMap { Int($0) }
        var count = 1
        for side in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: side)
            guard !overflow else { throw refused }
            count = product
        }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: known.size), present = reader.end - reader.position
        guard shape.count == sides.count(where: { !$0.isEmpty }), !overflow, bytes == present else {
            throw .wrongSize(path: file.path, name: name, shape: shape, type: known.rawValue, bytes: present)
        }
        var part = TensorPart(file: file, offset: reader.position, shape: shape)
        if order == "True" {
            // The first side is the fastest.
            let strides = TensorPart(file: file, offset: 0, shape: shape.reversed()).strides.reversed()
            part = TensorPart(file: file, offset: reader.position, shape: shape, strides: Array(strides))
        }
        return TensorEntry(name: name, type: known, shape: shape, parts: [part])
    }
}

extension DType {
    /// The type of an array's `descr`, such as `<f4`; nil for another byte order, objects, texts, dates and records.
    fileprivate init?(numpy text: String) {
        let known: [String: DType] = [
            "<f8": .f64, "<f4": .f32, "<f2": .f16, "<c8": .c64, "<i8": .i64, "<i4": .i32, "<i2": .i16, "|i1": .i8, "<u8": .u64, "<u4": .u32, "<u2": .u16,
            "|u1": .u8, "|b1": .bool,
        ]
        guard let type = known[text] else { return nil }
        self = type
    }
}
