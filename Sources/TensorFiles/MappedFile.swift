import Foundation

/// A file mapped read-only: the fence of this room, the one place that touches raw memory.
///
/// A mapped file that another process shortens raises SIGBUS on access; the store therefore only maps files that it wrote
/// itself under a content digest and never changes.
@safe package final class MappedFile: Sendable {
    package let path: String
    package let count: Int
    private nonisolated(unsafe) let base: UnsafeRawPointer

    package init(path: String) throws(TensorFileError) {
        // A pipe would wait for its other end; it is refused below.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(path: path, reason: unsafe String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .unreadable(path: path, reason: "it is not a regular file")
        }
        self.path = path
        count = Int(status.st_size)
        let mapped = unsafe mmap(nil, max(count, 1), PROT_READ, MAP_PRIVATE, descriptor, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            throw .unreadable(path: path, reason: unsafe String(cString: strerror(errno)))
        }
        unsafe base = UnsafeRawPointer(mapped)
    }

    deinit { unsafe munmap(UnsafeMutableRawPointer(mutating: base), max(count, 1)) }

    /// A copy of the bytes; the range must lie within the file.
    package func bytes(_ range: Range<Int>) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return unsafe Array(UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
    }

    /// The file from its beginning, a MiB at a time.
    package var pieces: some Sequence<[UInt8]> {
        stride(from: 0, to: count, by: 1 << 20).lazy.map { self.bytes($0..<min(self.count, $0 + 1 << 20)) }
    }

    /// A little-endian number; it must lie within the file.
    func number<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type, at offset: Int) -> Number {
        precondition(offset >= 0 && offset <= count - MemoryLayout<Number>.size)
        return Number(littleEndian: unsafe (base + offset).loadUnaligned(as: Number.self))
    }

    /// Appends `total` elements, the first at byte `start`, each `step` bytes after the one before; all must lie within the file.
    func append<Stored: BitwiseCopyable, Element>(
        _ total: Int, from start: Int, step: Int, to values: inout [Element], convert: (Stored) -> Element
    ) {
        guard total > 0 else { return }
        precondition(start >= 0 && step >= 0 && start + (total - 1) * step + MemoryLayout<Stored>.size <= count)
        for index in 0..<total {
            values.append(convert(unsafe (base + start + index * step).loadUnaligned(as: Stored.self)))
        }
    }

    /// Where the range lies in memory, for views that keep this file alive.
    @unsafe package func address(_ range: Range<Int>) -> UnsafeRawPointer {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return unsafe base + range.lowerBound
    }
}

/// The bytes of numbers as this machine holds them, which is little-endian wherever this package runs.
func bytes(of values: [some BitwiseCopyable]) -> [UInt8] {
    unsafe values.withUnsafeBytes { unsafe [UInt8]($0) }
}
