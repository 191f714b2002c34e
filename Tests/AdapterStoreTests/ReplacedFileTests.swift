import AdapterStore
import Foundation
import Testing
import storehammer

/// What happens to the data file under an open handle is noticed at the next call, before its map is read.
struct ReplacedFileTests {
    let temporary = try! TemporaryStore()
    var dataFile: String { temporary.path + "/data.mdb" }

    private func everyCall(_ store: AdapterStore) -> [StoreError?] {
        func refusal(_ body: () throws(StoreError) -> Void) -> StoreError? {
            do throws(StoreError) { try body() } catch { return error }
            return nil
        }
        return [
            refusal { () throws(StoreError) in _ = try store.generation() }, refusal { () throws(StoreError) in _ = try store.list() },
            refusal { () throws(StoreError) in _ = try store.statistics() }, refusal { () throws(StoreError) in _ = try store.lookup("n1") },
            refusal { () throws(StoreError) in _ = try store.load(Samples.adapter(1).digest, over: Samples.base) },
            refusal { () throws(StoreError) in _ = try store.verify { _ in nil } },
            refusal { () throws(StoreError) in _ = try store.prune() }, refusal { () throws(StoreError) in try store.remove("n1") },
            refusal { () throws(StoreError) in _ = try store.snapshot(at: temporary.folder + "/copy") },
        ]
    }

    /// Reading a map past the file's end would end the process.
    @Test func aFileThatIsCutUnderAHandleIsNamed() throws {
        let store = try temporary.create()
        for number in 0..<20 { _ = try store.add(number, as: "n\(number)") }
        let content = try Data(contentsOf: URL(filePath: dataFile))
        let used = try store.statistics().usedBytes
        for size in [0, 1, 4096, 8192, used / 2, used - 1] {
            #expect(truncate(dataFile, off_t(size)) == 0)
            for refusal in everyCall(store) {
                guard case .damaged(_, let reason) = refusal else {
                    Issue.record("\(size) bytes: \(String(describing: refusal))")
                    continue
                }
                #expect(reason.contains("truncated, with \(size) of at least"))
                #expect(refusal?.exitCode == 6)
            }
            #expect(try FileManager.default.attributesOfItem(atPath: dataFile)[.size] as? Int == size, "nothing fills the hole with zeros")
            let handle = try #require(FileHandle(forWritingAtPath: dataFile))
            try handle.write(contentsOf: content)
            try handle.close()
        }
        #expect(try store.list().count == 20, "mended, it goes on")
        #expect(try store.verifySamples().damaged.isEmpty, "mended, it goes on")
    }

    @Test func anotherFileInItsPlaceIsNamed() throws {
        let store = try temporary.create()
        _ = try store.add(1, as: "n1")
        let copy = temporary.folder + "/data.mdb"
        try FileManager.default.copyItem(atPath: dataFile, toPath: copy)
        try FileManager.default.removeItem(atPath: dataFile)
        #expect(everyCall(store).allSatisfy { $0 == .storeReplaced(path: temporary.path) })
        try FileManager.default.moveItem(atPath: copy, toPath: dataFile)
        #expect(everyCall(store).allSatisfy { $0 == .storeReplaced(path: temporary.path) })
        #expect(try temporary.open().list().count == 1, "opened again it is a store")
    }

    /// A copy from yesterday, written over the file: the same inode, and pages that nobody has checked.
    @Test func anOlderStateInItsPlaceIsNamed() throws {
        let store = try temporary.create()
        _ = try store.add(1, as: "n1")
        let older = try Data(contentsOf: URL(filePath: dataFile))
        _ = try store.add(2, as: "n2")
        let handle = try #require(FileHandle(forWritingAtPath: dataFile))
        try handle.write(contentsOf: older)
        try handle.close()
        #expect(everyCall(store).allSatisfy { $0 == .storeReplaced(path: temporary.path) })
    }

    /// What another process grew is not taken for a fault.
    @Test func aStoreWithoutALockFileOfLMDBsIsWhole() throws {
        let store = try temporary.create()
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path).sorted() == ["bases", "data.mdb", "write.lock"])
        let server = try temporary.open()
        let child = try Child("add", temporary.path, "child", "300")
        #expect(child.wait() == 0)
        #expect(try server.list().count == 300)
        #expect(try store.verifySamples().damaged.isEmpty)
    }
}
