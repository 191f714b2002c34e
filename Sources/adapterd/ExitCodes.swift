import Programs
import SocketService
import SystemIO

/// What this program alone refuses, then the table of all modules, the same numbers as `adapterctl`'s.
func exitStatus(of error: any Error) -> Int32 {
    switch error {
    case ConfigurationError.notFound: 4
    case is ConfigurationError: 2
    case SocketError.inUse, SocketError.portInUse: 11
    case SocketError.notASocket: 5
    case SocketError.emptyPath, SocketError.pathTooLong, SocketError.namesFolder: 2
    case SocketError.folderNotOurs, SocketError.folderOpen, SocketError.portForbidden: 12
    case SocketError.badToken: 12
    case SocketError.system(_, _, let reason): reason.exitCode(otherwise: 1)
    case is SocketError: 1
    default: exitCode(of: error) ?? 1
    }
}
