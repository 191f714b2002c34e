import Foundation
import ProgramRunner
import SocketService
import Testing

/// Started by systemd's hand: a listening socket comes as descriptor 3.
@Suite(.heavy) struct ActivationTests {
    @Test func aSocketHandedOverIsServedAndLeftInPlace() throws {
        let folder = try Server.makeFolder(["flowers"])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/run/d.sock"
        let socket = try UnixSocket(path: path)

        // The shell becomes the server, so LISTEN_PID is its own number.
        let process = try RunningProgram(
            "/bin/sh", ["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --store \"$HOME/store\"", Server.program("adapterd")],
            environment: ["HOME": folder], errors: .file, handed: [socket.descriptor])
        // The connection waits in the socket's queue until the server is there.
        let connection = try RawConnection(socket: path)
        connection.send(Server.message("POST", "/v1/images/generations", #"{"model":"flowers","class":"rose","steps":1}"#))
        let reply = try connection.response()
        #expect(reply.status == 200, "\(reply.text) \(process.errors)")
        process.signal(SIGTERM)
        #expect(process.wait() == 0)
        #expect(FileManager.default.fileExists(atPath: path))
    }
}
