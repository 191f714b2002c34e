import CTIFF
import Foundation

/// The first image of a TIFF file, of what libtiff turns into colours: 1 to 16 bits, grey, palette, RGB, CMYK, YCbCr, any of its compressions.
func decodeTIFF(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    var result: Result<RGBImage, ImageFileError> = .failure(.notReadable(path: path, reason: "nothing was decoded"))
    unsafe bytes.withUnsafeBufferPointer { buffer in
        var source = unsafe TIFFBytes()
        unsafe source.bytes = buffer.baseAddress
        unsafe source.count = UInt64(buffer.count)
        unsafe withUnsafeMutablePointer(to: &source) { source in
            func fault(_ otherwise: String) -> ImageFileError {
                let message = unsafe withUnsafeBytes(of: source.pointee.message) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
                return .notReadable(path: path, reason: message.isEmpty ? otherwise : "it is a TIFF that cannot be used: \(message)")
            }
            guard let file = unsafe tiff_bytes_open(source, tmsize_t(PictureLimits.bytes)) else {
                result = .failure(fault("it is a damaged TIFF"))
                return
            }
            defer { unsafe TIFFClose(file) }
            result = Result { () throws(ImageFileError) -> RGBImage in try unsafe firstImage(file, path: path, fault) }
        }
    }
    return try result.get()
}

private func firstImage(_ file: OpaquePointer, path: String, _ fault: (String) -> ImageFileError) throws(ImageFileError) -> RGBImage {
    guard unsafe tiff_is_raw(file) == 0 else { throw .unread(path, "a camera's raw file") }
    let (width, height) = unsafe (Int(tiff_number(file, UInt32(TIFFTAG_IMAGEWIDTH), 0)), Int(tiff_number(file, UInt32(TIFFTAG_IMAGELENGTH), 0)))
    try PictureLimits.check(width, height, named: path)
    var why = [CChar](repeating: 0, count: 1024)
    guard unsafe TIFFRGBAImageOK(file, &why) != 0 else {
        throw .notReadable(
            path: path,
            reason: "it is a TIFF of a kind that is not read: " + String(decoding: why.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
    }
    let stored = unsafe tiff_number(file, UInt32(TIFFTAG_ORIENTATION), 1)
    var raster = [UInt32](repeating: 0, count: width * height)
    // Asked for in its own orientation, an image is not turned by libtiff, which knows only half of them.
    guard unsafe TIFFReadRGBAImageOriented(file, UInt32(width), UInt32(height), &raster, Int32(stored), 1) != 0 else {
        throw fault("it is cut short or damaged")
    }
    let hasAlpha = unsafe tiff_has_alpha(file) != 0
    var image = RGBImage(width: width, height: height)
    for (index, pixel) in raster.enumerated() {
        let free = hasAlpha ? 255 - pixel >> 24 : 0
        for channel in 0..<3 { image.pixels[3 * index + channel] = UInt8(min(255, pixel >> (8 * UInt32(channel)) & 255 + free)) }
    }
    return image.oriented(ExifOrientation(rawValue: Int(stored)))
}
