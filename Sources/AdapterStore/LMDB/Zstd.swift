import CZstd

/// One zstd frame with its content size and checksum inside.
enum Zstd {
    /// - Throws: `memoryRefused`.
    static func compress(_ bytes: [UInt8], level: Int) throws(StoreError) -> [UInt8] {
        let refused = StoreError.memoryRefused(path: "a compressed adapter")
        guard let context = unsafe ZSTD_createCCtx() else { throw refused }
        defer { unsafe ZSTD_freeCCtx(context) }
        var code = 0
        let frame = unsafe [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) { buffer, count in
            unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(clamping: level))
            unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
            code = unsafe bytes.withUnsafeBytes {
                unsafe ZSTD_compress2(context, buffer.baseAddress, buffer.count, $0.baseAddress, $0.count)
            }
            count = ZSTD_isError(code) == 0 ? code : 0
        }
        // The bound rules out every other error: the tables of a level are taken only now.
        guard ZSTD_isError(code) == 0 else { throw refused }
        return frame
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
