import CWebP
import Foundation

/// WebP, lossy or lossless; of an animation the first image on its canvas.
func decodeWebP(_ bytes: [UInt8], path: String) throws(ImageFileError) -> RGBImage {
    let damaged = ImageFileError.notReadable(path: path, reason: "it is a WebP that is damaged or cut short")
    var features = WebPBitstreamFeatures()
    guard unsafe WebPGetFeaturesInternal(bytes, bytes.count, &features, WEBP_DECODER_ABI_VERSION) == VP8_STATUS_OK else { throw damaged }
    let (width, height) = (Int(features.width), Int(features.height))
    try PictureLimits.check(width, height, named: path)
    let image = features.has_animation != 0 ? firstFrame(bytes) : still(bytes, width, height)
    guard let image else { throw damaged }
    return image.oriented(orientation(bytes))
}

private func still(_ bytes: [UInt8], _ width: Int, _ height: Int) -> RGBImage? {
    var rgba = [UInt8](repeating: 0, count: width * height * 4)
    guard unsafe WebPDecodeRGBAInto(bytes, bytes.count, &rgba, rgba.count, Int32(width * 4)) != nil else { return nil }
    return RGBImage(width: width, height: height, rgba: rgba)
}

private func firstFrame(_ bytes: [UInt8]) -> RGBImage? {
    unsafe bytes.withUnsafeBufferPointer { buffer in
        var data = unsafe WebPData(bytes: buffer.baseAddress, size: buffer.count)
        guard let decoder = unsafe WebPAnimDecoderNewInternal(&data, nil, WEBP_DEMUX_ABI_VERSION) else { return nil }
        defer { unsafe WebPAnimDecoderDelete(decoder) }
        var info = WebPAnimInfo()
        var canvas: UnsafeMutablePointer<UInt8>?, time: Int32 = 0
        guard unsafe WebPAnimDecoderGetInfo(decoder, &info) != 0, unsafe WebPAnimDecoderGetNext(decoder, &canvas, &time) != 0, let canvas = unsafe canvas else {
            return nil
        }
        let (width, height) = (Int(info.canvas_width), Int(info.canvas_height))
        return unsafe RGBImage(width: width, height: height, rgba: UnsafeBufferPointer(start: canvas, count: width * height * 4))
    }
}

/// Chunks of the container: a name, a length, the content on an even place.
private func orientation(_ bytes: [UInt8]) -> ExifOrientation? {
    var exif: [ArraySlice<UInt8>] = [], xmp: [ArraySlice<UInt8>] = []
    var at = 12
    while at + 8 <= bytes.count {
        let length = bytes[(at + 4)..<(at + 8)].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard at + 8 + length <= bytes.count else { break }
        let content = bytes[(at + 8)..<(at + 8 + length)]
        if bytes[at...].starts(with: "EXIF".utf8) { exif.append(content) }
        if bytes[at...].starts(with: "XMP ".utf8) { xmp.append(content) }
        at += 8 + length + length % 2
    }
    return ExifOrientation(exif: exif, xmp: xmp)
}
