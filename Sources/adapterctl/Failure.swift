import ArgumentParser
import Foundation
import Programs
import SystemIO

/// What this program refuses, and how an error is shown.
enum Failure: Error, CustomStringConvertible {
    case usage(String)
    case notFound(String)
    case interrupted(String)
    case unreachable(String)
    /// A server answered with an error.
    case refused(String, status: Int, code: String)

    var description: String {
        switch self {
        case .usage(let text), .notFound(let text), .interrupted(let text), .unreachable(let text), .refused(let text, _, _): text
        }
    }

    /// What this program alone refuses, then the table of all modules; nil for the parser's own errors and a fault of ours.
    private static func exitCode(_ error: any Error) -> Int32? {
        switch error {
        case Failure.usage: 2
        case Failure.notFound: 4
        case Failure.interrupted: 130
        case Failure.unreachable: 14
        case Failure.refused(_, let status, let code): code == "class_not_found" ? 4 : [400: 2, 404: 4, 409: 4, 413: 2][status] ?? 1
        case let error as PlannedOutput.Refused: error.refusal.exitCode(otherwise: 2)
        default: Programs.exitCode(of: error)
        }
    }

    /// Shows the error, as JSON where the command line asks for it, and ends the program.
    static func end(_ error: any Error, from command: any ParsableCommand.Type) -> Never {
        Progress.end()
        // The parser's own errors and help requests keep their form; 2 is the code of wrong usage.
        if let status = error as? ExitCode { exit(status.rawValue) }
        let error = SystemFault(error) ?? error
        guard let code = exitCode(error) else {
            let parserCode = command.exitCode(for: error).rawValue
            let text = command.fullMessage(for: error)
            if parserCode == 0 {
                do throws(SystemError) { try StandardStreams.print(text + "\n") } catch { end(error, from: command) }
                exit(0)
            }
            StandardStreams.say(text + "\n")
            // EX_USAGE is the parser's own; anything else is a fault of ours or the system's.
            exit(parserCode == 64 ? 2 : 1)
        }
        if CommandLine.arguments.contains("--json") {
            let report = ["schema_version": 1, "error": ["code": Int(code), "message": "\(error)"]] as [String: Any]
            if let data = try? JSONSerialization.data(withJSONObject: report, options: [.sortedKeys, .withoutEscapingSlashes]) {
                try? StandardStreams.print(String(decoding: data, as: UTF8.self) + "\n")
            }
        }
        note("error: \(error)")
        exit(code)
    }
}

/// A word as a shell takes it back.
func shellWord(_ text: String) -> String {
    let isPlain =
        !text.isEmpty
        && text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || "_-./+,:@%=".utf8.contains(byte) || byte >= 0x80
        }
    return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
}

/// A line for the user, beside the results.
func note(_ text: String) { Progress.aside { StandardStreams.say(text + "\n") } }
