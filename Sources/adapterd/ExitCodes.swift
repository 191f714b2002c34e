import AdapterFormat
import AdapterStore
import Autoencoder
import SocketService
import SystemErrors
import TensorFiles

/// The one table of exit codes, the same numbers as `adapterctl`'s.
func exitStatus(of error: any Error) -> Int32 {
    switch error {
    case let error as StoreError: error.exitCode
    case ConfigurationError.notFound: 4
    case is ConfigurationError: 2
    case SocketError.inUse, SocketError.portInUse: 11
    case SocketError.notASocket: 5
    case SocketError.emptyPath, SocketError.pathTooLong, SocketError.namesFolder: 2
    case SocketError.folderNotOurs, SocketError.folderOpen, SocketError.portForbidden: 12
    case SocketError.badToken: 12
    case SocketError.system(_, _, let reason): reason.exitCode(otherwise: 1)
    case is SocketError: 1
    case TensorFileError.unreadable(_, let reason): reason.exitCode(otherwise: 4)
    case is TensorFileError: 6
    case is AdapterFormatError, is AutoencoderError: 7
    default: 1
    }
}
