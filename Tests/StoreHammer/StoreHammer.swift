import AdapterStore
import Foundation
import Glibc

/// A program for tests only: it works on a store until it is done or killed, and writes a line before and after each step.
///
///     storehammer hammer STORE SEED        random operations for ever: "begin", "end", ...
///     storehammer add STORE PREFIX COUNT   adds adapters 0 ..< COUNT under PREFIX-<number>
///     storehammer fill STORE LIMIT         adds until the disk is full; LIMIT > 0 bounds the size of its files
///     storehammer snapshot STORE PATH      snapshots to PATH.0, PATH.1, ...: "begin", "end", ...
///     storehammer hold STORE               takes the writer's lock: "held", then waits for the end of its input
///     storehammer foreign STORE            holds lock.mdb as LMDB's own locking does: "held", then waits for the end of its input
///     storehammer init STORE               makes a store: "created", or "refused" and the exit code of the refusal
///     storehammer check STORE              opens, lists, loads and verifies: "sound" and its process number, or "refused", the exit code and
///                                          the sentence; and again at the end of its input
///     storehammer import STORE             imports a base whose bytes never end: "begin" when they have begun
@main
struct StoreHammer {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3 else { exit(2) }
        let number = arguments.count > 3 ? Int(arguments[3]) ?? 0 : 0
        switch arguments[1] {
        case "hammer": try hammer(AdapterStore.open(at: arguments[2], options: options), seed: UInt64(number))
        case "add": try add(AdapterStore.open(at: arguments[2], options: options), prefix: arguments[3], count: Int(arguments[4])!)
        case "fill": try fill(AdapterStore.open(at: arguments[2], options: options), limit: number)
        case "snapshot": try snapshot(AdapterStore.open(at: arguments[2], options: options), to: arguments[3])
        case "hold": hold(arguments[2])
        case "foreign": foreign(arguments[2])
        case "init": make(arguments[2])
        case "check": check(arguments[2])
        case "import": try endlessImport(AdapterStore.open(at: arguments[2], options: options))
        default: exit(2)
        }
    }

    static var options: StoreOptions {
        var options = StoreOptions()
        options.compressionLevel = 1
        return options
    }

    /// Unbuffered, so that the reader knows how far the work was when it killed this process.
    static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    static func hammer(_ store: AdapterStore, seed: UInt64) throws {
        var generator = Generator(seed)
        while true {
            let operation = Operation.random(&generator)
            say("begin")
            try operation.perform(on: store)
            say("end")
        }
    }

    static func add(_ store: AdapterStore, prefix: String, count: Int) throws {
        for number in 0..<count {
            _ = try store.add(Samples.adapter(number, anyFloat: true), as: "\(prefix)-\(number)", over: Samples.base)
        }
    }

    static func fill(_ store: AdapterStore, limit: Int) throws {
        if limit > 0 {
            // Past the limit a write then fails with EFBIG, as on a full disk, instead of ending the process.
            signal(SIGXFSZ, SIG_IGN)
            var bounds = rlimit(rlim_cur: rlim_t(limit), rlim_max: rlim_t(limit))
            guard unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &bounds) == 0 else { exit(3) }
        }
        for number in 0..<100_000 {
            do throws(StoreError) {
                _ = try store.add(Samples.adapter(number, anyFloat: true), as: "fill-\(number)", over: Samples.base)
            } catch {
                say("stopped \(number) \(error.exitCode)")
                return
            }
        }
    }

    static func snapshot(_ store: AdapterStore, to path: String) throws {
        for number in 0..<1000 {
            say("begin")
            _ = try store.snapshot(at: "\(path).\(number)")
            say("end")
        }
    }

    static func hold(_ path: String) {
        let lock = unsafe open(path + "/write.lock", O_RDWR | O_CREAT, 0o644)
        guard flock(lock, LOCK_EX) == 0 else { exit(3) }
        let mark = Array("\(getpid())\n".utf8)
        _ = ftruncate(lock, 0)
        _ = unsafe mark.withUnsafeBytes { unsafe pwrite(lock, $0.baseAddress!, $0.count, 0) }
        say("held")
        _ = FileHandle.standardInput.readDataToEndOfFile()
    }

    static func foreign(_ path: String) {
        let file = unsafe open(path + "/lock.mdb", O_RDWR | O_CREAT, 0o644)
        var lock = flock()
        lock.l_type = Int16(F_RDLCK)
        lock.l_len = 1
        guard unsafe fcntl(file, F_SETLK, &lock) == 0 else { exit(3) }
        say("held")
        _ = FileHandle.standardInput.readDataToEndOfFile()
    }

    static func make(_ path: String) {
        do throws(StoreError) {
            _ = try AdapterStore.create(at: path)
            say("created")
        } catch {
            say("refused \(error.exitCode)")
        }
    }

    static func check(_ path: String) {
        var store: AdapterStore?
        for round in 0..<2 {
            do throws(StoreError) {
                if store == nil { store = try AdapterStore.open(at: path, options: options) }
                guard let open = store else { return }
                for entry in try open.list(includingUnnamed: true) { _ = try open.load(entry.digest, over: Samples.base) }
                let damage = try open.verify { $0 == Samples.base.digest ? Samples.base : nil }.damaged
                say(damage.isEmpty ? "sound \(getpid())" : "damaged \(damage)")
            } catch {
                say("refused \(error.exitCode) \(error)")
            }
            if round == 0 { _ = FileHandle.standardInput.readDataToEndOfFile() }
        }
    }

    static func endlessImport(_ store: AdapterStore) throws {
        var isFirst = true
        let pieces = AnyIterator<[UInt8]> {
            if !isFirst { say("begin") }
            isFirst = false
            return [0]
        }
        try store.importBase(FileContent(IteratorSequence(pieces), digest: Samples.base.digest), card: Data("{}".utf8))
    }
}
