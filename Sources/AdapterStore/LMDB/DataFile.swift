import Glibc

/// The data file of a store as one transaction sees it, and the locks that keep readers and the writer out of each other's way.
///
/// LMDB's own locking knows its users by their process numbers, which two containers share, and needs a lock file that every reader may
/// write. It is switched off (`MDB_NOLOCK`), and its contract, that one writer runs at a time and none beside a reader of an older
/// snapshot, is kept by open file description locks on the data file: they need no right but reading, end with their process, and no
/// number is in them. Byte `n` of the file stands for snapshot `n`, whatever lies there; a far byte for the right to write.
///
/// - A reader of snapshot n holds byte n, shared.
/// - The writer of snapshot n holds the far byte, and every snapshot's but that of n - 1, which its readers may go on with. So no page
///   that it takes is still read, and nobody reads what it has not finished.
struct DataFile: ~Copyable {
    private let descriptor: Int32
    private let folder: String

    /// Far above every snapshot's number and every page.
    private static let writerByte: Int64 = 1 << 62
    private static let patience = Duration.seconds(10)

    /// Opens the file that an environment has mapped.
    /// - Parameter mapped: the file as it was opened, and the bytes that its pages take.
    /// - Throws: `storeReplaced` where another file lies there now, `damaged` where it was cut: reading its map would end in SIGBUS.
    init(_ folder: String, mapped: FileCalls.Status, used: Int, writing: Bool = false) throws(StoreError) {
        descriptor = try DataFile.open(folder, mapped: mapped, used: used, writing: writing)
        self.folder = folder
    }

    private static func open(_ folder: String, mapped: FileCalls.Status, used: Int, writing: Bool) throws(StoreError) -> Int32 {
        let path = folder + "/data.mdb"
        let descriptor = unsafe Glibc.open(path, (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw errno == ENOENT || errno == ENOTDIR ? .storeReplaced(path: folder) : .of(code: errno, path: path)
        }
        do throws(StoreError) {
            let status = try FileCalls.status(descriptor: descriptor, path: path)
            guard status.inode == mapped.inode, status.device == mapped.device else { throw .storeReplaced(path: folder) }
            try check(status.size, holds: used, path: path)
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// Compares the file's length, as it is now, with the bytes that a snapshot's pages take.
    func check(holds used: Int) throws(StoreError) {
        try DataFile.check(size(), holds: used, path: folder + "/data.mdb")
    }

    func size() throws(StoreError) -> Int { try FileCalls.status(descriptor: descriptor, path: folder + "/data.mdb").size }

    private static func check(_ size: Int, holds used: Int, path: String) throws(StoreError) {
        guard size >= used else {
            throw .damaged(item: "data file '\(path)'", reason: "it is truncated, with \(size) of at least \(used) bytes")
        }
    }

    /// Begins to read a snapshot; waits only while a writer brings this very one to the disk.
    func readSnapshot(_ number: Int) throws(StoreError) {
        try wait { () throws(StoreError) in try set(F_RDLCK, from: Int64(number), to: Int64(number) + 1) }
    }

    /// Ends the reading, or the writing of a snapshot.
    func leaveSnapshot() throws(StoreError) { _ = try set(F_UNLCK, from: 0, to: DataFile.writerByte) }

    /// Waits until nobody else writes.
    func lockWriter(_ patience: Duration = DataFile.patience) throws(StoreError) {
        try wait(patience) { () throws(StoreError) in try set(F_WRLCK, from: DataFile.writerByte, to: DataFile.writerByte + 1) }
    }

    /// Waits until the readers of all snapshots but the last one have ended.
    func writeSnapshot(_ number: Int, _ patience: Duration = DataFile.patience) throws(StoreError) {
        try wait(patience) { () throws(StoreError) in
            guard try set(F_WRLCK, from: Int64(number), to: DataFile.writerByte) else { return false }
            return number < 2 ? true : try set(F_WRLCK, from: 0, to: Int64(number) - 1)
        }
    }

    private func wait(_ patience: Duration = DataFile.patience, _ lock: () throws(StoreError) -> Bool) throws(StoreError) {
        let deadline = ContinuousClock.now + patience
        var pause: UInt32 = 100
        while try !lock() {
            guard ContinuousClock.now < deadline else { throw .locked(path: folder, process: nil) }
            usleep(pause)
            pause = min(2 * pause, 10_000)
        }
    }

    /// - Returns: false where another's lock is in the way.
    private func set(_ kind: Int32, from start: Int64, to end: Int64) throws(StoreError) -> Bool {
        var lock = flock()
        lock.l_type = Int16(kind)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = off_t(start)
        lock.l_len = off_t(end - start)
        while unsafe fcntl(descriptor, DataFile.setLock, &lock) != 0 {
            switch errno {
            case EINTR: continue
            case EAGAIN, EACCES: return false
            case EINVAL: throw .system(path: folder, reason: "its file system has no locks of open files (Linux 3.15 or later has them)")
            default: throw .of(code: errno, path: folder + "/data.mdb")
            }
        }
        return true
    }

    /// F_OFD_SETLK and F_OFD_GETLK of Linux, which Swift's Glibc module leaves out.
    private static let setLock: Int32 = 37
    private static let getLock: Int32 = 36

    /// Refuses a store that a program with LMDB's own locking has open: it would not see a writer's changes coming.
    static func refuseOtherLocking(_ folder: String) throws(StoreError) {
        let descriptor = unsafe Glibc.open(folder + "/lock.mdb", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_len = 1
        guard unsafe fcntl(descriptor, getLock, &lock) == 0, lock.l_type != Int16(F_UNLCK) else { return }
        throw .locked(path: folder, process: lock.l_pid > 0 ? Int(lock.l_pid) : nil)
    }
}
