import Foundation
import SocketService
import Testing

/// Started by systemd's hand: a listening socket comes as descriptor 3.
struct ActivationTests {
    @Test func aSocketHandedOverIsServedAndLeftInPlace() throws {
        let folder = try Server.makeFolder(["flowers"])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/run/d.sock"
        let socket = try UnixSocket(path: path)

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, socket.descriptor, 3)
        // The shell becomes the server, so LISTEN_PID is its own number.
        let command = "LISTEN_PID=$$ LISTEN_FDS=1 exec \(Server.program("adapterd").path) --store \(folder)/store 2>\(folder)/log"
        let arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sh"), strdup("-c"), strdup(command), nil]
        let environment: [UnsafeMutablePointer<CChar>?] = [strdup("HOME=\(folder)"), nil]
        defer { for text in arguments + environment { free(text) } }
        var process = pid_t()
        try #require(posix_spawn(&process, "/bin/sh", &actions, nil, arguments, environment) == 0)
        defer {
            var status: Int32 = 0
            Glibc.kill(process, SIGTERM)
            waitpid(process, &status, 0)
            #expect(status == 0 && FileManager.default.fileExists(atPath: path))
        }

        // The connection waits in the socket's queue until the server is there.
        let connection = try RawConnection(socket: path)
        connection.send(Server.message("POST", "/v1/images/generations", #"{"model":"flowers","class":"rose","steps":1}"#))
        let reply = try connection.response()
        let log = (try? String(contentsOfFile: folder + "/log", encoding: .utf8)) ?? ""
        #expect(reply.status == 200, "\(reply.text) \(log)")
    }
}
