import CSPNG
import Foundation

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
