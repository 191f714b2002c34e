import Foundation
import SystemIO

/// A file mapped read-only: the one place in this module that touches raw memory.
///
/// A mapped file that another process shortens raises SIGBUS on access; the store therefore only maps files that it wrote
/// itself under a content digest and never changes, and who keeps one for long asks it now and then whether it `isWhole`.
@safe package final class MappedFile: Sendable {
    package let path: String
    package let count: Int
    private nonisolated(unsafe) let base: UnsafeRawPointer
    /// Of the file that is mapped; -1 for a copy in memory.
    private let descriptor: Int32

    package init(path: String) throws(TensorFileError) {
        // A pipe would wait for its other end; it is refused below.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(path: path, reason: .last) }
        var isKept = false
        defer { if !isKept { close(descriptor) } }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .unreadable(path: path, reason: status.st_mode & S_IFMT == S_IFDIR ? "it is a folder" : "it is not a regular file")
        }
        self.path = path
        count = Int(status.st_size)
        let mapped = unsafe mmap(nil, max(count, 1), PROT_READ, MAP_PRIVATE, descriptor, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            throw .unreadable(path: path, reason: .last)
        }
        unsafe base = UnsafeRawPointer(mapped)
        self.descriptor = descriptor
        isKept = true
    }

    /// False where the file, wherever its path leads now, is shorter than it was when it was mapped.
    package var isWhole: Bool {
        guard descriptor >= 0 else { return true }
        var status = stat()
        return unsafe fstat(descriptor, &status) == 0 && Int(status.st_size) >= count
    }

    /// A copy in memory, for a file that others may still be writing: refused if it changes while it is read.
    /// - Parameter limit: most bytes, held before memory is taken.
    package init(copying path: String, limit: Int) throws(TensorFileError) {
        func refusal(_ reason: SystemError) -> TensorFileError { .unreadable(path: path, reason: reason) }
        func status(_ descriptor: Int32) throws(TensorFileError) -> stat {
            var status = stat()
            guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw refusal("it is not a regular file") }
            return status
        }
        // A link may lead anywhere, and a pipe may never answer.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw refusal(errno == ELOOP ? "it is a link" : .last) }
        defer { close(descriptor) }
        let before = try status(descriptor)
        guard before.st_size <= limit else { throw refusal("its \(before.st_size, "byte") are more than the \(limit) that it may have") }
        let size = Int(before.st_size)
        let memory = unsafe mmap(nil, max(size, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { throw refusal(.last) }
        self.path = path
        count = size
        unsafe base = UnsafeRawPointer(memory)
        self.descriptor = -1
        var filled = 0
        while filled < size {
            let got = unsafe pread(descriptor, memory + filled, size - filled, off_t(filled))
            if got < 0 && errno == EINTR { continue }
            guard got > 0 else { throw refusal(got < 0 ? .last : "it was cut while it was read") }
            filled += got
        }
        let after = try status(descriptor)
        guard after.st_size == before.st_size, after.st_mtim.tv_sec == before.st_mtim.tv_sec, after.st_mtim.tv_nsec == before.st_mtim.tv_nsec
        else { throw refusal("it changed while it was read") }
    }

    deinit {
        unsafe munmap(UnsafeMutableRawPointer(mutating: base), max(count, 1))
        if descriptor >= 0 { close(descriptor) }
    }

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
