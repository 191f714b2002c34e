import SystemPackage

/// What a file is by its first bytes; its name does not count.
package enum PictureForm: Sendable, Hashable {
    case png, jpeg, webp, gif, bmp, tiff, pnm
    /// A picture of a kind that is not read, as a user would call it.
    case unread(String)
    /// Something that is no picture, as a user would call it; nil where its bytes say nothing.
    case other(String?)

    /// - Parameter start: the first 512 bytes, or all.
    package init(_ start: some Collection<UInt8>) {
        let bytes = Array(start.prefix(512))
        func text(_ wanted: String, _ place: Int) -> Bool { bytes.dropFirst(place).starts(with: wanted.utf8) }
        func begins(_ wanted: [UInt8]) -> Bool { bytes.starts(with: wanted) }
        if begins([0x89, 0x50, 0x4e, 0x47]) {
            self = text("CgBI", 12) ? .unread("a PNG in Apple's CgBI form") : .png
        } else if begins([0xff, 0xd8, 0xff]) {
            self = .jpeg
        } else if text("RIFF", 0), text("WEBP", 8) {
            self = .webp
        } else if text("GIF87a", 0) || text("GIF89a", 0) {
            self = .gif
        } else if text("BM", 0), Self.hasBitmapHeader(bytes) {
            self = .bmp
        } else if begins([0x49, 0x49, 0x2a, 0]), text("CR", 8) {
            self = .unread("a camera's raw file")
        } else if begins([0x49, 0x49, 0x2a, 0]) || begins([0x4d, 0x4d, 0, 0x2a]) || begins([0x49, 0x49, 0x2b, 0]) || begins([0x4d, 0x4d, 0, 0x2b]) {
            self = .tiff
        } else if bytes.count > 2, bytes[0] == 0x50, (0x31...0x36).contains(bytes[1]), [0x20, 0x09, 0x0a, 0x0d, 0x23].contains(bytes[2]) {
            self = .pnm
        } else if let name = Self.unread(text, begins) {
            self = .unread(name)
        } else {
            self = .other(Self.other(bytes, text, begins))
        }
    }

    /// The length of the second header tells a bitmap from a text that begins with BM.
    private static func hasBitmapHeader(_ bytes: [UInt8]) -> Bool {
        bytes.count > 17 && [12, 40, 52, 56, 64, 108, 124].contains(bytes[14]) && bytes[15..<18].allSatisfy { $0 == 0 }
    }

    private static func unread(_ text: (String, Int) -> Bool, _ begins: ([UInt8]) -> Bool) -> String? {
        if text("ftyp", 4) {
            func brand(_ names: String...) -> Bool { names.contains { text($0, 8) } }
            if brand("avif", "avis") { return "an AVIF picture" }
            if brand("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1") { return "a HEIC picture" }
            return brand("crx ") ? "a camera's raw file" : nil
        }
        if text("8BPS", 0) { return "a Photoshop file" }
        if begins([0xff, 0x0a]) || begins([0, 0, 0, 0x0c, 0x4a, 0x58, 0x4c, 0x20]) { return "a JPEG XL picture" }
        if begins([0, 0, 0, 0x0c, 0x6a, 0x50]) || begins([0xff, 0x4f, 0xff, 0x51]) { return "a JPEG 2000 picture" }
        if begins([0x49, 0x49, 0xbc, 1]) { return "a JPEG XR picture" }
        if begins([0x49, 0x49, 0x55, 0]) || text("IIRO", 0) || text("IIRS", 0) || text("MMOR", 0) || text("FUJIFILMCCD-RAW", 0) || text("FOVb", 0) {
            return "a camera's raw file"
        }
        if begins([0, 0, 1, 0]) { return "a Windows icon" }
        if begins([0x8a, 0x4d, 0x4e, 0x47]) { return "an MNG animation" }
        if text("gimp xcf", 0) { return "a GIMP file" }
        if text("#?RADIANCE", 0) || begins([0x76, 0x2f, 0x31, 1]) { return "a picture of high dynamic range" }
        if text("P7\n", 0) { return "a PAM picture" }
        if text("Pf\n", 0) || text("PF\n", 0) { return "a PFM picture" }
        if text("DDS ", 0) { return "a DDS texture" }
        if text("%!PS", 0) { return "a PostScript file" }
        return nil
    }

    private static func other(_ bytes: [UInt8], _ text: (String, Int) -> Bool, _ begins: ([UInt8]) -> Bool) -> String? {
        if text("ftyp", 4) || begins([0x1a, 0x45, 0xdf, 0xa3]) || text("RIFF", 0) && text("AVI ", 8) { return "a video" }
        if text("%PDF", 0) { return "a PDF" }
        if begins([0x50, 0x4b, 3, 4]) || begins([0x50, 0x4b, 5, 6]) { return "a zip archive" }
        if begins([0x1f, 0x8b]) { return "a gzip archive" }
        if text("ustar", 257) { return "a tar archive" }
        if begins([0x28, 0xb5, 0x2f, 0xfd]) || begins([0xfd, 0x37, 0x7a, 0x58, 0x5a]) || text("BZh", 0) || begins([0x37, 0x7a, 0xbc, 0xaf]) || text("Rar!", 0) {
            return "an archive"
        }
        if text("MATLAB", 0) { return "a MATLAB file" }
        if text("PAR1", 0) { return "a Parquet file" }
        if text("SQLite format 3", 0) { return "a database" }
        if begins([0, 5, 0x16, 7]) { return "what macOS keeps beside a file" }
        if text("version https://git-lfs", 0) { return "a Git LFS pointer: git lfs pull fetches the file itself" }
        guard !bytes.isEmpty, !bytes.contains(0) else { return nil }
        // A byte order mark, and blanks, may stand before the first tag.
        let start = String(decoding: bytes, as: UTF8.self).trimmingPrefix { $0 == "\u{FEFF}" || $0.isWhitespace }.lowercased()
        if start.hasPrefix("<svg") || start.hasPrefix("<?xml") && start.contains("<svg") || start.hasPrefix("<!--") && start.contains("<svg") { return svg }
        if start.hasPrefix("<!doctype html") || start.hasPrefix("<html") || start.contains("<html") { return "an HTML page, perhaps of a failed download" }
        return "text"
    }

    static let svg = "an SVG drawing"
}

extension PictureForm {
    /// Endings of file names that promise a picture, in small letters: such a file that holds none is broken, any other is beside the pictures.
    package static let endings = Set(
        [
            "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "heic", "heif", "avif", "jxl",
            "jp2", "j2k", "psd", "svg", "ico",
        ] + Array(rawEndings))

    /// Of cameras' raw files, which are TIFF files with a small preview in front.
    static let rawEndings: Set<String> = [
        "dng", "nef", "nrw", "arw", "sr2", "srf", "cr2", "cr3", "crw", "orf", "rw2", "raf", "pef", "srw", "3fr", "iiq", "rwl", "x3f", "kdc", "dcr", "erf",
        "mos", "mrw",
    ]
}

extension PictureForm {
    /// Of the first bytes of a regular file.
    /// - Throws: the system's number.
    package init(ofFile path: FilePath) throws {
        let file = try FileDescriptor.open(path, .readOnly, options: [.nonBlocking, .closeOnExec])
        self = try file.closeAfter {
            let start = try unsafe [UInt8](unsafeUninitializedCapacity: 512) { buffer, count in
                count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
            return PictureForm(start)
        }
    }
}
