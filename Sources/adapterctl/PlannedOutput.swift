import Foundation
import SystemIO

/// A file that a command is going to write where the user says, looked at before the work and not after it.
struct PlannedOutput {
    enum Form {
        case png, animatedPNG, safetensors, npz
        /// By its name; checked where the page is made.
        case report
        /// A new folder.
        case folder
    }

    let path: String
    let form: Form
    /// Whether bytes may go through as they come; false where the file is read again, or others are laid beside it.
    var mayStream = true

    /// Whether a folder that is not there is made.
    var makesFolder = false

    init?(_ path: String?, _ form: Form, mayStream: Bool = true, makesFolder: Bool = false) {
        guard let path else { return nil }
        (self.path, self.form, self.mayStream, self.makesFolder) = (path, form, mayStream, makesFolder)
    }

    /// What a training leaves: read again for its digest, with a run's folder beside it.
    static func trained(_ path: String) -> PlannedOutput? { PlannedOutput(path, .safetensors, mayStream: false, makesFolder: true) }

    /// Refuses what cannot be written, what exists and is no file, and a name that promises another form.
    fileprivate func check() throws {
        let output = OutputFile(path)
        if output.isStandardOutput {
            guard mayStream, form != .folder, form != .report else {
                throw Failure.usage("'\(path)' is standard output, which takes one file of bytes: name a file")
            }
            guard isatty(STDOUT_FILENO) == 0 else { throw Failure.usage("standard output is a terminal, which shows no \(what): redirect it, or name a file") }
            return
        }
        if makesFolder, !output.isStream { try makeFolder(above: path) }
        if form != .folder {
            do throws(SystemError) { try output.check() } catch { throw Refused(path: path, refusal: error) }
        }
        if output.isStream {
            guard mayStream else { throw Failure.usage("'\(path)' is a device or a pipe; a file is wanted, which is read again") }
            return
        }
        let folder = URL(filePath: path).resolvingSymlinksInPath().deletingLastPathComponent()
        let store = folder.deletingLastPathComponent().path(percentEncoded: false)
        if folder.lastPathComponent == "bases", FileManager.default.fileExists(atPath: store + "/data.mdb") {
            throw Failure.usage("'\(path)' lies among the bases of the store '\(store)', which only adapterctl base changes: name another place")
        }
        let ending = URL(filePath: path).pathExtension.lowercased()
        // A number after a dot is a version's, not a form's.
        guard let first = ending.first, first.isLetter, !endings.isEmpty || form == .folder, !endings.contains(ending) else { return }
        guard form == .folder else {
            throw Failure.usage("'\(path)' would hold \(what): name it \(URL(filePath: path).deletingPathExtension().lastPathComponent).\(endings[0])")
        }
        guard ["safetensors", "pt", "pth", "bin", "ckpt"].contains(ending) else { return }
        throw Failure.usage("'\(path)' would be a folder: name it \(URL(filePath: path).deletingPathExtension().lastPathComponent)")
    }

    private var endings: [String] {
        switch form {
        case .png: ["png"]
        case .animatedPNG: ["png", "apng"]
        case .safetensors: ["safetensors"]
        case .npz: ["npz"]
        case .report, .folder: []
        }
    }

    private var what: String {
        switch form {
        case .png, .animatedPNG: "a PNG picture"
        case .safetensors: "safetensors"
        case .npz: "arrays of NumPy's .npz"
        case .report: "a report"
        case .folder: "a folder"
        }
    }

    /// What the system would refuse, with the output's name.
    struct Refused: Error, CustomStringConvertible {
        let path: String
        let refusal: SystemError
        var description: String { "'\(path)' cannot be written: \(refusal)" }
    }
}

/// Makes the folders that lie above a path.
func makeFolder(above path: String) throws {
    let folder = URL(filePath: path).standardizedFileURL.deletingLastPathComponent().path(percentEncoded: false)
    do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
        throw PlannedOutput.Refused(path: folder, refusal: SystemError(error))
    }
}

/// Looks at everything that a command is going to write, before its work.
func checkOutputs(_ outputs: [PlannedOutput?], json: Bool = false) throws {
    let outputs = outputs.compactMap { $0 }
    for output in outputs { try output.check() }
    let toStandardOutput = outputs.count { OutputFile($0.path).isStandardOutput }
    guard toStandardOutput < 2 else { throw Failure.usage("standard output takes one file, not \(toStandardOutput)") }
    guard toStandardOutput == 0 || !json else { throw Failure.usage("--json prints to standard output, where the file is to go: name a file") }
    let places = outputs.filter { !OutputFile($0.path).isStream }.map { URL(filePath: $0.path).resolvingSymlinksInPath().path }
    if let twice = Dictionary(grouping: places, by: { $0 }).first(where: { $1.count > 1 })?.key {
        throw Failure.usage("two outputs are one file, '\(twice)'")
    }
}
