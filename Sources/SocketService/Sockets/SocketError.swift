import SystemIO

/// Why the server cannot listen.
package enum SocketError: Error, Sendable, Equatable, CustomStringConvertible {
    case emptyPath
    case abstract(descriptor: Int32)
    case portInUse(Int)
    case portForbidden(Int)
    case pathTooLong(path: String, limit: Int)
    case folderNotOurs(folder: String)
    case folderOpen(folder: String, mode: String)
    case inUse(path: String, process: Int32?)
    case notASocket(path: String)
    case namesFolder(path: String)
    case badToken(file: String, reason: String)
    case badActivation(reason: String)
    case noAddress
    case system(path: String, deed: SystemError.Deed, SystemError)

    package var description: String {
        switch self {
        case .emptyPath: "The socket path is empty; give a path such as /run/user/1000/difffit/adapterd.sock (is a variable of the shell not set?)."
        case .abstract(let descriptor):
            "The socket handed over as descriptor \(descriptor) has no file, so every local user could reach it; ListenStream needs a path."
        case .portInUse(let port): "Port \(port) of 127.0.0.1 is in use by another program; choose another with --port (0 takes a free one)."
        case .portForbidden(let port): "Port \(port) of 127.0.0.1 may not be opened by this user; choose one above 1023 with --port."
        case .pathTooLong(let path, let limit): "The socket path '\(path)' is longer than \(limit) bytes, the most that the system allows."
        case .folderNotOurs(let folder): "The folder '\(folder)' belongs to another user; put the socket into a folder of your own."
        case .folderOpen(let folder, let mode):
            "Other users may change the folder '\(folder)' (mode \(mode)); put the socket into one that only you can change (chmod 700)."
        case .inUse(let path, let process):
            "Another server is listening at '\(path)'" + (process.map { " (process \($0))." } ?? ".")
        case .notASocket(let path): "There is a file at '\(path)' that is no socket; it is left alone: give --socket another path."
        case .namesFolder(let path): "The socket path '\(path)' names a folder; give it the name of a file, such as adapterd.sock."
        case .badToken(let file, let reason): "The token file '\(file)' cannot be used: \(reason)."
        case .badActivation(let reason): "The sockets handed over at start cannot be used: \(reason)."
        case .noAddress: "There is nothing to listen on: give --socket, or --port with --token-file."
        case .system(let path, let deed, let error): error.sentence(path, deed) + "."
        }
    }
}
