import CLMDB
import Glibc
import Synchronization

/// The LMDB environment of one store: its map, its transactions, its growth.
///
/// The data file is kept as long as the map (a sparse tail), so it covers every page a commit can name, and a shorter file
/// is known to be truncated before it is mapped. Open it through `EnvironmentRegistry`: one per process and file.
// @unchecked: the handle is thread-safe by LMDB's contract (MDB_NOTLS) under the locks of `DataFile`; the map is resized behind the
// gate; the registry closes it under its lock.
@safe final class Environment: @unchecked Sendable {
    let folder: String
    let lock: WriteLock
    private let handle: OpaquePointer
    /// Set once, before anyone else has the environment.
    private var tables: [MDB_dbi] = []
    /// Which file is mapped, wherever its path leads now.
    private let file: FileCalls.Status
    private let pageSize: Int
    private let gate = TransactionGate()
    /// The last snapshot that was seen, and the bytes that its pages take: neither ever gets smaller in a file that is sound.
    private let seen: Mutex<(snapshot: Int, used: Int)>
    private let isBroken = Atomic(false)
    private var isClosed = false

    /// The first size of the map; it doubles whenever it is full.
    static let firstMapSize = 1 << 18

    private init(folder: String, handle: OpaquePointer, file: FileCalls.Status) {
        self.folder = folder
        unsafe self.handle = handle
        self.file = file
        lock = WriteLock(folder: folder)
        var statistics = MDB_stat()
        unsafe mdb_env_stat(handle, &statistics)
        pageSize = Int(statistics.ms_psize)
        seen = Mutex((0, 2 * pageSize))
    }

    deinit { close() }

    /// Ends the environment; nothing may use it afterwards.
    func close() {
        if !isClosed { unsafe mdb_env_close(handle) }
        isClosed = true
    }

    /// Makes the data file with its empty tables in an existing folder that nobody else knows of.
    /// - Parameter synchronous: false leaves it to `synchronize` to bring what is written to the disk.
    static func create(_ folder: String, synchronous: Bool = true) throws(StoreError) -> Environment {
        try FileCalls.refuseNetworkFileSystem(folder)
        let environment = try Environment(folder, flags: synchronous ? 0 : UInt32(MDB_NOSYNC), mapSize: firstMapSize)
        try environment.openTables(creating: true)
        return environment
    }

    /// Opens an existing data file after checking it; read-only where the user may not write it.
    static func open(_ folder: String) throws(StoreError) -> Environment {
        try FileCalls.refuseNetworkFileSystem(folder)
        try MetaPages.checkFile(folder)
        let environment: Environment
        do throws(StoreError) {
            environment = try Environment(folder, flags: 0, mapSize: 0)
        } catch {
            guard case .permission = error else { throw error }
            environment = try Environment(folder, flags: UInt32(MDB_RDONLY), mapSize: 0)
        }
        try environment.openTables(creating: false)
        return environment
    }

    private convenience init(_ folder: String, flags: UInt32, mapSize: Int) throws(StoreError) {
        var created: OpaquePointer?
        var code = unsafe mdb_env_create(&created)
        guard code == 0, let handle = unsafe created else { throw .of(code: code, path: folder) }
        code = unsafe mdb_env_set_maxdbs(handle, UInt32(Table.allCases.count))
        if code == 0, mapSize > 0 { code = unsafe mdb_env_set_mapsize(handle, mapSize) }
        if code == 0 { code = unsafe mdb_env_open(handle, folder, flags | UInt32(MDB_NOTLS | MDB_NOLOCK), 0o644) }
        do throws(StoreError) {
            guard code == 0 else { throw .of(code: code, path: folder) }
            let file = try unsafe FileCalls.status(descriptor: Environment.dataDescriptor(handle), path: folder)
            unsafe self.init(folder: folder, handle: handle, file: file)
        } catch {
            unsafe mdb_env_close(handle)
            throw error
        }
    }

