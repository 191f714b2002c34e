import Foundation
import ProgramRunner

/// A program for tests only: as a test run it starts a program and makes a folder, says which, and waits to be killed.
@main
struct OrphanMaker {
    static func main() throws {
        let program = try RunningProgram("sh", ["-c", "cat /dev/zero >/dev/null"])
        let folder = try temporaryFolder("left")
        FileHandle.standardOutput.write(Data("\(program.identifier)\n\(folder)\n".utf8))
        _ = FileHandle.standardInput.readDataToEndOfFile()
        program.kill()
    }
}
