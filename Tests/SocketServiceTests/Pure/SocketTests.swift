import Foundation
import SocketService
import Testing

/// Where the server listens, and who may speak.
struct SocketTests {
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "sockets-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private func mode(_ path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    @Test func theSocketIsOursAloneAndSoIsItsFolder() throws {
        try withFolder { folder in
            let socket = try UnixSocket(path: folder + "/run/d.sock")
            #expect(try mode(folder + "/run") == 0o700)
            #expect(try mode(folder + "/run/d.sock") == 0o600)
            socket.remove()
            #expect(!FileManager.default.fileExists(atPath: folder + "/run/d.sock"))
            Glibc.close(socket.descriptor)
        }
    }

    @Test func aLiveServersSocketIsRefusedAndNamesTheProcess() throws {
        try withFolder { folder in
            let path = folder + "/d.sock"
            let first = try UnixSocket(path: path)
            let own = ProcessInfo.processInfo.processIdentifier
            #expect(throws: SocketError.inUse(path: path, process: own)) { try UnixSocket(path: path) }
            first.remove()
            Glibc.close(first.descriptor)
            let second = try UnixSocket(path: path)
            second.remove()
            Glibc.close(second.descriptor)
        }
    }

    @Test func aDeadServersSocketIsReplaced() throws {
        try withFolder { folder in
            let path = folder + "/d.sock"
            // A server killed with -9: its descriptor is gone, its file stays.
            let dead = try UnixSocket(path: path + "2")
            Glibc.close(dead.descriptor)
            try FileManager.default.moveItem(atPath: path + "2", toPath: path)
            let next = try UnixSocket(path: path)
            let client = try RawConnection(socket: path)
            client.close()
            next.remove()
            Glibc.close(next.descriptor)
            dead.remove()
        }
    }

    @Test func aForeignServersSocketIsLeftAlone() throws {
        try withFolder { folder in
            let path = folder + "/d.sock"
            let other = try UnixSocket(path: path + "2")
            try FileManager.default.moveItem(atPath: path + "2", toPath: path)
            #expect(throws: SocketError.inUse(path: path, process: nil)) { try UnixSocket(path: path) }
            Glibc.close(other.descriptor)
        }
    }

    @Test func aFileThatIsNoSocketIsLeftAlone() throws {
        try withFolder { folder in
            let path = folder + "/d.sock"
            try Data("mine".utf8).write(to: URL(filePath: path))
            #expect(throws: SocketError.notASocket(path: path)) { try UnixSocket(path: path) }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine")
            try FileManager.default.removeItem(atPath: path)
            try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/etc/passwd")
            #expect(throws: SocketError.notASocket(path: path)) { try UnixSocket(path: path) }
            #expect(!FileManager.default.fileExists(atPath: path + ".lock"))
            try FileManager.default.createDirectory(atPath: folder + "/in", withIntermediateDirectories: false)
            #expect(throws: SocketError.namesFolder(path: folder + "/in")) { try UnixSocket(path: folder + "/in") }
        }
    }

    @Test func aFolderThatOthersMayChangeIsRefused() throws {
        try withFolder { folder in
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder)
            #expect(throws: SocketError.folderOpen(folder: folder, mode: "777")) { try UnixSocket(path: folder + "/d.sock") }
        }
    }

    /// An empty path would be a socket without a file, open to every local user.
    @Test func anEmptyPathIsRefused() {
        #expect(throws: SocketError.emptyPath) { try UnixSocket(path: "") }
    }

    @Test func aPathThatNamesAFolderIsRefused() {
        for path in ["/", ".", "..", "run/", "run/.."] { #expect(throws: SocketError.namesFolder(path: path)) { try UnixSocket(path: path) } }
    }

    @Test func theFolderOfAShortPathIsFound() {
        for (path, folder) in [("s", "."), (" ", "."), ("/s", "/"), ("run/s", "run"), ("/a/b/s", "/a/b")] {
            #expect(UnixSocket.folder(of: path) == folder)
        }
    }

    /// The port is held by this test, whichever the system chose.
    @Test func aBusyPortIsNamed() throws {
        let first = try LoopbackSocket(port: 0)
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(first.descriptor, $0, &size) }
        }
        let port = Int(UInt16(bigEndian: address.sin_port))
        let refusal = #expect(throws: SocketError.portInUse(port)) { try LoopbackSocket(port: port) }
        #expect(refusal?.description.contains("Port \(port) of 127.0.0.1 is in use") == true)
    }

    @Test func namesThatAPageOfAnotherSiteComesUnderAreForeign() {
        let rule = HostRule(more: ["gpu.example", "proxy.example:8443"])
        for own in [
            "localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080", "gpu.example:9", "proxy.example:8443", "localhost.",
            "LocalHost.:8080", "localhost:", "[0:0:0:0:0:0:0:1]:80", "[0000::0001]", "GPU.example.", "proxy.example.:8443",
        ] {
            #expect(rule.admits(own), "\(own)")
        }
        for foreign in [
            "", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "proxy.example", "localhost:x", "a@localhost", "::1",
            "localhost..", ".", "proxy.example.:9", "[::2]", "[]", "[::1", "localhost:+80",
        ] {
            #expect(!rule.admits(foreign), "\(foreign)")
        }
    }

    @Test func aLongPathIsRefusedInWords() {
        let path = "/tmp/" + String(repeating: "x", count: 200)
        #expect(throws: SocketError.pathTooLong(path: path, limit: 107)) { try UnixSocket(path: path) }
    }

    @Test func aTokenThatOthersMayReadIsRefused() throws {
        try withFolder { folder in
            let file = folder + "/token"
            #expect(
                FileManager.default.createFile(
                    atPath: file, contents: Data("0123456789abcdef\n".utf8), attributes: [.posixPermissions: 0o644]))
            #expect(throws: SocketError.self) { try Token(file: file) }
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
            let token = try Token(file: file)
            #expect(token.admits(authorization: "Bearer 0123456789abcdef"))
            #expect(token.admits(authorization: "bearer 0123456789abcdef"))
            for wrong in [
                nil, "", "Bearer", "Bearer ", "Bearer 0123456789abcdeg", "Bearer 0123456789abcdef0", "Basic 0123456789abcdef",
                "0123456789abcdef",
            ] {
                #expect(!token.admits(authorization: wrong))
            }
            try FileManager.default.createSymbolicLink(atPath: folder + "/link", withDestinationPath: file)
            let refusal = #expect(throws: SocketError.self) { try Token(file: folder + "/link") }
            #expect(refusal?.description.contains("symbolic link") == true)
            try Data("short\n".utf8).write(to: URL(filePath: file))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
            #expect(throws: SocketError.self) { try Token(file: file) }
        }
    }

    @Test func systemdsWordIsTakenOnlyForThisProcess() throws {
        #expect(try SystemdSockets(["LISTEN_PID": "1", "LISTEN_FDS": "1"], process: 77).isEmpty)
        #expect(try SystemdSockets([:], process: 77).isEmpty)
        #expect(throws: SocketError.self) { try SystemdSockets(["LISTEN_PID": "77", "LISTEN_FDS": "x"], process: 77) }
        #expect(throws: SocketError.self) { try SystemdSockets(["LISTEN_PID": "77", "LISTEN_FDS": "99"], process: 77) }
    }

    /// systemd's `ListenStream=@name`: a socket without a file has no mode that keeps others out.
    @Test func anAbstractSocketIsRefused() {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "\0difffit-\(UInt64.random(in: .min ... .max))".utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        #expect(result == 0)
        #expect(listen(descriptor, 1) == 0)
        #expect(throws: SocketError.abstract(descriptor: descriptor)) { try SystemdSockets(activated: [descriptor]) }
    }

    @Test func aClientIsAnotherUserOrANameOrAConnection() {
        let mine = Connection(number: 4, peer: .user(uid: 1000))
        let other = Connection(number: 5, peer: .user(uid: 33))
        #expect(mine.client(user: nil, ownUser: 1000) == "uid:1000")
        // Many connections that say nothing are one client.
        #expect(Connection(number: 9, peer: .user(uid: 1000)).client(user: nil, ownUser: 1000) == mine.client(user: nil, ownUser: 1000))
        #expect(mine.client(user: "ann", ownUser: 1000) == "user:ann")
        // Another user can not become many clients by many names.
        #expect(other.client(user: "ann", ownUser: 1000) == "uid:33")
        let far = Connection(number: 6, peer: .loopback(address: "127.0.0.1"))
        #expect(far.client(user: nil, ownUser: 1000) == "address:127.0.0.1")
        #expect(far.client(user: "ann", ownUser: 1000) == "user:ann")
    }

    @Test func leavingIsToldOnceAndAlsoAfterwards() {
        let connection = Connection(number: 1, peer: .loopback(address: "127.0.0.1"))
        let count = Count()
        connection.whenPeerLeaves { count.add() }
        connection.peerLeft()
        connection.peerLeft()
        #expect(count.value == 1)
        #expect(connection.hasLeft)
        connection.whenPeerLeaves { count.add() }
        #expect(count.value == 2)
        connection.whenPeerLeaves(nil)
    }
}
