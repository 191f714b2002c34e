import Foundation
import Synchronization

/// What outlives this process however it ends (Ctrl-C, kill -9, a crash): a shell that then ends every program which a test started and
/// removes the tests' folder, with whatever they mounted there. It reads from a pipe whose other end only this process has.
final class Guardian: Sendable {
    /// Holds every temporary folder of the tests; removed at the end.
    let folder: String
    private let pipe: Int32
    private let order = Mutex(())

    private static let standing = Mutex<Guardian?>(nil)

    static func shared() throws -> Guardian {
        try standing.withLock { standing in
            if let standing { return standing }
            let guardian = try Guardian()
            standing = guardian
            return guardian
        }
    }

    /// Group ids come as "+12" and go as "-12"; what is left at the end is killed.
    private static let script = """
        trap '' HUP INT QUIT TERM
        groups=' '
        while read -r line; do
            case "$line" in
                +*) groups="$groups${line#+} ";;
                -*) n="${line#-}"; groups="${groups%% "$n" *} ${groups#* "$n" }";;
            esac
        done
        for n in $groups; do kill -s KILL -- "-$n" 2>/dev/null; done
        while read -r device where rest; do
            case "$where" in "$0"/*) umount "$where";; esac
        done </proc/mounts
        rm -rf "$0" || rm -rf "$0"
        """

    private init() throws {
        var path = Array((NSTemporaryDirectory() + "/difffit-tests-XXXXXX").replacing("//", with: "/").utf8CString)
        guard mkdtemp(&path) != nil else { throw RunningProgram.NotStarted(program: "the tests' folder", code: errno) }
        folder = path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        let ends = try closedOnExec()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends.reading, 0)
        for number: Int32 in [1, 2] { posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_WRONLY, 0) }
        let words = cStrings(["sh", "-c", Self.script, folder])
        defer { for text in words { free(text) } }
        var attributes = RunningProgram.attributes()
        defer { posix_spawnattr_destroy(&attributes) }
        var process = pid_t()
        let code = posix_spawn(&process, "/bin/sh", &actions, &attributes, words, environ)
        close(ends.reading)
        guard code == 0 else { throw RunningProgram.NotStarted(program: "/bin/sh", code: code) }
        pipe = ends.writing
    }

    func watch(_ group: pid_t) { say("+\(group)\n") }
    func forget(_ group: pid_t) { say("-\(group)\n") }

    private func say(_ line: String) {
        order.withLock { _ in _ = Array(line.utf8).withUnsafeBytes { write(pipe, $0.baseAddress, $0.count) } }
    }
}

/// A new folder of its own for one test, which only this user may read; gone at the latest when the tests end.
public func temporaryFolder(_ name: String) throws -> String {
    let folder = try Guardian.shared().folder + "/\(name)-\(String(UInt32.random(in: .min ... .max), radix: 36))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    return folder
}
