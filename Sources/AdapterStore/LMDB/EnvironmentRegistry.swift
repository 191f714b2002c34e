import Synchronization

/// The open environments of this process, one per data file, so that its map and the growth of it are shared.
enum EnvironmentRegistry {
    private struct Key: Hashable {
        let device: UInt
        let inode: UInt

        init(_ status: FileCalls.Status) {
            device = status.device
            inode = status.inode
        }
    }

    private struct Entry {
        let environment: Environment
        var users: Int
    }

    private static let open = Mutex<[Key: Entry]>([:])

    /// The environment of a folder, opened where it is not yet; each call is paired with `release`.
    static func acquire(_ folder: String) throws(StoreError) -> Environment {
        guard let status = try FileCalls.status(folder + "/data.mdb") else { throw try AdapterStore.absence(at: folder) }
        let key = Key(status)
        let result = open.withLock { open -> Result<Environment, StoreError> in
            if let entry = open[key] {
                open[key]!.users += 1
                return .success(entry.environment)
            }
            do throws(StoreError) {
                let environment = try Environment.open(folder)
                open[key] = Entry(environment: environment, users: 1)
                return .success(environment)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Closes the environment after its last user, under the lock, so that no other open falls between.
    static func release(_ environment: Environment) {
        open.withLock { open in
            guard let key = open.first(where: { $1.environment === environment })?.key else { return }
            open[key]!.users -= 1
            if open[key]!.users == 0 { open.removeValue(forKey: key)?.environment.close() }
        }
    }
}
