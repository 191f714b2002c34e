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

    /// A copy in memory, for a file that others may still be writing: refused if it changes while it is read.
    /// - Parameter limit: most bytes, held before memory is taken.
    package init(copying path: String, limit: Int) throws(TensorFileError) {
        func refusal(_ reason: String) -> TensorFileError { .unreadable(path: path, reason: reason) }
        func status(_ descriptor: Int32) throws(TensorFileError) -> stat {
            var status = stat()
            guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw refusal("it is not a regular file") }
            return status
        }
        // A link may lead anywhere, and a pipe may never answer.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw refusal(errno == ELOOP ? "it is a link" : unsafe String(cString: strerror(errno))) }
        defer { close(descriptor) }
        let before = try status(descriptor)
        guard before.st_size <= limit else { throw refusal("its \(before.st_size) bytes are more than the \(limit) that it may have") }
        let size = Int(before.st_size)
        let memory = unsafe mmap(nil, max(size, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { throw refusal(unsafe String(cString: strerror(errno))) }
        self.path = path
        count = size
        unsafe base = UnsafeRawPointer(memory)
        var filled = 0
        while filled < size {
            let got = unsafe pread(descriptor, memory + filled, size - filled, off_t(filled))
            if got < 0 && errno == EINTR { continue }
            guard got > 0 else { throw refusal(got < 0 ? unsafe String(cString: strerror(errno)) : "it was cut while it was read") }
            filled += got
        }
        let after = try status(descriptor)
        guard after.st_size == before.st_size, after.st_mtim.tv_sec == before.st_mtim.tv_sec, after.st_mtim.tv_nsec == before.st_mtim.tv_nsec
        else { throw refusal("it changed while it was read") }
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
