import CTurboJPEG
import Foundation

/// Baseline, progressive and arithmetic JPEG in grey, YCbCr, RGB, CMYK and YCCK. What libjpeg only warns of is no fault, a picture that is cut short is.
func decodeJPEG(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    guard let handle = unsafe tjInitDecompress() else { throw .notReadable(path: path, reason: "no memory") }
    defer { unsafe tjDestroy(handle) }
    var width: Int32 = 0, height: Int32 = 0, sampling: Int32 = 0, colours: Int32 = 0
    let code = unsafe tjDecompressHeader3(handle, bytes, UInt(bytes.count), &width, &height, &sampling, &colours)
    // Rare samplings of the colours have no name there, but are decoded.
    guard width > 0, height > 0 else {
        throw .notReadable(path: path, reason: code == 0 ? "it holds no picture" : unsafe String(cString: tjGetErrorStr2(handle)))
    }
    guard Int(width) * Int(height) <= PictureLimits.jpegPixels else {
        throw .notReadable(path: path, reason: "\(width)x\(height) is more than \(PictureLimits.jpegPixels / 1_000_000) megapixels: save it smaller")
    }
    // One scan after another is kept whole until the last.
    let forms = markers(bytes).map(\.kind)
    let isProgressive = forms.contains { $0 == 0xc2 || $0 == 0xca }
    guard !isProgressive || Int(width) * Int(height) <= PictureLimits.jpegPixels / 4 else {
        throw .notReadable(
            path: path, reason: "\(width)x\(height) is more than \(PictureLimits.jpegPixels / 4_000_000) megapixels of a progressive JPEG: save it smaller")
    }
    // A half, a quarter, an eighth: libjpeg sums the frequencies of a smaller block.
    var reduction: Int32 = 1
    func reduced(_ side: Int32) -> Int32 { (side + reduction - 1) / reduction }
    while reduction < 8, Int(reduced(width)) * Int(reduced(height)) > PictureLimits.pixels { reduction *= 2 }
    (width, height) = (reduced(width), reduced(height))
    let hasInks = colours == Int32(TJCS_CMYK.rawValue) || colours == Int32(TJCS_YCCK.rawValue)
    let format = hasInks ? TJPF_CMYK : TJPF_RGB
    var pixels = [UInt8](repeating: 0, count: Int(width) * Int(height) * (hasInks ? 4 : 3))
    if unsafe tjDecompress2(handle, bytes, UInt(bytes.count), &pixels, width, 0, height, Int32(format.rawValue), 0) != 0 {
        let reason = unsafe String(cString: tjGetErrorStr2(handle))
        guard unsafe tjGetErrorCode(handle) == Int32(TJERR_WARNING.rawValue) else { throw .notReadable(path: path, reason: reason) }
        if !endsWithItsMark(bytes) {
            // Only the first warning is told, and without the mark it is of the mark; with it in its place it is of pixels that are not there.
            // A progressive file may lack scans without a warning, an arithmetic one pixels.
            var isWhole = !isProgressive && !forms.contains(0xc9)
            if isWhole, unsafe tjDecompress2(handle, bytes + [0xff, 0xd9], UInt(bytes.count + 2), &pixels, width, 0, height, Int32(format.rawValue), 0) != 0 {
                isWhole = unsafe String(cString: tjGetErrorStr2(handle)).contains("extraneous bytes")
            }
            guard isWhole else { throw .notReadable(path: path, reason: "it is cut short") }
        }
    }
    let image = RGBImage(width: Int(width), height: Int(height), pixels: hasInks ? colourful(pixels) : pixels)
    return image.oriented(orientation(bytes))
}

/// Inks on paper as Adobe stores them, full ink as 0 and none as 255, which is what programs that write CMYK do.
private func colourful(_ inks: [UInt8]) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: inks.count / 4 * 3)
    for pixel in 0..<(inks.count / 4) {
        let black = Int(inks[4 * pixel + 3])
        for channel in 0..<3 { result[3 * pixel + channel] = UInt8((Int(inks[4 * pixel + channel]) * black + 127) / 255) }
    }
    return result
}

/// Whether the mark of the end stands behind the pixels; a thumbnail before them has one too.
private func endsWithItsMark(_ bytes: [UInt8]) -> Bool {
    let scan = markers(bytes).last?.content.endIndex ?? 2
    return bytes[scan...].indices.dropLast().contains { bytes[$0] == 0xff && bytes[$0 + 1] == 0xd9 }
}

/// Segments before the first scan.
private func markers(_ bytes: [UInt8]) -> [(kind: UInt8, content: ArraySlice<UInt8>)] {
    var found: [(kind: UInt8, content: ArraySlice<UInt8>)] = []
    var at = 2
    while at + 3 < bytes.count, bytes[at] == 0xff {
        let kind = bytes[at + 1]
        // Fill bytes, and marks without a length.
        if kind == 0xff { at += 1; continue }
        if kind == 0x01 || (0xd0...0xd8).contains(kind) { at += 2; continue }
        let length = Int(bytes[at + 2]) << 8 | Int(bytes[at + 3])
        guard length >= 2, kind != 0xd9, kind != 0xda, at + 2 + length <= bytes.count else { break }
        found.append((kind, bytes[(at + 4)..<(at + 2 + length)]))
        at += 2 + length
    }
    return found
}

private func orientation(_ bytes: [UInt8]) -> ExifOrientation? {
    let notes = markers(bytes).filter { $0.kind == 0xe1 }.map(\.content)
    let adobe = Array("http://ns.adobe.com/xap/1.0/".utf8) + [0]
    return ExifOrientation(exif: notes.filter { $0.starts(with: "Exif".utf8) }, xmp: notes.filter { $0.starts(with: adobe) })
}
