import CLMDB
import Glibc

/// The LMDB environment of one store: its map, its transactions, its growth.
///
/// The data file is kept as long as the map (a sparse tail), so it covers every page a commit can name, and a shorter file
/// is known to be truncated before it is mapped. Open it through `EnvironmentRegistry`: one per process and file.
// @unchecked: the handle is thread-safe by LMDB's contract (MDB_NOTLS); the map is resized behind the gate; the registry
// closes it under its lock.
@safe final class Environment: @unchecked Sendable {
    let folder: String
    let lock: WriteLock
    private let handle: OpaquePointer
    private let tables: [MDB_dbi]
    private let gate = TransactionGate()
    private var isClosed = false

    /// The first size of the map; it doubles whenever it is full.
    static let firstMapSize = 1 << 18
    private static let maximumReaders: UInt32 = 512
    /// LMDB's head of the file, and a cache line for each reader.
    private static let lockFileSize = 128 + 64 * Int(maximumReaders)

    private init(folder: String, handle: OpaquePointer, tables: [MDB_dbi]) {
        self.folder = folder
        unsafe self.handle = handle
        self.tables = tables
        lock = WriteLock(folder: folder)
    }

    deinit { close() }

    /// Ends the environment; nothing may use it afterwards.
    func close() {
        if !isClosed { unsafe mdb_env_close(handle) }
        isClosed = true
    }

    /// Makes the data file with its empty tables in an existing folder.
    static func create(_ folder: String) throws(StoreError) -> Environment {
        try FileCalls.refuseNetworkFileSystem(folder)
        return try open(folder, flags: 0, mapSize: firstMapSize, creating: true)
    }

    /// Opens an existing data file after checking it; read-only where the user may not write it.
    static func open(_ folder: String) throws(StoreError) -> Environment {
        try FileCalls.refuseNetworkFileSystem(folder)
        try MetaPages.checkFile(folder)
        do throws(StoreError) {
            return try open(folder, flags: 0, mapSize: 0, creating: false)
        } catch {
            guard case .permission = error else { throw error }
            return try open(folder, flags: UInt32(MDB_RDONLY), mapSize: 0, creating: false)
        }
    }

    private static func open(_ folder: String, flags: UInt32, mapSize: Int, creating: Bool) throws(StoreError) -> Environment {
        func check(_ code: Int32) throws(StoreError) { if code != 0 { throw .of(code: code, path: folder) } }
        var created: OpaquePointer?
        try check(unsafe mdb_env_create(&created))
        let handle = unsafe created!
        do throws(StoreError) {
            try check(unsafe mdb_env_set_maxdbs(handle, UInt32(Table.allCases.count)))
            try check(unsafe mdb_env_set_maxreaders(handle, maximumReaders))
            if mapSize > 0 { try check(unsafe mdb_env_set_mapsize(handle, mapSize)) }
            if flags & UInt32(MDB_RDONLY) == 0 { try FileCalls.reserve("\(folder)/lock.mdb", bytes: lockFileSize) }
            try check(unsafe mdb_env_open(handle, folder, flags | UInt32(MDB_NOTLS), 0o644))
            var cleared: Int32 = 0
            try check(unsafe mdb_reader_check(handle, &cleared))
            var transaction: OpaquePointer?
            try check(unsafe mdb_txn_begin(handle, nil, creating ? 0 : UInt32(MDB_RDONLY), &transaction))
            var tables: [MDB_dbi] = []
            do throws(StoreError) {
                if !creating { try unsafe PageCheck.check(snapshot: mdb_txn_id(transaction), descriptor: dataDescriptor(handle), folder) }
                for table in Table.allCases {
                    var id: MDB_dbi = 0
                    let code = unsafe mdb_dbi_open(transaction, table.name, creating ? UInt32(MDB_CREATE) : 0, &id)
                    if code == MDB_NOTFOUND {
                        throw StoreError.damaged(item: "store at '\(folder)'", reason: "its table '\(table.name)' is missing")
                    }
                    try check(code)
                    tables.append(id)
                }
            } catch {
                unsafe mdb_txn_abort(transaction)
                throw error
            }
            try check(unsafe mdb_txn_commit(transaction))
            return unsafe Environment(folder: folder, handle: handle, tables: tables)
        } catch {
            unsafe mdb_env_close(handle)
            throw error
        }
    }