    private func openTables(creating: Bool) throws(StoreError) {
        guard creating else { return try openCheckedTables() }
        let file = try DataFile(folder, mapped: self.file, used: 0, writing: true)
        guard let transaction = try beginWriting(file, size: Environment.firstMapSize) else { throw .of(code: MDB_MAP_RESIZED, path: folder) }
        for table in Table.allCases { tables.append(try transaction.open(table, creating: true)) }
        try transaction.commit()
    }

    /// LMDB follows a snapshot's pages only after they have been walked.
    private func openCheckedTables() throws(StoreError) {
        for _ in 0..<16 {
            guard let transaction = try beginReading() else {
                try setMapSize(0)
                continue
            }
            try unsafe PageCheck.check(snapshot: mdb_txn_id(transaction.handle), descriptor: Environment.dataDescriptor(handle), folder)
            for table in Table.allCases { tables.append(try transaction.open(table, creating: false)) }
            return try transaction.commit()
        }
        throw .system(path: folder, reason: "the map kept growing under a read")
    }

    /// Runs a short read transaction. Other processes' growth of the map is followed.
    func read<R>(_ body: (borrowing ReadTransaction) throws(StoreError) -> R) throws(StoreError) -> R {
        for _ in 0..<16 {
            let result = try gate.transaction { () throws(StoreError) -> R? in
                guard let transaction = try beginReading() else { return nil }
                return try body(transaction)
            }
            if let result { return result }
            try setMapSize(0)
        }
        throw .system(path: folder, reason: "the map kept growing under a read")
    }

    /// - Returns: nil where another process's growth of the map must be followed first.
    private func beginReading() throws(StoreError) -> ReadTransaction? {
        let before = try lastSeen()
        let file = try DataFile(folder, mapped: self.file, used: before.used)
        // Each turn means that another process has finished a change meanwhile.
        for _ in 0..<1000 {
            let snapshot = Int(unsafe information.me_last_txnid)
            guard snapshot >= before.snapshot else { throw .storeReplaced(path: folder) }
            try file.readSnapshot(snapshot)
            var begun: OpaquePointer?
            let code = unsafe mdb_txn_begin(handle, nil, UInt32(MDB_RDONLY), &begun)
            if code == MDB_MAP_RESIZED { return nil }
            guard code == 0, let transaction = unsafe begun else { throw .of(code: code, path: folder) }
            if unsafe mdb_txn_id(transaction) == snapshot {
                do throws(StoreError) {
                    try keepSeen(snapshot, file)
                } catch {
                    unsafe mdb_txn_abort(transaction)
                    throw error
                }
                return unsafe ReadTransaction(handle: transaction, tables: tables, path: folder, file: file)
            }
            unsafe mdb_txn_abort(transaction)
            try file.leaveSnapshot()
        }
        throw .locked(path: folder, process: nil)
    }

    private func lastSeen() throws(StoreError) -> (snapshot: Int, used: Int) {
        guard !isBroken.load(ordering: .relaxed) else { throw .of(code: ENOMEM, path: folder) }
        return seen.withLock { $0 }
    }

    /// Compares the file's length with what the last snapshot needs, before anything follows its pages.
    private func keepSeen(_ snapshot: Int, _ file: borrowing DataFile) throws(StoreError) {
        let used = (Int(unsafe information.me_last_pgno) + 1) * pageSize
        try file.check(holds: used)
        seen.withLock { $0 = (max($0.snapshot, snapshot), max($0.used, used)) }
    }

    private enum Attempt<R> {
        case done(R)
        case resized
        case full
    }

    /// Runs a write transaction and commits it; the caller holds `lock`. The body runs again after the map has grown.
    /// - Parameter limit: most bytes of the map.
    func write<R>(limit: Int, _ body: (borrowing WriteTransaction) throws(StoreError) -> R) throws(StoreError) -> R {
        try DataFile.refuseOtherLocking(folder)
        if try sizes().map > limit { try setMapSize(limit) }
        for _ in 0..<64 {
            switch try attempt(body) {
            case .done(let result): return result
            case .resized: try setMapSize(0)
            case .full:
                let size = try sizes().map
                guard size < limit else { throw .mapFull(path: folder, bytes: size) }
                try setMapSize(min(limit, 2 * size))
            }
        }
        throw .mapFull(path: folder, bytes: try sizes().map)
    }

