import CSPNG
import Foundation
import SystemIO

/// Any PNG of the standard: 1 to 16 bits, palette, grey, interlaced; of an animation the image that readers without animation show. A wrong
/// checksum of a chunk that pictures do without is passed over.
func decodePNG(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    func check(_ code: Int32) throws(ImageFileError) {
        guard code != Int32(SPNG_IO_EOF.rawValue) else { throw .notReadable(path: path, reason: "it is cut short") }
        guard code == 0 else { throw .notReadable(path: path, reason: unsafe String(cString: spng_strerror(code))) }
    }
    guard let context = unsafe spng_ctx_new(0) else { throw .notReadable(path: path, reason: "no memory") }
    defer { unsafe spng_ctx_free(context) }
    try check(unsafe spng_set_image_limits(context, UInt32(PictureLimits.pixels), UInt32(PictureLimits.pixels)))
    try check(unsafe spng_set_chunk_limits(context, 64 << 20, 64 << 20))
    try check(unsafe spng_set_crc_action(context, Int32(SPNG_CRC_ERROR.rawValue), Int32(SPNG_CRC_DISCARD.rawValue)))
    // The buffer must outlive the context's use of it, so all of it happens inside this call.
    var result: Result<RGBImage, ImageFileError> = .failure(.notReadable(path: path, reason: "nothing was decoded"))
    unsafe bytes.withUnsafeBytes { buffer in
        result = Result { () throws(ImageFileError) -> RGBImage in
            try check(unsafe spng_set_png_buffer(context, buffer.baseAddress, buffer.count))
            var header = spng_ihdr()
            try check(unsafe spng_get_ihdr(context, &header))
            let (width, height) = (Int(header.width), Int(header.height))
            try PictureLimits.check(width, height, named: path)
            var rgba = [UInt8](repeating: 0, count: width * height * 4)
            let format = Int32(SPNG_FMT_RGBA8.rawValue), flags = Int32(SPNG_DECODE_TRNS.rawValue)
            try check(unsafe spng_decode_image(context, &rgba, rgba.count, format, flags))
            // Chunks may stand behind the pixels; faults there are nothing to the picture.
            unsafe spng_decode_chunks(context)
            return RGBImage(width: width, height: height, rgba: rgba).oriented(unsafe orientation(of: context))
        }
    }
    return try result.get()
}

/// Of the eXIf chunk, or the text chunks that ImageMagick and Adobe write.
private func orientation(of context: OpaquePointer) -> ExifOrientation? {
    var block = unsafe spng_exif()
    if unsafe spng_get_exif(context, &block) == 0, let data = unsafe block.data {
        let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: data, count: Int(block.length)))
        if let found = ExifOrientation(exif: bytes) { return found }
    }
    var count: UInt32 = 0
    guard unsafe spng_get_text(context, nil, &count) == 0, count > 0 else { return nil }
    var texts = unsafe [spng_text](repeating: spng_text(), count: Int(count))
    guard unsafe spng_get_text(context, &texts, &count) == 0 else { return nil }
    var packet: ExifOrientation?
    for index in 0..<Int(count) {
        let text = unsafe texts[index]
        let key = unsafe withUnsafeBytes(of: text.keyword) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        guard let start = unsafe text.text else { continue }
        let bytes = unsafe UnsafeRawBufferPointer(start: start, count: text.length)
        if key.hasPrefix("Raw profile type exif") || key == "Raw profile type APP1", let found = unsafe ExifOrientation(exif: profile(bytes)) { return found }
        if key == "XML:com.adobe.xmp" { packet = unsafe packet ?? ExifOrientation(xmp: bytes) }
    }
    return packet
}

/// ImageMagick's form of a block: its name, its length, and its bytes as hexadecimal digits.
private func profile(_ text: UnsafeRawBufferPointer) -> [UInt8] {
    let words = unsafe String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace).dropFirst(2)
    let digits = words.joined().compactMap(\.hexDigitValue)
    return (0..<(digits.count / 2)).map { UInt8(digits[2 * $0] << 4 | digits[2 * $0 + 1]) }
}

/// A text chunk of a PNG file.
package struct PNGText: Sendable {
    /// 1 to 79 Latin-1 characters.
    package let key: String
    package let value: String

    package init(key: String, value: String) { (self.key, self.value) = (key, value) }
}

extension RGBImage {
    /// The image as a PNG file's bytes, with text chunks in the order given.
    package func png(text: [PNGText] = []) throws(ImageFileError) -> Data {
        guard let context = unsafe spng_ctx_new(Int32(SPNG_CTX_ENCODER.rawValue)) else { throw .encoding("no memory") }
        defer { unsafe spng_ctx_free(context) }
        try check(unsafe spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1))
        var header = spng_ihdr()
        header.width = UInt32(width)
        header.height = UInt32(height)
        header.bit_depth = 8
        header.color_type = UInt8(SPNG_COLOR_TYPE_TRUECOLOR.rawValue)
        try check(unsafe spng_set_ihdr(context, &header))

        var chunks = unsafe text.map { entry in unsafe textChunk(entry) }
        defer {
            for index in unsafe chunks.indices {
                unsafe free(chunks[index].text)
                unsafe free(chunks[index].language_tag)
                unsafe free(chunks[index].translated_keyword)
            }
        }
        if !text.isEmpty { try check(unsafe spng_set_text(context, &chunks, UInt32(chunks.count))) }

