import Foundation
import SystemIO
import Testing

/// Nothing that exists is destroyed by being named as an output.
@Suite struct OutputFileTests {
    private let folder = NSTemporaryDirectory() + "output-\(UUID().uuidString.prefix(8))"
    private let bytes = Data("new".utf8)

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }

    private func remove() { try? FileManager.default.removeItem(atPath: folder) }
    private func put(_ text: String, _ name: String) throws { try Data(text.utf8).write(to: URL(filePath: folder + "/" + name)) }
    private func text(_ name: String) -> String? { try? String(contentsOfFile: folder + "/" + name, encoding: .utf8) }
    private func write(_ name: String) throws { try OutputFile(folder + "/" + name).write(CollectionOfOne(bytes)) }
    private func status(_ name: String) -> stat {
        var status = stat()
        lstat(folder + "/" + name, &status)
        return status
    }
    private func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder).sorted() }

    @Test func aFileIsReplacedAndKeepsItsOwnerAndItsPermissions() throws {
        defer { remove() }
        try put("old", "a")
        chmod(folder + "/a", 0o640)
        if geteuid() == 0 { chown(folder + "/a", 12345, 54321) }
        let before = status("a")
        try write("a")
        let after = status("a")
        #expect(text("a") == "new")
        #expect(after.st_mode == before.st_mode)
        #expect(after.st_uid == before.st_uid)
        #expect(after.st_gid == before.st_gid)
        #expect(after.st_ino != before.st_ino)
        #expect(try names() == ["a"])
    }

    /// What a killed process left goes; what another one is writing, and what only looks like it, stays.
    @Test func theNextOneTakesAwayWhatAKilledOneLeft() throws {
        defer { remove() }
        let (left, held) = (".difffit-\(UUID().uuidString).partial", ".difffit-\(UUID().uuidString).partial")
        for name in [left, held, ".difffit-notes.partial", "mine.partial"] { try put("half", name) }
        let descriptor = open(folder + "/" + held, O_RDONLY | O_CLOEXEC)
        #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        try write("a")
        #expect(try names() == [held, ".difffit-notes.partial", "a", "mine.partial"].sorted())
        close(descriptor)
        try write("b")
        #expect(try names() == [".difffit-notes.partial", "a", "b", "mine.partial"])
    }

    @Test func theTargetOfALinkIsReplacedAndNotTheLink() throws {
        defer { remove() }
        try FileManager.default.createDirectory(atPath: folder + "/deep", withIntermediateDirectories: true)
        try put("old", "deep/file")
        for (link, target) in [("link", "deep/file"), ("second", "link"), ("dangling", "deep/none"), ("a-loop", "a-loop")] {
            try FileManager.default.createSymbolicLink(atPath: folder + "/" + link, withDestinationPath: target)
        }
        try write("second")
        try write("dangling")
        #expect(text("deep/file") == "new")
        #expect(text("deep/none") == "new")
        for link in ["link", "second", "dangling"] { #expect(status(link).st_mode & S_IFMT == S_IFLNK) }
        #expect(throws: SystemError(code: ELOOP)) { try write("a-loop") }
    }

    @Test func aPipeIsWrittenThrough() throws {
        defer { remove() }
        #expect(mkfifo(folder + "/pipe", 0o600) == 0)
        let reader = open(folder + "/pipe", O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        #expect(OutputFile(folder + "/pipe").isStream)
        try write("pipe")
        #expect(try FileHandle(fileDescriptor: reader).read(upToCount: 10) == bytes)
        #expect(status("pipe").st_mode & S_IFMT == S_IFIFO)
        #expect(try names() == ["pipe"])
    }

    /// The null device by another name; a system that lets nobody make or open one shows nothing here.
    @Test(.enabled(if: geteuid() == 0)) func aDeviceIsWrittenThroughAndADiskRefused() throws {
        defer { remove() }
        if mknod(folder + "/null", S_IFCHR | 0o666, 1 << 8 | 3) == 0 {
            try? write("null")
            #expect(status("null").st_mode & S_IFMT == S_IFCHR)
            #expect(status("null").st_rdev == 1 << 8 | 3)
        }
        if mknod(folder + "/disk", S_IFBLK | 0o600, 240 << 8) == 0 {
            #expect(throws: SystemError.self) { try write("disk") }
            #expect(status("disk").st_mode & S_IFMT == S_IFBLK)
        }
    }

    @Test func whatCannotBeAFileIsRefusedBeforeTheWork() throws {
        defer { remove() }
        try put("old", "file")
        func refusal(_ path: String) -> SystemError? {
            do { try OutputFile(path).check() } catch { return error }
            return nil
        }
        #expect(refusal(folder)?.code == EISDIR)
        #expect(refusal(folder + "/new/")?.code == EISDIR)
        #expect(refusal(folder + "/none/a")?.reason == "there is no folder '\(folder)/none/'")
        #expect(refusal(folder + "/file/a")?.code == ENOTDIR)
        #expect(refusal("")?.reason.contains("unset variable") == true)
        #expect(refusal(folder + "/new") == nil)
        #expect(refusal(folder + "/file") == nil)
        #expect(refusal("-") == nil)
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array((folder + "/s").utf8CString)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.map { UInt8(bitPattern: $0) }) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        #expect(bound == 0)
        #expect(refusal(folder + "/s")?.reason.contains("socket") == true)
    }

    @Test func bytesMayComeFromTheFileThatTheyReplace() throws {
        defer { remove() }
        try put("old", "a")
        let source = folder + "/a"
        let pieces = (0..<3).lazy.map { _ in (try? Data(contentsOf: URL(filePath: source))) ?? Data("lost".utf8) }
        try OutputFile(source).write(pieces, durably: true)
        #expect(text("a") == "oldoldold")
    }
}
