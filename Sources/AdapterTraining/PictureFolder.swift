import Foundation
import ImageFiles
import SystemPackage

/// A folder of pictures as it lies on the disk, before any is read: a sub-folder is a class, with all that lies below it.
struct PictureFolder {
    struct Class {
        /// In composed letters (NFC), as a user types it; the path keeps its own bytes.
        let name: String
        let path: FilePath
        var files: [FilePath] = []
        /// Folders that the class takes in.
        var below: [String] = []
    }

    let path: FilePath
    private(set) var classes: [Class] = []
    /// Files beside the classes.
    private(set) var loose: [FilePath] = []
    private(set) var hidden = 0
    private(set) var skipped: [FolderReport.Skipped] = []

    init(_ path: String) throws {
        self.path = FilePath(path)
        try Self.check(path)
        let names: [FilePath.Component]
        do { names = try FolderEntry.names(in: self.path) } catch { throw TrainingError.unreadable(path, reason: error.words) }
        for name in names {
            guard !name.isHidden else { hidden += 1; continue }
            let place = self.path.appending(name)
            do throws(Errno) {
                let entry = try FolderEntry(place)
                if entry.kind == .folder { classes.append(try collect(entry, named: name)) } else { loose.append(place) }
            } catch {
                skipped.append(FolderReport.Skipped(file: name.shown, reason: error == .noSuchFileOrDirectory ? "it is a link to nothing" : error.words))
            }
        }
        classes.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        for (one, other) in zip(classes, classes.dropFirst()) where one.name == other.name { throw TrainingError.sameName(one.name, folder: path) }
    }

    /// Refuses what is no folder, as what it is.
    static func check(_ path: String) throws {
        guard !path.isEmpty, let entry = try? FolderEntry(FilePath(path)) else { throw TrainingError.noFolder(path) }
        guard entry.kind != .folder else { return }
        let form = entry.kind == .file ? (try? PictureForm(ofFile: FilePath(path))) ?? .other(nil) : .other("no regular file")
        switch form {
        case .other(let what?): throw TrainingError.file(path, what: what, isPicture: false)
        case .other(nil): throw TrainingError.file(path, what: "a file", isPicture: false)
        default: throw TrainingError.file(path, what: "a picture", isPicture: true)
        }
    }

    /// The files below a class, each folder once however links lead to it.
    private mutating func collect(_ folder: FolderEntry, named name: FilePath.Component) throws(Errno) -> Class {
        var found = Class(name: name.shown.precomposedStringWithCanonicalMapping, path: folder.path)
        // A link that leads back up would take the other classes in.
        var seen = Self.ancestors(of: path).union([folder.identity]), waiting = [folder.path]
        while !waiting.isEmpty {
            let place = waiting.removeFirst()
            let names: [FilePath.Component]
            do { names = try FolderEntry.names(in: place) } catch {
                skipped.append(FolderReport.Skipped(file: relative(place), reason: "the folder cannot be read: \(error.words)"))
                continue
            }
            for name in names {
                guard !name.isHidden else { hidden += 1; continue }
                let path = place.appending(name)
                do throws(Errno) {
                    let entry = try FolderEntry(path)
                    switch entry.kind {
                    case .folder:
                        guard seen.insert(entry.identity).inserted else { continue }
                        waiting.append(path)
                        found.below.append(relative(path))
                    case .file: found.files.append(path)
                    case .other: skipped.append(FolderReport.Skipped(file: relative(path), reason: "it is no regular file"))
                    }
                } catch {
                    skipped.append(
                        FolderReport.Skipped(file: relative(path), reason: error == .noSuchFileOrDirectory ? "it is a link to nothing" : error.words))
                }
            }
        }
        return found
    }

    /// A folder and those above it.
    private static func ancestors(of path: FilePath) -> Set<FolderEntry.Identity> {
        var found: Set<FolderEntry.Identity> = [], place = path
        while let entry = try? FolderEntry(place), found.insert(entry.identity).inserted { place.append("..") }
        return found
    }

    /// A path as seen from the folder.
    func relative(_ path: FilePath) -> String {
        var own = path
        return own.removePrefix(self.path) ? own.shown : path.shown
    }
}
