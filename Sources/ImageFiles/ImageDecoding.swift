import CSPNG
import CTurboJPEG
import Foundation
import SystemErrors

/// Limits that hold before memory is taken for a picture from outside.
private let largestFile = 64 << 20
private let mostPixels = 64 << 20

extension RGBImage {
    /// Reads a PNG or JPEG file, told apart by its first bytes; transparency is laid on white.
    package init(contentsOf path: String) throws(ImageFileError) {
        let data: Data
        do {
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
            guard size > 0 else { throw ImageFileError.notReadable(path: path, reason: "it is empty") }
            guard size <= largestFile else { throw ImageFileError.notReadable(path: path, reason: "\(size) bytes are more than \(largestFile)") }
            data = try Data(contentsOf: URL(filePath: path))
        } catch let error as ImageFileError {
            throw error
        } catch {
            throw .notReadable(path: path, reason: SystemError(error).reason)
        }
        try self.init(data, named: path)
    }

    /// A PNG or JPEG file's bytes.
    /// - Parameter path: what errors call it.
    package init(_ data: Data, named path: String) throws(ImageFileError) {
        guard data.count <= largestFile else { throw .notReadable(path: path, reason: "\(data.count) bytes are more than \(largestFile)") }
        let bytes = [UInt8](data)
        if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) {
            self = try decodePNG(bytes, path: path)
        } else if bytes.starts(with: [0xff, 0xd8, 0xff]) {
            self = try decodeJPEG(bytes, path: path)
        } else {
            throw .notReadable(path: path, reason: "it begins like neither PNG nor JPEG")
        }
    }
}

private func decodePNG(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    func check(_ code: Int32) throws(ImageFileError) {
        guard code == 0 else { throw .notReadable(path: path, reason: unsafe String(cString: spng_strerror(code))) }
    }
    guard let context = unsafe spng_ctx_new(0) else { throw .notReadable(path: path, reason: "no memory") }
    defer { unsafe spng_ctx_free(context) }
    try check(unsafe spng_set_image_limits(context, 1 << 16, 1 << 16))
    try check(unsafe spng_set_chunk_limits(context, largestFile, largestFile))
    // The buffer must outlive the context's use of it, so all of it happens inside this call.
    var result: Result<RGBImage, ImageFileError> = .failure(.notReadable(path: path, reason: "nothing was decoded"))
    unsafe bytes.withUnsafeBytes { buffer in
        result = Result { () throws(ImageFileError) -> RGBImage in
            try check(unsafe spng_set_png_buffer(context, buffer.baseAddress, buffer.count))
            var header = spng_ihdr()
            try check(unsafe spng_get_ihdr(context, &header))
            let (width, height) = (Int(header.width), Int(header.height))
            guard width * height <= mostPixels else {
                throw .notReadable(path: path, reason: "\(width)x\(height) pixels are more than \(mostPixels)")
            }
            var rgba = [UInt8](repeating: 0, count: width * height * 4)
            let format = Int32(SPNG_FMT_RGBA8.rawValue), flags = Int32(SPNG_DECODE_TRNS.rawValue)
            try check(unsafe spng_decode_image(context, &rgba, rgba.count, format, flags))
            var image = RGBImage(width: width, height: height)
            for pixel in 0..<(width * height) {
                let alpha = Int(rgba[pixel * 4 + 3])
                for channel in 0..<3 {
                    image.pixels[pixel * 3 + channel] = UInt8((Int(rgba[pixel * 4 + channel]) * alpha + 255 * (255 - alpha) + 127) / 255)
                }
            }
            return image
        }
    }
    return try result.get()
}

private func decodeJPEG(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    guard let handle = unsafe tjInitDecompress() else { throw .notReadable(path: path, reason: "no memory") }
    defer { unsafe tjDestroy(handle) }
    func check(_ code: Int32) throws(ImageFileError) {
        guard code == 0 else { throw .notReadable(path: path, reason: unsafe String(cString: tjGetErrorStr2(handle))) }
    }
    var width: Int32 = 0, height: Int32 = 0, sampling: Int32 = 0, colours: Int32 = 0
    try check(unsafe tjDecompressHeader3(handle, bytes, UInt(bytes.count), &width, &height, &sampling, &colours))
    guard Int(width) * Int(height) <= mostPixels else {
        throw .notReadable(path: path, reason: "\(width)x\(height) pixels are more than \(mostPixels)")
    }
    var image = RGBImage(width: Int(width), height: Int(height))
    try check(unsafe tjDecompress2(handle, bytes, UInt(bytes.count), &image.pixels, width, 0, height, Int32(TJPF_RGB.rawValue), 0))
    return image
}
