import Crypto
import Foundation

/// The secret that calls over TCP must show. Kept as its SHA-256 only.
package struct Token: Sendable {
    private let digest: SHA256Digest

    /// Reads the first line of a file that nobody else may read.
    package init(file: String) throws(SocketError) {
        if let status = try SystemCalls.status(file), status.mode & S_IFMT == S_IFLNK {
            throw .badToken(file: file, reason: "it is a symbolic link; give the file that it leads to")
        }
        let (bytes, mode) = try SystemCalls.readSmallFile(file, limit: 4096)
        guard mode & 0o077 == 0 else {
            throw .badToken(file: file, reason: "other users may read it (mode \(String(mode & 0o777, radix: 8))); chmod 600")
        }
        let line = bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard (16...1024).contains(line.count) else { throw .badToken(file: file, reason: "its first line is not 16 to 1024 bytes long") }
        guard line.allSatisfy({ (0x21...0x7e).contains($0) }) else { throw .badToken(file: file, reason: "it has blanks or is not ASCII") }
        self.init(bytes: line)
    }

    package init(bytes: some Sequence<UInt8>) { digest = SHA256.hash(data: Data(bytes)) }

    /// Takes the same time for every wrong token: digests are compared, by a comparison that does not stop early.
    package func admits(authorization: String?) -> Bool {
        let scheme = "bearer "
        guard let authorization, authorization.lowercased().hasPrefix(scheme) else { return false }
        return SHA256.hash(data: Data(authorization.utf8.dropFirst(scheme.utf8.count))) == digest
    }
}
