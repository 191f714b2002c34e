import Foundation

/// A file mapped read-only: the fence of this room, the one place that touches raw memory of files.
///
/// A mapped file that another process shortens raises SIGBUS on access; the store therefore only maps files that it wrote
/// itself under a content digest and never changes.
@safe package final class MappedFile: Sendable {
    package let path: String
    package let count: Int
    private nonisolated(unsafe) let base: UnsafeRawPointer

    package init(path: String) throws(TensorFileError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
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

    /// The elements of a range, each made from `size` little-endian bytes by `convert`.
    func elements<Stored: BitwiseCopyable, Element>(_ range: Range<Int>, of type: Stored.Type, convert: (Stored) -> Element) -> [Element] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        let size = MemoryLayout<Stored>.size
        return (0..<range.count / size).map { index in
            convert(unsafe (base + range.lowerBound + index * size).loadUnaligned(as: Stored.self))
        }
    }

    /// Where the range lies in memory, for views that keep this file alive.
    @unsafe package func address(_ range: Range<Int>) -> UnsafeRawPointer {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return unsafe base + range.lowerBound
    }
}