        let format = Int32(SPNG_FMT_PNG.rawValue), finish = Int32(SPNG_ENCODE_FINALIZE.rawValue)
        try check(unsafe spng_encode_image(context, pixels, pixels.count, format, finish))
        var length = 0
        var code: Int32 = 0
        guard let buffer = unsafe spng_get_png_buffer(context, &length, &code) else {
            throw .encoding(unsafe String(cString: spng_strerror(code)))
        }
        defer { unsafe free(buffer) }
        return unsafe Data(bytes: buffer, count: length)
    }

    /// Writes the PNG file whole or not at all.
    package func writePNG(to path: String, text: [PNGText] = []) throws(ImageFileError) {
        try png(text: text).writeWhole(to: path)
    }
}

extension Data {
    /// Writes a file of pictures or about them, as `OutputFile` writes.
    package func writeWhole(to path: String) throws(ImageFileError) {
        do throws(SystemError) { try OutputFile(path).write(CollectionOfOne(self)) } catch { throw .unwritable(path, error) }
    }
}

/// One uncompressed text chunk of no particular language; the caller frees its three strings.
private func textChunk(_ text: PNGText) -> spng_text {
    var chunk = unsafe spng_text()
    unsafe chunk.type = Int32(SPNG_ITXT.rawValue)
    unsafe withUnsafeMutableBytes(of: &chunk.keyword) { keyword in
        for (index, byte) in text.key.utf8.prefix(79).enumerated() { unsafe keyword[index] = byte }
    }
    unsafe chunk.text = unsafe strdup(text.value)
    unsafe chunk.length = text.value.utf8.count
    unsafe chunk.language_tag = unsafe strdup("")
    unsafe chunk.translated_keyword = unsafe strdup("")
    return unsafe chunk
}

private func check(_ code: Int32) throws(ImageFileError) {
    guard code == 0 else { throw .encoding(unsafe String(cString: spng_strerror(code))) }
}

/// The chunks of a PNG file, in their order.
private func chunks(ofPNG png: Data) -> [(type: String, content: [UInt8])] {
    let bytes = [UInt8](png)
    var chunks: [(type: String, content: [UInt8])] = []
    var at = 8
    while at + 12 <= bytes.count {
        let length = bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
        guard at + 12 + length <= bytes.count else { break }
        chunks.append((String(decoding: bytes[(at + 4)..<(at + 8)], as: UTF8.self), Array(bytes[(at + 8)..<(at + 8 + length)])))
        at += 12 + length
    }
    return chunks
}

/// The first uncompressed international text chunk of that keyword, as `RGBImage.png` writes them.
package func textOfPNG(_ png: Data, key: String) -> String? {
    for (type, content) in chunks(ofPNG: png) where type == "iTXt" {
        // keyword, 0, compressed or not, method, language, 0, the keyword translated, 0, text.
        let parts = content.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, String(decoding: parts[0], as: UTF8.self) == key, parts[1].first == 0 else { continue }
        let rest = parts[1].dropFirst(2).split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        if rest.count == 3 { return String(decoding: rest[2], as: UTF8.self) }
    }
    return nil
}

/// Animated PNG (the PNG specification, third edition): the encoder's own image data, cut into one frame after the other.
package enum AnimatedPNG {
    /// - Parameters:
    ///   - frames: of one size, at least one; the first is what a reader without animations shows.
    ///   - milliseconds: how long each is shown.
    ///   - text: text chunks, as `RGBImage.png` takes them.
    package static func data(
        _ frames: [RGBImage], milliseconds: Int, text: [PNGText] = []
    ) throws(ImageFileError) -> Data {
        guard let first = frames.first, frames.allSatisfy({ $0.width == first.width && $0.height == first.height }) else {
            throw .encoding("an animation needs frames of one size")
        }
        var file = Data()
        var sequence: UInt32 = 0
        for (index, frame) in frames.enumerated() {
            let png = try frame.png(text: index == 0 ? text : [])
            let control =
                number(sequence) + number(UInt32(frame.width)) + number(UInt32(frame.height)) + number(0) + number(0)
                // Thousandths of a second; 3, 232 is 1000.
                + [UInt8(milliseconds >> 8 & 255), UInt8(milliseconds & 255), 3, 232, 0, 0]
            var isControlled = false
            for (type, content) in chunks(ofPNG: png) {
                switch type {
                case "IHDR" where index == 0:
                    // The signature stands before the first chunk.
                    file += png.prefix(8) + chunk("IHDR", content) + chunk("acTL", number(UInt32(frames.count)) + number(0))
                case "IDAT":
                    if !isControlled {
                        file += chunk("fcTL", control)
                        sequence += 1
                        isControlled = true
                    }
                    if index == 0 {
                        file += chunk("IDAT", content)
                    } else {
                        file += chunk("fdAT", number(sequence) + content)
                        sequence += 1
                    }
                case "IEND" where index == frames.count - 1: file += chunk("IEND", [])
                case _ where index == 0 && type != "IEND": file += chunk(type, content)
                default: break
                }
            }
        }
        return file
    }

    private static func chunk(_ type: String, _ content: [UInt8]) -> [UInt8] {
        let body = Array(type.utf8) + content
        return number(UInt32(content.count)) + body + number(checksum(body))
    }

    /// Big-endian.
    private static func number(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

    /// CRC-32 as PNG has it.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(UInt32.max) { (($0 >> 8) ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)]) }
    }

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    }
}
