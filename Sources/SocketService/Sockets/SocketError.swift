/// Why the server cannot listen.
package enum SocketError: Error, Sendable, Equatable, CustomStringConvertible {
    case pathTooLong(path: String, limit: Int)
    case folderNotOurs(folder: String)
    case folderOpen(folder: String, mode: String)
    case inUse(path: String, process: Int32?)
    case notASocket(path: String)
    case badToken(file: String, reason: String)
    case badActivation(reason: String)
    case noAddress
    case system(path: String, call: String, reason: String)

    package var description: String {
        switch self {
        case .pathTooLong(let path, let limit): "The socket path '\(path)' is longer than \(limit) bytes, the most that the system allows."
        case .folderNotOurs(let folder): "The folder '\(folder)' belongs to another user; put the socket into a folder of your own."
        case .folderOpen(let folder, let mode):
            "Other users may change the folder '\(folder)' (mode \(mode)); put the socket into one that only you can change (chmod 700)."
        case .inUse(let path, let process):
            "Another server is listening at '\(path)'" + (process.map { " (process \($0))." } ?? ".")
        case .notASocket(let path): "There is a file at '\(path)' that is no socket; it is left alone."
        case .badToken(let file, let reason): "The token file '\(file)' cannot be used: \(reason)."
        case .badActivation(let reason): "The sockets handed over at start cannot be used: \(reason)."
        case .noAddress: "There is nothing to listen on: give --socket, or --port with --token-file."
        case .system(let path, let call, let reason): "\(call) failed for '\(path)': \(reason)."
        }
    }
}
