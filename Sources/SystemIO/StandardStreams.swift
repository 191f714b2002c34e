import Foundation

/// What a program prints. Foundation's `FileHandle.write(_:)` ends the process where the system refuses it: on a full disk, behind a
/// terminal that has gone.
package enum StandardStreams {
    /// Prints a result to standard output. One that was closed from the beginning asks for nothing.
    package static func print(_ text: String) throws(SystemError) {
        do { try FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) } catch {
            let refusal = SystemError(error)
            guard refusal.code != EBADF else { return }
            throw SystemError(reason: "standard output cannot be written: \(refusal)", code: refusal.code)
        }
    }

    /// Says something beside the results; where nobody can be told, the work goes on.
    package static func say(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }
}
