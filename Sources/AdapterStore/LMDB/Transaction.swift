import CLMDB
import Glibc

/// The databases of a store. Values carry checksums (`Checksummed`), the frames of `blobs` carry their own digest.
enum Table: Int, CaseIterable {
    /// "format", "created", "generation" -> decimal or date text.
    case meta
    /// Digest of a base file -> its size (8 bytes) and its card.
    case bases
    /// Digest of an adapter -> its frame.
    case blobs
    /// Digest of an adapter -> its manifest.
    case records
    /// Name -> digest.
    case names

    var name: String { String(describing: self) }
}

/// A view of the store at one moment. Values are copied out; nothing points into the map after a call.
protocol Transaction: ~Copyable {
    var handle: OpaquePointer { get }
    var tables: [MDB_dbi] { get }
    var path: String { get }
}

extension Transaction where Self: ~Copyable {
    /// The value of a key, or its first `limit` bytes; nil where the key is absent.
    borrowing func value(_ table: Table, _ key: [UInt8], limit: Int = .max) throws(StoreError) -> [UInt8]? {
        let (code, bytes) = unsafe key.withUnsafeBytes { raw -> (Int32, [UInt8]) in
            var key = unsafe MDB_val(mv_size: raw.count, mv_data: UnsafeMutableRawPointer(mutating: raw.baseAddress))
            var value = unsafe MDB_val()
            let code = unsafe mdb_get(handle, tables[table.rawValue], &key, &value)
            return (code, code == 0 ? unsafe value.copied(limit) : [])
        }
        if code == MDB_NOTFOUND || code == MDB_BAD_VALSIZE { return nil }
        guard code == 0 else { throw .of(code: code, path: path) }
        return bytes
    }

    /// Visits keys in ascending order from the first one not below `start`, until the body answers false.
    borrowing func scan(
        _ table: Table, from start: [UInt8] = [], limit: Int = .max, _ body: ([UInt8], [UInt8]) throws(StoreError) -> Bool
    ) throws(StoreError) {
        var cursor: OpaquePointer?
        let opened = unsafe mdb_cursor_open(handle, tables[table.rawValue], &cursor)
        guard opened == 0 else { throw .of(code: opened, path: path) }
        defer { unsafe mdb_cursor_close(cursor) }
        var key = unsafe MDB_val()
        var value = unsafe MDB_val()
        var code = unsafe start.withUnsafeBytes { raw in
            guard unsafe !raw.isEmpty else { return unsafe mdb_cursor_get(cursor, &key, &value, MDB_FIRST) }
            unsafe key = MDB_val(mv_size: raw.count, mv_data: UnsafeMutableRawPointer(mutating: raw.baseAddress))
            return unsafe mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
        }
        while code == 0 {
            guard try body(unsafe key.copied(.max), unsafe value.copied(limit)) else { return }
            code = unsafe mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
        }
        guard code == MDB_NOTFOUND else { throw .of(code: code, path: path) }
    }

    /// Opens a table by its name; its number is good for other transactions once this one is committed.
    borrowing func open(_ table: Table, creating: Bool) throws(StoreError) -> MDB_dbi {
        var id: MDB_dbi = 0
        let code = unsafe mdb_dbi_open(handle, table.name, creating ? UInt32(MDB_CREATE) : 0, &id)
        if code == MDB_NOTFOUND { throw .damaged(item: "store at '\(path)'", reason: "its table '\(table.name)' is missing") }
        guard code == 0 else { throw .of(code: code, path: path) }
        return id
    }

    borrowing func count(_ table: Table) throws(StoreError) -> Int {
        var info = MDB_stat()
        let code = unsafe mdb_stat(handle, tables[table.rawValue], &info)
        guard code == 0 else { throw .of(code: code, path: path) }
        return info.ms_entries
    }
}

/// A read transaction: keep it short, since pages it sees cannot be used again while it lives.
@safe struct ReadTransaction: Transaction, ~Copyable {
    let handle: OpaquePointer
    let tables: [MDB_dbi]
    let path: String
    /// With the snapshot's lock, which ends after the transaction.
    private let file: DataFile
    private var isFinished = false

    init(handle: OpaquePointer, tables: [MDB_dbi], path: String, file: consuming DataFile) {
        unsafe self.handle = handle
        self.tables = tables
        self.path = path
        self.file = file
    }

    deinit { if !isFinished { unsafe mdb_txn_abort(handle) } }

    /// Keeps the tables that it has opened.
    consuming func commit() throws(StoreError) {
        isFinished = true
        let code = unsafe mdb_txn_commit(handle)
        guard code == 0 else { throw .of(code: code, path: path) }
    }
}

/// The write transaction: forgotten, it changes nothing.
@safe struct WriteTransaction: Transaction, ~Copyable {
    let handle: OpaquePointer
    let tables: [MDB_dbi]
    let path: String
    let mapSize: Int
    /// With the writer's locks, which end after the transaction.
    private let file: DataFile
    private var isFinished = false

    init(handle: OpaquePointer, tables: [MDB_dbi], path: String, mapSize: Int, file: consuming DataFile) {
        unsafe self.handle = handle
        self.tables = tables
        self.path = path
        self.mapSize = mapSize
        self.file = file
    }

    deinit { if !isFinished { unsafe mdb_txn_abort(handle) } }

    consuming func commit() throws(StoreError) {
        isFinished = true
        try check(unsafe mdb_txn_commit(handle))
    }

    borrowing func put(_ table: Table, _ key: [UInt8], _ value: [UInt8]) throws(StoreError) {
        try check(
            unsafe key.withUnsafeBytes { rawKey in
                unsafe value.withUnsafeBytes { rawValue in
                    var key = unsafe MDB_val(mv_size: rawKey.count, mv_data: UnsafeMutableRawPointer(mutating: rawKey.baseAddress))
                    var value = unsafe MDB_val(
                        mv_size: rawValue.count, mv_data: UnsafeMutableRawPointer(mutating: rawValue.baseAddress))
                    return unsafe mdb_put(handle, tables[table.rawValue], &key, &value, 0)
                }
            })
    }

    /// Deletes a key; an absent one is left absent.
    borrowing func delete(_ table: Table, _ key: [UInt8]) throws(StoreError) {
        let code = unsafe key.withUnsafeBytes { raw in
            var key = unsafe MDB_val(mv_size: raw.count, mv_data: UnsafeMutableRawPointer(mutating: raw.baseAddress))
            return unsafe mdb_del(handle, tables[table.rawValue], &key, nil)
        }
        if code != MDB_NOTFOUND { try check(code) }
    }

    private borrowing func check(_ code: Int32) throws(StoreError) {
        if code == MDB_MAP_FULL { throw .mapFull(path: path, bytes: mapSize) }
        // LMDB names a write that fits only in part EIO, as a failing disk does.
        if code == EIO, !FileCalls.hasRoom(path, at: mapSize) { throw .diskFull(path: path) }
        guard code == 0 else { throw .of(code: code, path: path) }
    }
}

extension MDB_val {
    fileprivate func copied(_ limit: Int) -> [UInt8] {
        unsafe Array(UnsafeRawBufferPointer(start: mv_data, count: min(mv_size, limit)))
    }
}
