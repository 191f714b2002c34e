import CZstd

/// One zstd frame with its content size and checksum inside.
enum Zstd {
    static func compress(_ bytes: [UInt8], level: Int) -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.count)
        return unsafe [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            // As any allocation in Swift: who has no memory has no way on.
            guard let context = unsafe ZSTD_createCCtx() else { fatalError("no memory for a zstd context") }
            defer { unsafe ZSTD_freeCCtx(context) }
            unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(clamping: level))
            unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
            count = unsafe bytes.withUnsafeBytes {
                unsafe ZSTD_compress2(context, buffer.baseAddress, bound, $0.baseAddress, $0.count)
            }
            // The bound rules out every error but one of this program.
            precondition(ZSTD_isError(count) == 0)
        }
    }

    /// The content of a frame, or why it is not sound. Memory is taken only after the frame has named the expected size.
    static func decompress(_ frame: ArraySlice<UInt8>, size: Int) -> Result<[UInt8], Fault> {
        unsafe frame.withUnsafeBytes { raw in
            guard unsafe ZSTD_findFrameCompressedSize(raw.baseAddress, raw.count) == raw.count else {
                return .failure(Fault("its compressed data is cut or has something behind it"))
            }
            guard unsafe ZSTD_getFrameContentSize(raw.baseAddress, raw.count) == UInt64(size) else {
                return .failure(Fault("its compressed data does not hold the \(size) bytes that its head names"))
            }
            var code = 0
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                code = unsafe ZSTD_decompress(buffer.baseAddress, size, raw.baseAddress, raw.count)
                count = ZSTD_isError(code) == 0 ? code : 0
            }
            if ZSTD_isError(code) != 0 {
                return .failure(Fault("its compressed data is wrong (\(unsafe String(cString: ZSTD_getErrorName(code))))"))
            }
            return bytes.count == size ? .success(bytes) : .failure(Fault("its compressed data is short"))
        }
    }

    struct Fault: Error {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }
}
