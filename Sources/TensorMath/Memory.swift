import Glibc

/// One allocation of float32 values, 64-byte aligned and zeroed, carved into matrices in order: the memory plan of a pass.
///
/// It can be sealed, after which the pages are read-only: a write faults instead of changing a frozen weight.
// @unchecked: the pointer never changes; who writes which matrix is decided by the passes, which give threads disjoint rows.
@safe package final class Memory: @unchecked Sendable {
    let base: UnsafeMutablePointer<Float>
    package let capacity: Int
    package private(set) var used = 0
    private let mappedBytes: Int
    /// The memory whose pages these are, where they are shared.
    private let parent: Memory?
    /// Whether a plan is only being counted: its matrices have a shape and no memory.
    private let isCounting: Bool

    /// - Parameter capacity: number of float32 values, alignment padding of `take` included (see `paddedCount`).
    package convenience init(capacity: Int) { self.init(capacity: capacity, isCounting: false) }

    /// Values that a plan takes, found by running it without memory; it must not touch the values.
    package static func count(_ plan: (Memory) -> Void) -> Int {
        let memory = Memory(capacity: 0, isCounting: true)
        plan(memory)
        return memory.used
    }

    private init(capacity: Int, isCounting: Bool) {
        let page = 4096
        mappedBytes = max(page, (capacity * 4 + page - 1) / page * page)
        let raw = unsafe mmap(nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        // As any allocation in Swift: who has no memory has no way on. It is no fault of the program, and so no crash.
        guard let raw = unsafe raw, unsafe raw != MAP_FAILED else {
            let size = mappedBytes >> 20 > 0 ? "\(mappedBytes >> 20) MiB" : "\(mappedBytes >> 10) KiB"
            let sentence = Array(
                "error: the system refused \(size) of memory for matrices (ulimit -v limits the address space); raise that limit, or use fewer threads\n"
                    .utf8)
            _ = unsafe sentence.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
            _exit(1)
        }
        unsafe madvise(raw, mappedBytes, MADV_HUGEPAGE)
        unsafe base = raw.bindMemory(to: Float.self, capacity: mappedBytes / 4)
        self.capacity = capacity
        self.isCounting = isCounting
        parent = nil
    }

    /// A second plan over the same pages, empty again: the same buffers under other shapes.
    package init(sharing other: Memory) {
        unsafe base = other.base
        capacity = other.capacity
        mappedBytes = other.mappedBytes
        parent = other
        isCounting = false
    }

    deinit { if parent == nil { unsafe munmap(base, mappedBytes) } }

    /// Values that a matrix of `count` values takes from the plan: rounded up to a cache line.
    package static func paddedCount(_ count: Int) -> Int { (count + 15) / 16 * 16 }

    /// The next `rows` x `columns` values.
    package func take(_ rows: Int, _ columns: Int) -> Matrix {
        let start = used
        used += Memory.paddedCount(rows * columns)
        precondition(isCounting || used <= capacity, "the memory plan has \(capacity) values, \(used) were asked for")
        return unsafe Matrix(base: base + (isCounting ? 0 : start), rows: rows, columns: columns, stride: columns, owner: self)
    }

    /// The next `count` values as one row.
    package func take(_ count: Int) -> Matrix { take(1, count) }

    /// Everything taken so far as one row.
    package var all: Matrix { unsafe Matrix(base: base, rows: 1, columns: used, stride: used, owner: self) }

    /// Makes the pages read-only for the rest of the process's life.
    package func seal() { unsafe mprotect(base, mappedBytes, PROT_READ) }

    package func zero() { unsafe memset(base, 0, used * 4) }
}
