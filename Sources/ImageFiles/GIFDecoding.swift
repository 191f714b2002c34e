import CGIF
import Foundation

/// The first image of a GIF on its canvas; what it leaves free is white.
func decodeGIF(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    var result: Result<RGBImage, ImageFileError> = .failure(.notReadable(path: path, reason: "it is a GIF without an image"))
    unsafe bytes.withUnsafeBufferPointer { buffer in
        var source = unsafe GIFBytes(bytes: buffer.baseAddress, count: buffer.count, position: 0)
        var code: Int32 = 0
        guard let file = unsafe gif_bytes_open(&source, &code) else {
            result = .failure(.notReadable(path: path, reason: fault(code)))
            return
        }
        defer { unsafe DGifCloseFile(file, nil) }
        result = Result { () throws(ImageFileError) -> RGBImage in try unsafe firstImage(file, path: path) }
    }
    return try result.get()
}

private func firstImage(_ file: UnsafeMutablePointer<GifFileType>, path: String) throws(ImageFileError) -> RGBImage {
    func check(_ code: Int32) throws(ImageFileError) {
        guard code == GIF_OK else { throw .notReadable(path: path, reason: unsafe fault(file.pointee.Error)) }
    }
    var transparent: Int?
    while true {
        var kind = UNDEFINED_RECORD_TYPE
        try check(unsafe DGifGetRecordType(file, &kind))
        switch kind {
        case EXTENSION_RECORD_TYPE:
            var code: Int32 = 0
            var block: UnsafeMutablePointer<UInt8>?
            try check(unsafe DGifGetExtension(file, &code, &block))
            // Length, then flags, two bytes of delay, the transparent colour.
            if code == GRAPHICS_EXT_FUNC_CODE, let block = unsafe block, unsafe block[0] >= 4 { transparent = unsafe block[1] & 1 == 1 ? Int(block[4]) : nil }
            while unsafe block != nil { try check(unsafe DGifGetExtensionNext(file, &block)) }
        case IMAGE_DESC_RECORD_TYPE:
            try check(unsafe DGifGetImageDesc(file))
            return try unsafe image(file, transparent: transparent, path: path)
        default:
            throw .notReadable(path: path, reason: "it is a GIF without an image")
        }
    }
}

private func image(_ file: UnsafeMutablePointer<GifFileType>, transparent: Int?, path: String) throws(ImageFileError) -> RGBImage {
    let place = unsafe file.pointee.Image
    let (left, top, width, height) = unsafe (Int(place.Left), Int(place.Top), Int(place.Width), Int(place.Height))
    let canvas = unsafe (max(Int(file.pointee.SWidth), left + width), max(Int(file.pointee.SHeight), top + height))
    guard left >= 0, top >= 0 else { throw .notReadable(path: path, reason: "its image lies outside of its canvas") }
    try PictureLimits.check(width, height, named: path)
    try PictureLimits.check(canvas.0, canvas.1, named: path)
    guard let table = unsafe place.ColorMap ?? file.pointee.SColorMap else { throw .notReadable(path: path, reason: "it has no colours") }
    let colours = unsafe (0..<Int(table.pointee.ColorCount)).map {
        unsafe (table.pointee.Colors[$0].Red, table.pointee.Colors[$0].Green, table.pointee.Colors[$0].Blue)
    }
    var image = RGBImage(width: canvas.0, height: canvas.1, filledWith: (255, 255, 255))
    // An interlaced image comes in four passes.
    let passes = unsafe place.Interlace ? [(0, 8), (4, 8), (2, 4), (1, 2)] : [(0, 1)]
    var line = [UInt8](repeating: 0, count: width)
    for (first, step) in passes {
        for row in stride(from: first, to: height, by: step) {
            guard unsafe DGifGetLine(file, &line, Int32(width)) == GIF_OK else { throw .notReadable(path: path, reason: unsafe fault(file.pointee.Error)) }
            var target = ((top + row) * canvas.0 + left) * 3
            for value in line {
                if Int(value) != transparent {
                    let colour = Int(value) < colours.count ? colours[Int(value)] : (0, 0, 0)
                    (image.pixels[target], image.pixels[target + 1], image.pixels[target + 2]) = colour
                }
                target += 3
            }
        }
    }
    return image
}

private func fault(_ code: Int32) -> String {
    switch code {
    case D_GIF_ERR_READ_FAILED, D_GIF_ERR_EOF_TOO_SOON: "it is cut short"
    default: unsafe GifErrorString(code).map { unsafe String(cString: $0) } ?? "it is a damaged GIF"
    }
}