    private func attempt<R>(_ body: (borrowing WriteTransaction) throws(StoreError) -> R) throws(StoreError) -> Attempt<R> {
        try gate.transaction { () throws(StoreError) -> Attempt<R> in
            let before = try lastSeen()
            let file = try DataFile(folder, mapped: self.file, used: before.used, writing: true)
            try file.lockWriter()
            guard Int(unsafe information.me_last_txnid) >= before.snapshot else { throw .storeReplaced(path: folder) }
            try keepSeen(before.snapshot, file)
            let size = unsafe information.me_mapsize
            try extendFile(to: size)
            guard let writer = try beginWriting(file, size: size) else { return .resized }
            do throws(StoreError) {
                let number = Int(unsafe mdb_txn_id(writer.handle))
                let result = try body(writer)
                try writer.commit()
                // A body that changed nothing has made no snapshot.
                if Int(unsafe information.me_last_txnid) >= number { seen.withLock { $0.snapshot = max($0.snapshot, number) } }
                return .done(result)
            } catch {
                if case .mapFull = error { return .full }
                throw error
            }
        }
    }

    /// - Parameter file: with the writer's lock.
    /// - Returns: nil where another process's growth of the map must be followed first.
    private func beginWriting(_ file: consuming DataFile, size: Int) throws(StoreError) -> WriteTransaction? {
        var begun: OpaquePointer?
        let code = unsafe mdb_txn_begin(handle, nil, 0, &begun)
        if code == MDB_MAP_RESIZED { return nil }
        guard code == 0, let transaction = unsafe begun else { throw .of(code: code, path: folder) }
        do throws(StoreError) {
            try file.writeSnapshot(Int(unsafe mdb_txn_id(transaction)))
        } catch {
            unsafe mdb_txn_abort(transaction)
            throw error
        }
        return unsafe WriteTransaction(handle: transaction, tables: tables, path: folder, mapSize: size, file: file)
    }

    /// Brings to the disk what an environment that is not synchronous has written.
    func synchronize() throws(StoreError) {
        let code = try gate.transaction { () throws(StoreError) in unsafe mdb_env_sync(handle, 1) }
        guard code == 0 else { throw .of(code: code, path: folder) }
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
            let before = try lastSeen()
            let file = try DataFile(folder, mapped: self.file, used: before.used)
            // LMDB lets go of the old map first: where the new one is refused, none is left.
            let more = try unsafe (size == 0 ? file.size() : size) - information.me_mapsize
            guard more <= 0 || FileCalls.mayMap(bytes: more) else { throw .of(code: ENOMEM, path: folder) }
            let code = unsafe mdb_env_set_mapsize(handle, (size + page - 1) / page * page)
            guard code == 0 else {
                isBroken.store(true, ordering: .relaxed)
                throw .of(code: code, path: folder)
            }
        }
    }

    /// Call it inside the gate and behind a `DataFile`: LMDB reads the map for it.
    private var information: MDB_envinfo {
        var info = unsafe MDB_envinfo()
        unsafe mdb_env_info(handle, &info)
        return unsafe info
    }

    /// Bytes of the map, and of all pages up to the last one in use; pages freed below it are used again by later changes.
    func sizes() throws(StoreError) -> (map: Int, used: Int) {
        try gate.transaction { () throws(StoreError) in
            let file = try DataFile(folder, mapped: self.file, used: lastSeen().used)
            try keepSeen(0, file)
            let info = unsafe information
            return unsafe (info.me_mapsize, (info.me_last_pgno + 1) * pageSize)
        }
    }
}
