import Foundation
import Synchronization

/// A program that a test started: plain descriptors, a process group of its own, and no patience. What waits, waits for output or for the end,
/// however long the machine takes.
public final class RunningProgram: Sendable {
    /// Where what the program prints goes.
    public enum Output: Sendable {
        /// Nowhere.
        case null
        /// To a file; read at the end. Also where it prints much, or leaves children behind that hold on to it.
        case file
        /// To the test, as it comes: `lines` and `words` can be waited for.
        case followed
    }

    public struct NotStarted: Error, CustomStringConvertible {
        public let program: String
        public let code: Int32
        public var description: String { "\(program) cannot be started: \(String(cString: strerror(code)))" }
    }

    /// Process id, and id of the process group that dies with the test.
    public let identifier: pid_t
    private let streams: [OutputStream]
    private let input: Int32?
    private let state = Mutex<Int32?>(nil)

    /// - Parameters:
    ///   - program: its path, or a name to be found on PATH.
    ///   - environment: the whole of it, but for the options of a sanitizer that this process has.
    ///   - hasInput: whether its input stays open until `closeInput()`; else it is empty.
    ///   - handed: descriptors that it gets as 3, 4, ...
    public init(
        _ program: String, _ arguments: [String] = [], environment: [String: String] = ProcessInfo.processInfo.environment,
        output: Output = .null, errors: Output = .null, hasInput: Bool = false, handed: [Int32] = []
    ) throws {
        let guardian = try Guardian.shared()
        // One at a time: a pipe is the child's own only once it is marked, so none is made while another child starts.
        spawning.lock()
        defer { spawning.unlock() }
        let streams = try [OutputStream(output), OutputStream(errors)]
        let ends = hasInput ? try closedOnExec() : nil
        defer { if let ends { close(ends.reading) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let ends {
            posix_spawn_file_actions_adddup2(&actions, ends.reading, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        for (number, stream) in streams.enumerated() { posix_spawn_file_actions_adddup2(&actions, stream.writing, Int32(number + 1)) }
        for (number, descriptor) in handed.enumerated() { posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number + 3)) }
        let words = cStrings([program] + arguments)
        let sanitizer = ProcessInfo.processInfo.environment.filter { ["TSAN_OPTIONS", "ASAN_OPTIONS"].contains($0.key) }
        let variables = cStrings(environment.merging(sanitizer) { $1 }.map { "\($0.key)=\($0.value)" })
        defer { for text in words + variables { free(text) } }
        var attributes = Self.attributes()
        defer { posix_spawnattr_destroy(&attributes) }
        var process = pid_t()
        let code = posix_spawnp(&process, program, &actions, &attributes, words, variables)
        guard code == 0 else {
            if let ends { close(ends.writing) }
            for stream in streams { stream.begin(following: false) }
            throw NotStarted(program: program, code: code)
        }
        guardian.watch(process)
        for stream in streams { stream.begin(following: true) }
        identifier = process
        self.streams = streams
        input = ends?.writing
    }

    /// A group of its own, and no signal blocked or ignored, whatever this process does with its own.
    static func attributes() -> posix_spawnattr_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        return attributes
    }

    deinit {
        kill()
        closeInput()
    }

    /// What it printed so far; of a file, all.
    public var output: String { streams[0].text }
    public var errors: String { streams[1].text }

    /// The next line of followed output, nil at its end.
    public func line() -> String? { streams[0].line() }

    /// Waits until followed errors hold the words; false where they ended without.
    public func waitForErrors(_ words: String) -> Bool { streams[1].wait(for: words) }

    /// Closes its input, where that was kept open.
    public func closeInput() {
        // The number may be another file's by a second call, so it is given up once.
        let isFirst = inputIsClosed.exchange(true, ordering: .relaxed) == false
        if isFirst, let input { close(input) }
    }

    private let inputIsClosed = Atomic(false)

    public var isRunning: Bool {
        state.withLock { status in
            guard status == nil else { return false }
            var found = siginfo_t()
            // Not reaped: the number stays its own until `wait`.
            return waitid(P_PID, id_t(identifier), &found, WEXITED | WNOHANG | WNOWAIT) == 0 && found.si_signo == 0
        }
    }

    public func signal(_ signal: Int32) {
        state.withLock { status in if status == nil { _ = Glibc.kill(identifier, signal) } }
    }

    /// Ends it and everything it started.
    @discardableResult public func kill() -> Int32 {
        state.withLock { status in if status == nil { _ = Glibc.kill(-identifier, SIGKILL) } }
        return wait()
    }

    /// Waits for its end, however long that takes. What it started and left behind ends too.
    /// - Returns: the exit status, or minus the signal that ended it.
    @discardableResult public func wait() -> Int32 {
        var found = siginfo_t()
        if state.withLock({ $0 == nil }) {
            // Without the lock, so that others may send signals meanwhile; the process is reaped under it.
            while waitid(P_PID, id_t(identifier), &found, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        }
        return state.withLock { status in
            if let status { return status }
            _ = Glibc.kill(-identifier, SIGKILL)
            var raw: Int32 = 0
            while waitpid(identifier, &raw, 0) < 0, errno == EINTR {}
            let ended = raw & 0x7f == 0 ? (raw >> 8) & 0xff : -(raw & 0x7f)
            status = ended
            (try? Guardian.shared())?.forget(identifier)
            return ended
        }
    }
}

/// One of a program's two streams: the end that it writes to, and what is known of what it wrote.
private final class OutputStream: Sendable {
    let writing: Int32
    private let reading: Int32?
    private let file: String?
    private let state = Mutex((bytes: [UInt8](), read: 0, hasEnded: false))
    private let change = NSCondition()

    init(_ output: RunningProgram.Output) throws {
        switch output {
        case .null:
            (file, reading) = (nil, nil)
            writing = open("/dev/null", O_WRONLY | O_CLOEXEC)
        case .file:
            let path = try temporaryFolder("output") + "/stream"
            (file, reading) = (path, nil)
            writing = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        case .followed:
            let ends = try closedOnExec()
            (file, reading, writing) = (nil, ends.reading, ends.writing)
        }
        guard writing >= 0 else { throw RunningProgram.NotStarted(program: file ?? "/dev/null", code: errno) }
    }

    /// The program has its own copy of the writing end. What is followed is read by a thread of its own, until nobody can write any more.
    func begin(following: Bool) {
        close(writing)
        guard let reading else { return }
        guard following else {
            close(reading)
            return
        }
        Thread.detachNewThread { [self] in
            var piece = [UInt8](repeating: 0, count: 1 << 16)
            while true {
                let count = read(reading, &piece, piece.count)
                if count < 0, errno == EINTR { continue }
                note(piece.prefix(max(0, count)))
                if count <= 0 { break }
            }
            close(reading)
        }
    }

    private func note(_ bytes: ArraySlice<UInt8>) {
        change.lock()
        state.withLock { state in
            state.bytes += bytes
            state.hasEnded = bytes.isEmpty
        }
        change.broadcast()
        change.unlock()
    }

    var text: String {
        let bytes = file.map { [UInt8]((try? Data(contentsOf: URL(filePath: $0))) ?? Data()) } ?? state.withLock(\.bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Looks again after every piece that comes, until there is a result or no more to come.
    private func wait<Result>(until look: (inout (bytes: [UInt8], read: Int, hasEnded: Bool)) -> Result?) -> Result? {
        change.lock()
        defer { change.unlock() }
        while true {
            var hasEnded = false
            let result = state.withLock { state in
                hasEnded = state.hasEnded
                return look(&state)
            }
            if result != nil || hasEnded || reading == nil { return result }
            change.wait()
        }
    }

    func wait(for words: String) -> Bool {
        let words = Data(words.utf8)
        return wait { state in Data(state.bytes).range(of: words) == nil ? nil : true } ?? false
    }

    func line() -> String? {
        wait { state in
            guard let end = state.bytes[state.read...].firstIndex(of: 10) else { return nil }
            defer { state.read = end + 1 }
            return String(decoding: state.bytes[state.read..<end], as: UTF8.self)
        }
    }
}

private let spawning = NSLock()

/// A pipe that no child inherits.
func closedOnExec() throws -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw RunningProgram.NotStarted(program: "a pipe", code: errno) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
}

/// As `argv` and `envp` are: copies that the caller frees, and a null.
func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] { texts.map { strdup($0) } + [nil] }