    /// Runs a short read transaction. Other processes' growth of the map is followed.
    func read<R>(_ body: (borrowing ReadTransaction) throws(StoreError) -> R) throws(StoreError) -> R {
        for _ in 0..<16 {
            let result = try gate.transaction { () throws(StoreError) -> R? in
                var transaction: OpaquePointer?
                var code = unsafe mdb_txn_begin(handle, nil, UInt32(MDB_RDONLY), &transaction)
                if code == MDB_READERS_FULL {
                    var cleared: Int32 = 0
                    unsafe mdb_reader_check(handle, &cleared)
                    code = unsafe mdb_txn_begin(handle, nil, UInt32(MDB_RDONLY), &transaction)
                }
                if code == MDB_MAP_RESIZED { return nil }
                guard code == 0, let transaction = unsafe transaction else { throw .of(code: code, path: folder) }
                return try body(unsafe ReadTransaction(handle: transaction, tables: tables, path: folder))
            }
            if let result { return result }
            try setMapSize(0)
        }
        throw .system(path: folder, reason: "the map kept growing under a read")
    }

    /// Writes a data file with the pages of one moment and no free ones, while others read and change the store.
    func copy(to descriptor: Int32) throws(StoreError) {
        for _ in 0..<16 {
            let code = try gate.transaction { () throws(StoreError) in unsafe mdb_env_copyfd2(handle, descriptor, UInt32(MDB_CP_COMPACT)) }
            if code == 0 { return }
            guard code == MDB_MAP_RESIZED else { throw .of(code: code, path: folder) }
            try setMapSize(0)
        }
        throw .system(path: folder, reason: "the map kept growing under a copy")
    }

    private enum Attempt<R> {
        case done(R)
        case resized
        case full
    }

    /// Runs a write transaction and commits it; the caller holds `lock`. The body runs again after the map has grown.
    /// - Parameter limit: most bytes of the map.
    func write<R>(limit: Int, _ body: (borrowing WriteTransaction) throws(StoreError) -> R) throws(StoreError) -> R {
        if try mapSize() > limit { try setMapSize(limit) }
        for _ in 0..<64 {
            switch try attempt(body) {
            case .done(let result): return result
            case .resized: try setMapSize(0)
            case .full:
                let size = try mapSize()
                guard size < limit else { throw .mapFull(path: folder, bytes: size) }
                try setMapSize(min(limit, 2 * size))
            }
        }
        throw .mapFull(path: folder, bytes: try mapSize())
    }

    private func attempt<R>(_ body: (borrowing WriteTransaction) throws(StoreError) -> R) throws(StoreError) -> Attempt<R> {
        try gate.transaction { () throws(StoreError) -> Attempt<R> in
            let size = unsafe information.me_mapsize
            try extendFile(to: size)
            var transaction: OpaquePointer?
            let code = unsafe mdb_txn_begin(handle, nil, 0, &transaction)
            if code == MDB_MAP_RESIZED { return .resized }
            guard code == 0, let transaction = unsafe transaction else { throw .of(code: code, path: folder) }
            let writer = unsafe WriteTransaction(handle: transaction, tables: tables, path: folder, mapSize: size)
            do throws(StoreError) {
                let result = try body(writer)
                try writer.commit()
                return .done(result)
            } catch {
                if case .mapFull = error { return .full }
                throw error
            }
        }
    }

    private func extendFile(to size: Int) throws(StoreError) {
        let descriptor = try unsafe Environment.dataDescriptor(handle)
        guard try FileCalls.status(descriptor: descriptor, path: folder).size < size else { return }
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw .of(code: errno, path: folder) }
    }

    private static func dataDescriptor(_ handle: OpaquePointer) throws(StoreError) -> Int32 {
        var descriptor: Int32 = -1
        let code = unsafe mdb_env_get_fd(handle, &descriptor)
        guard code == 0 else { throw .of(code: code, path: "data.mdb") }
        return descriptor
    }

    /// 0 takes over the size that another process has set; LMDB never goes below the pages in use.
    private func setMapSize(_ size: Int) throws(StoreError) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        try gate.resize { () throws(StoreError) in
            let code = unsafe mdb_env_set_mapsize(handle, (size + page - 1) / page * page)
            guard code == 0 else { throw .of(code: code, path: folder) }
        }
    }

    /// Call it inside the gate: LMDB reads the map for it.
    private var information: MDB_envinfo {
        var info = unsafe MDB_envinfo()
        unsafe mdb_env_info(handle, &info)
        return unsafe info
    }

    private func mapSize() throws(StoreError) -> Int {
        try gate.transaction { () throws(StoreError) in unsafe information.me_mapsize }
    }

    /// Bytes of the map, and of all pages up to the last one in use; pages freed below it are used again by later changes.
    func sizes() throws(StoreError) -> (map: Int, used: Int) {
        try gate.transaction { () throws(StoreError) in
            var statistics = MDB_stat()
            unsafe mdb_env_stat(handle, &statistics)
            let info = unsafe information
            return unsafe (info.me_mapsize, (info.me_last_pgno + 1) * Int(statistics.ms_psize))
        }
    }

    /// Which file is open, wherever its path leads now.
    func status() throws(StoreError) -> FileCalls.Status {
        try unsafe FileCalls.status(descriptor: Environment.dataDescriptor(handle), path: folder)
    }
}
