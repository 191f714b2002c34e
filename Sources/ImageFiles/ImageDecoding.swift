import Foundation
import SystemIO
import SystemPackage

/// Limits that hold before memory is taken for a picture from outside.
enum PictureLimits {
    static let bytes = 512 << 20
    /// Of a picture in memory.
    static let pixels = 64 << 20
    /// Of a JPEG, which is reduced while it is read.
    static let jpegPixels = 512 << 20

    static func check(_ width: Int, _ height: Int, named path: String) throws(ImageFileError) {
        guard width > 0, height > 0 else { throw .notReadable(path: path, reason: "it has no pixels") }
        guard width <= pixels, height <= pixels, width * height <= pixels else {
            throw .notReadable(
                path: path,
                reason: "\(width)x\(height) is more than \(pixels / 1_000_000) megapixels: save it smaller, or as JPEG, which is reduced while it is read")
        }
    }
}

extension RGBImage {
    /// Reads a picture: PNG, JPEG, WebP, GIF, BMP, TIFF or PNM, told apart by the first bytes; of an animation the first image. Transparency is
    /// laid on white, and the picture is turned as its EXIF says.
    /// - Throws: `ImageFileError.notReadable`, which names any other kind of file as what it is.
    package init(contentsOf path: FilePath) throws(ImageFileError) {
        try self.init(try Self.bytes(of: path), named: path.shown)
    }

    package init(contentsOf path: String) throws(ImageFileError) { try self.init(contentsOf: FilePath(path)) }

    /// A picture file's bytes.
    /// - Parameter path: what errors call it.
    package init(_ data: Data, named path: String) throws(ImageFileError) { try self.init([UInt8](data), named: path) }

    package init(_ bytes: [UInt8], named path: String) throws(ImageFileError) {
        guard !bytes.isEmpty else { throw .notReadable(path: path, reason: "it is empty") }
        guard bytes.count <= PictureLimits.bytes else { throw .notReadable(path: path, reason: "\(bytes.count) bytes are more than \(PictureLimits.bytes)") }
        if PictureForm.rawEndings.contains(FilePath(path).extension?.lowercased() ?? "") { throw .unread(path, "a camera's raw file") }
        switch PictureForm(bytes) {
        case .png: self = try decodePNG(bytes, path: path)
        case .jpeg: self = try decodeJPEG(bytes, path: path)
        case .webp: self = try decodeWebP(bytes, path: path)
        case .gif: self = try decodeGIF(bytes, path: path)
        case .bmp: self = try decodeBMP(bytes, path: path)
        case .tiff: self = try decodeTIFF(bytes, path: path)
        case .pnm: self = try decodePNM(bytes, path: path)
        case .unread(let kind): throw .unread(path, kind)
        case .other(PictureForm.svg): throw .unread(path, PictureForm.svg)
        case .other(let kind?): throw .notReadable(path: path, reason: "it is \(kind)")
        case .other(nil): throw .notReadable(path: path, reason: "it begins like no picture: PNG, JPEG, WebP, GIF, BMP, TIFF and PNM are read")
        }
    }

    /// The whole of a regular file.
    private static func bytes(of path: FilePath) throws(ImageFileError) -> [UInt8] {
        do {
            // A FIFO would hold whoever opens it.
            let file = try FileDescriptor.open(path, .readOnly, options: [.nonBlocking, .closeOnExec])
            return try file.closeAfter {
                var status = stat()
                guard unsafe fstat(file.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
                guard status.st_mode & S_IFMT == S_IFREG else {
                    throw ImageFileError.notReadable(path: path.shown, reason: status.st_mode & S_IFMT == S_IFDIR ? "it is a folder" : "it is no regular file")
                }
                let size = Int(status.st_size)
                guard size <= PictureLimits.bytes else {
                    throw ImageFileError.notReadable(path: path.shown, reason: "\(size) bytes are more than \(PictureLimits.bytes)")
                }
                return try unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                    while count < size {
                        let read = try unsafe file.read(into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...]))
                        if read == 0 { break }
                        count += read
                    }
                }
            }
        } catch let error as ImageFileError {
            throw error
        } catch let error as Errno {
            throw .notReadable(path: path.shown, reason: error.words)
        } catch {
            throw .notReadable(path: path.shown, reason: SystemError(error).reason)
        }
    }

    /// Four bytes a pixel over white; `isPremultiplied` where alpha is in the colours already.
    init(width: Int, height: Int, rgba: some RandomAccessCollection<UInt8>, isPremultiplied: Bool = false) {
        self.init(width: width, height: height)
        var source = rgba.startIndex
        for target in stride(from: 0, to: pixels.count, by: 3) {
            let alpha = Int(rgba[rgba.index(source, offsetBy: 3)])
            for channel in 0..<3 {
                let colour = Int(rgba[rgba.index(source, offsetBy: channel)])
                pixels[target + channel] = UInt8(isPremultiplied ? min(255, colour + 255 - alpha) : (colour * alpha + 255 * (255 - alpha) + 127) / 255)
            }
            source = rgba.index(source, offsetBy: 4)
        }
    }
}

extension Errno {
    /// The system's words.
    package var words: String { SystemError(code: rawValue).reason }
}

extension FilePath {
    /// The path in letters, for messages: what is not UTF-8 is read as Latin-1, as old archives have it.
    package var shown: String {
        description.contains("\u{FFFD}") ? (components.map(\.shown).joined(separator: "/")).withPrefix("/", if: isAbsolute) : description
    }
}

extension FilePath.Component {
    /// The name in letters; nothing of it is lost where it is not UTF-8 but Latin-1 (Windows-1252).
    package var shown: String {
        isText
            ? string : unsafe withPlatformString { unsafe String(cString: $0, encoding: .windowsCP1252) ?? String(cString: $0, encoding: .isoLatin1) } ?? string
    }

    /// Whether it is UTF-8.
    package var isText: Bool { unsafe withPlatformString { unsafe String(validatingCString: $0) } != nil }
}

private extension String {
    func withPrefix(_ prefix: String, if wanted: Bool) -> String { wanted ? prefix + self : self }
}
