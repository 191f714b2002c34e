import Foundation
import NIOCore
import SystemIO
import Testing

struct SystemErrorTests {
    @Test func theSystemsWordsAndNumberSurviveFoundation() throws {
        let missing = #expect(throws: (any Error).self) { try Data(contentsOf: URL(filePath: "/no/such/file")) }
        let error = SystemError(try #require(missing))
        #expect(error.code == ENOENT)
        #expect(error.description == "No such file or directory")
        #expect(error.sentence("a b", .read) == "'a b' cannot be read: No such file or directory")
        let taken = #expect(throws: (any Error).self) {
            try FileManager.default.createDirectory(atPath: "/dev/null/x", withIntermediateDirectories: true)
        }
        #expect(SystemError(try #require(taken)).code == ENOTDIR)
        #expect(SystemError(POSIXError(.ENOSPC)).code == ENOSPC)
        #expect(SystemError(SystemError(code: EIO)).code == EIO)
    }

    /// Whatever Foundation throws, a user sees none of its own words.
    @Test(arguments: [
        CocoaError(.fileReadInapplicableStringEncoding), CocoaError(.fileReadCorruptFile), CocoaError(.fileReadUnknown), CocoaError(.formatting),
        CocoaError(.fileReadNoPermission), CocoaError(.propertyListReadCorrupt), CocoaError(.coderInvalidValue),
    ])
    func noRawErrorIsShown(_ cocoa: CocoaError) {
        let words = SystemError(cocoa).description
        for raw in ["NSCocoa", "UserInfo", "Domain", "Error ", "operation could not be completed"] { #expect(!words.contains(raw), "\(words)") }
        #expect(!words.isEmpty)
        #expect(!words.hasSuffix("."))
    }

    /// The network library's errors name its functions; the number in them is the system's.
    @Test func theNetworkLibrarysWordsAreNotShown() {
        let error = IOError(errnoCode: EADDRINUSE, reason: "bind(descriptor:ptr:bytes:)")
        #expect(SystemError(error).code == EADDRINUSE)
        #expect(words(of: error) == "Address already in use")
        #expect(words(of: ChannelError.ioOnClosedChannel) == "the connection broke")
    }

    @Test func theSystemsNumbersHaveTheirExitCodes() {
        for (code, exit) in [(ENOSPC, 13), (EACCES, 12), (ENOENT, 4), (EISDIR, 2), (EIO, 1)] as [(Int32, Int32)] {
            #expect(SystemError(code: code).exitCode(otherwise: 1) == exit)
        }
    }

    private enum Own: Error, CustomStringConvertible {
        case sentence
        var description: String { "a sentence of ours" }
    }

    @Test func ourOwnWordsAreKept() {
        #expect(words(of: Own.sentence) == "a sentence of ours")
        #expect(words(of: CocoaError(.fileNoSuchFile)) == "No such file or directory")
    }

    @Test func jsonIsNamedAsSuch() throws {
        let wrong = #expect(throws: (any Error).self) { try JSONDecoder().decode(Int.self, from: Data("{".utf8)) }
        #expect(SystemError(try #require(wrong)).description.contains("JSON"))
    }
}
