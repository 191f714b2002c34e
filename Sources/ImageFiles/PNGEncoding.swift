import CSPNG
import Foundation
import SystemErrors
import SystemFiles

extension RGBImage {
    /// The image as a PNG file's bytes, with text chunks in the order given (keywords of 1 to 79 Latin-1 characters).
    package func png(text: [(key: String, value: String)] = []) throws(ImageFileError) -> Data {
        guard let context = unsafe spng_ctx_new(Int32(SPNG_CTX_ENCODER.rawValue)) else { throw .encoding("no memory") }
        defer { unsafe spng_ctx_free(context) }
        try check(unsafe spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1))
        var header = spng_ihdr()
        header.width = UInt32(width)
        header.height = UInt32(height)
        header.bit_depth = 8
        header.color_type = UInt8(SPNG_COLOR_TYPE_TRUECOLOR.rawValue)
        try check(unsafe spng_set_ihdr(context, &header))

        var chunks = unsafe text.map { entry in unsafe textChunk(entry.key, entry.value) }
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
    package func writePNG(to path: String, text: [(key: String, value: String)] = []) throws(ImageFileError) {
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
private func textChunk(_ key: String, _ value: String) -> spng_text {
    var chunk = unsafe spng_text()
    unsafe chunk.type = Int32(SPNG_ITXT.rawValue)
    unsafe withUnsafeMutableBytes(of: &chunk.keyword) { keyword in
        for (index, byte) in key.utf8.prefix(79).enumerated() { unsafe keyword[index] = byte }
    }
    unsafe chunk.text = unsafe strdup(value)
    unsafe chunk.length = value.utf8.count
    unsafe chunk.language_tag = unsafe strdup("")
    unsafe chunk.translated_keyword = unsafe strdup("")
    return unsafe chunk
}

private func check(_ code: Int32) throws(ImageFileError) {
    guard code == 0 else { throw .encoding(unsafe String(cString: spng_strerror(code))) }
}
