import AdapterStore
import ArgumentParser
import Foundation
import ImageFiles
import SyntheticDomains

/// The training pictures themselves, to look at and to compare with what was learnt from them.
struct Draw: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Draw training pictures of a synthetic domain, a row per class, or as files.",
        discussion: """
            Example: adapterctl draw flowers -o flowers.png
            Example: adapterctl draw flowers --folder flowers --per-class 200
            """)
    @Argument(help: "A synthetic domain, or base for the mixture.") var domain: String
    @Option(help: "Pictures per class.") var perClass = 12
    @Option(help: "Pixels of each picture's side.") var size = 32
    @Option(help: "Pixels of the file for one pixel of the picture.") var enlarge = 2
    @Option(help: "Of the random numbers: the same seed gives the same result.", transform: seedNumber) var seed: UInt64 = 1
    @Option(name: [.customShort("o"), .customLong("output")], help: "The PNG file to write, or - for standard output.") var file: String?
    @Option(help: "In its place a folder of single pictures, one sub-folder per class, as train reads them; no other picture in it is replaced.") var folder:
        String?
    @OptionGroup var output: OutputOptions

    func run() throws {
        let domain = try SyntheticDomain.known(domain)
        guard (file == nil) != (folder == nil) else { throw Failure.usage("give -o FILE or --folder FOLDER") }
        guard (1...(file == nil ? 100_000 : 100)).contains(perClass), (8...512).contains(size), (1...64).contains(enlarge) else {
            throw Failure.usage("--per-class is between 1 and 100 (100000 into a folder), --size between 8 and 512, --enlarge between 1 and 64")
        }
        try checkOutputs([PlannedOutput(file, .png)], json: output.json)
        if let folder {
            try write(domain, to: folder)
            return try output.report("draw", ["folder": folder]) {
                "\(perClass, "picture") of each of the \(domain.classes.count, "class") of \(domain.name) to \(folder)"
            }
        }
        let margin = 4
        let left = (domain.classes.map { RGBImage.textWidth($0) }.max() ?? 0) + 2 * margin, side = size * enlarge + 2
        var page = RGBImage(width: left + perClass * side, height: domain.classes.count * side, filledWith: (24, 24, 28))
        for (row, name) in domain.classes.enumerated() {
            page.draw(text: name, x: margin, y: row * side + (side - RGBImage.letterHeight) / 2)
            for index in 0..<perClass {
                page.draw(domain.image(class: row, index: index, size: size, seed: seed).enlarged(by: enlarge), x: left + index * side, y: row * side)
            }
        }
        try page.writePNG(to: file ?? "")
        try output.report("draw", ["file": file ?? ""], outputs: [file].compactMap { $0 }) {
            "\(domain.classes.count, "class") of \(domain.name) to \(file ?? "")"
        }
    }

    private func write(_ domain: SyntheticDomain, to folder: String) throws {
        for (row, name) in domain.classes.enumerated() {
            let place = "\(folder)/\(name)"
            do { try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true) } catch {
                throw ImageFileError.unwritable(place, error)
            }
            for index in 0..<perClass {
                let path = place + String(format: "/%06d.png", index)
                let png = try domain.image(class: row, index: index, size: size, seed: seed).png()
                // The same command may run again; another picture is the user's own.
                if let old = FileManager.default.contents(atPath: path), old != png { throw StoreError.pathTaken(path) }
                try png.writeWhole(to: path)
            }
        }
    }
}
