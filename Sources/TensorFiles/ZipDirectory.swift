/// The members of a zip archive that are stored without compression, as torch writes all of them; zip64 where sizes ask for it.
struct ZipDirectory {
    /// Where the bytes of each member lie in the file.
    private(set) var members: [String: Range<Int>] = [:]
    /// Names of members that are compressed, whose bytes are not read.
    private(set) var compressed: [String] = []
    private let file: MappedFile

    init(_ file: MappedFile) throws(TensorFileError) {
        self.file = file
        let directory = try ZipDirectory.directory(file)
        var reader = ByteReader(file, directory)
        while reader.position < reader.end { try addMember(&reader, before: directory.lowerBound) }
    }

    private static func fault(_ file: MappedFile, _ reason: String) -> TensorFileError { .badArchive(path: file.path, reason: reason) }

    /// The range of the central directory, as the end record says, or the zip64 end record where there is one.
    private static func directory(_ file: MappedFile) throws(TensorFileError) -> Range<Int> {
        guard let end = endRecord(file) else { throw fault(file, "it has no end record: it is cut short") }
        var (size, start) = (Int(file.number(UInt32.self, at: end + 12)), Int(file.number(UInt32.self, at: end + 16)))
        if end >= 20, file.number(UInt32.self, at: end - 20) == 0x0706_4b50 {
            guard let record = Int(exactly: file.number(UInt64.self, at: end - 12)), record <= end - 76, file.number(UInt32.self, at: record) == 0x0606_4b50,
                let wideSize = Int(exactly: file.number(UInt64.self, at: record + 40)),
                let wideStart = Int(exactly: file.number(UInt64.self, at: record + 48))
            else { throw fault(file, "its zip64 end record is not where it should be") }
            (size, start) = (wideSize, wideStart)
        }
        guard start <= end, size <= end - start else {
            throw fault(file, "its directory should lie at byte \(start), \(size, "byte") long, in a file of \(file.count)")
        }
        return start..<(start + size)
    }

    /// The last end record whose comment reaches the end of the file.
    private static func endRecord(_ file: MappedFile) -> Int? {
        let last = file.count - 22
        guard last >= 0 else { return nil }
        return (max(0, last - 0xffff)...last).last { at in
            file.number(UInt32.self, at: at) == 0x0605_4b50 && Int(file.number(UInt16.self, at: at + 20)) == last - at
        }
    }

    private mutating func addMember(_ reader: inout ByteReader, before directory: Int) throws(TensorFileError) {
        let cut = ZipDirectory.fault(file, "its directory is cut short")
        guard let head = reader.take(46) else { throw cut }
        let at = head.lowerBound
        guard file.number(UInt32.self, at: at) == 0x0201_4b50 else { throw ZipDirectory.fault(file, "its directory is damaged at byte \(at)") }
        let lengths = [28, 30, 32].map { Int(file.number(UInt16.self, at: at + $0)) }
        guard let nameRange = reader.take(lengths[0]), let extra = reader.take(lengths[1]), reader.take(lengths[2]) != nil else { throw cut }
        guard let name = String(validating: file.bytes(nameRange), as: UTF8.self) else {
            throw ZipDirectory.fault(file, "the name at byte \(nameRange.lowerBound) is not UTF-8")
        }
        guard file.number(UInt16.self, at: at + 8) & 1 == 0 else { throw ZipDirectory.fault(file, "'\(name)' is encrypted") }
        guard file.number(UInt16.self, at: at + 10) == 0 else {
            compressed.append(name)
            return
        }
        // In this order, and each only where its 32 bits are all ones.
        var wide = zip64Numbers(extra)[...]
        let numbers = [24, 20, 42].map { offset in
            let number = file.number(UInt32.self, at: at + offset)
            return number == .max ? wide.popFirst() ?? UInt64(number) : UInt64(number)
        }
        guard let size = Int(exactly: numbers[0]), numbers[1] == numbers[0], let header = Int(exactly: numbers[2]), header <= directory - 30,
            file.number(UInt32.self, at: header) == 0x0403_4b50
        else { throw ZipDirectory.fault(file, "the directory leads to no member '\(name)'") }
        let start = header + 30 + Int(file.number(UInt16.self, at: header + 26)) + Int(file.number(UInt16.self, at: header + 28))
        guard start <= directory, size <= directory - start else {
            throw ZipDirectory.fault(file, "'\(name)' should have \(size, "byte") at byte \(start), in a file of \(file.count)")
        }
        guard members.updateValue(start..<(start + size), forKey: name) == nil else {
            throw ZipDirectory.fault(file, "it has two members '\(name)'")
        }
    }

    /// The numbers of the extra field with id 1.
    private func zip64Numbers(_ extra: Range<Int>) -> [UInt64] {
        var reader = ByteReader(file, extra)
        while let id = reader.number(UInt16.self), let count = reader.number(UInt16.self), let field = reader.take(Int(count)) {
            guard id == 1 else { continue }
            var numbers = ByteReader(file, field)
            var found: [UInt64] = []
            while let number = numbers.number(UInt64.self) { found.append(number) }
            return found
        }
        return []
    }
}
