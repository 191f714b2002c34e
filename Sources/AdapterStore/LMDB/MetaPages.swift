import CLMDB
import Glibc

/// One of the two meta pages of an LMDB 0.9 data file on a 64-bit machine, read without mapping the file.
///
/// Offsets follow `MDB_page` (header of 16 bytes) and `MDB_meta` of LMDB's data format version 1.
struct MetaPages {
    /// The root of one database as a meta page or a named database's value holds it (`MDB_db`, 48 bytes).
    struct Root {
        let flags: UInt16
        let depth: Int
        let entries: UInt64
        /// nil for an empty tree.
        let page: UInt64?

        init(_ bytes: [UInt8], at offset: Int) {
            flags = bytes.number(UInt16.self, at: offset + 4)
            depth = Int(bytes.number(UInt16.self, at: offset + 6))
            entries = bytes.number(UInt64.self, at: offset + 32)
            let page = bytes.number(UInt64.self, at: offset + 40)
            self.page = page == .max ? nil : page
        }
    }

    let pageSize: Int
    let mapSize: UInt64
    let free: Root
    let main: Root
    let lastPage: UInt64
    let transaction: UInt64

    private static let magic: UInt32 = 0xBEEF_C0DE
    private static let version: UInt32 = 1
    private static let length = 152
    private static let integerKeys: UInt16 = 0x08
    private static let largestMap: UInt64 = 1 << 46

    /// nil where the bytes are no sound meta page.
    private init?(_ bytes: [UInt8]) {
        guard bytes.count == MetaPages.length, bytes.number(UInt16.self, at: 10) == PageCheck.Kind.meta.rawValue,
            bytes.number(UInt32.self, at: 16) == MetaPages.magic, bytes.number(UInt32.self, at: 20) == MetaPages.version
        else { return nil }
        pageSize = Int(bytes.number(UInt32.self, at: 40))
        mapSize = bytes.number(UInt64.self, at: 32)
        free = Root(bytes, at: 40)
        main = Root(bytes, at: 88)
        lastPage = bytes.number(UInt64.self, at: 136)
        transaction = bytes.number(UInt64.self, at: 144)
        guard [4096, 8192, 16384, 32768].contains(pageSize), mapSize <= MetaPages.largestMap, lastPage >= 1,
            lastPage < MetaPages.largestMap / 4096, free.flags == MetaPages.integerKeys, main.flags == 0
        else { return nil }
    }

    /// Both meta pages of a data file.
    static func read(_ descriptor: Int32, path: String) throws(StoreError) -> [MetaPages] {
        let first = MetaPages(try FileCalls.read(descriptor, at: 0, count: length, path: path))
        guard let first, let second = MetaPages(try FileCalls.read(descriptor, at: first.pageSize, count: length, path: path)),
            second.pageSize == first.pageSize
        else { throw .damaged(item: "data file '\(path)'", reason: "its first pages are not those of an LMDB data file") }
        return [first, second]
    }

    /// Refuses a data file that is too short for its own pages; mapping it would end in SIGBUS.
    static func checkFile(_ folder: String) throws(StoreError) {
        let path = folder + "/data.mdb"
        let descriptor = try FileCalls.open(path, O_RDONLY | O_NONBLOCK)
        defer { close(descriptor) }
        let status = try FileCalls.status(descriptor: descriptor, path: path)
        guard status.isRegular else { throw .badFile(path: path, reason: "is not a regular file") }
        for meta in try read(descriptor, path: path) {
            let needed = (Int(meta.lastPage) + 1) * meta.pageSize
            guard status.size >= needed else {
                throw .damaged(
                    item: "data file '\(path)'", reason: "it is truncated, with \(status.size) of at least \(needed) bytes")
            }
        }
    }
}
