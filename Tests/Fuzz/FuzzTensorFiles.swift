import Foundation

// libFuzzer's entry, compiled into one module with Sources/TensorFiles by tools/fuzz; no part of the package's build.

/// A file in memory that every input is written to: the readers map files.
private let descriptor: Int32 = {
    var path = Array("/dev/shm/tensorfiles-XXXXXX".utf8CString)
    let descriptor = unsafe mkstemp(&path)
    precondition(descriptor >= 0, "no file in memory")
    unsafe unlink(path)
    return descriptor
}()

/// Opens the bytes as a file of tensors and reads all of them. A refusal is a fair answer; a crash, a hang or an allocation
/// beyond the limit that libFuzzer was given is a finding.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let data = unsafe data else { return 0 }
    precondition(unsafe ftruncate(descriptor, 0) == 0 && pwrite(descriptor, data, count, 0) == count)
    guard let file = try? TensorFile(path: "/proc/self/fd/\(descriptor)") else { return 0 }
    for entry in file.entries {
        precondition(entry.count * entry.dtype.bits / 8 <= max(count, 1), "'\(entry.name)' is larger than its file")
        if entry.dtype.isFloatingPoint {
            precondition((try? file.floats(entry.name))?.count == entry.count)
            _ = OutgoingTensor(entry, as: .f32).bytes(0..<entry.count)
        } else if entry.dtype.isInteger, entry.dtype != .u64 {
            precondition((try? file.integers(entry.name))?.count == entry.count)
        }
        _ = TensorEntry.stacked("twice", [entry, entry])
    }
    // What two of every four values of it stand for is twice as much.
    for entry in (try? file.expandingTwoOfFour())?.entries ?? [] where entry.isTwoOfFour {
        precondition(entry.count * entry.dtype.bits / 16 <= count, "'\(entry.name)' is larger than its file holds")
        precondition(entry.floats(0..<entry.count).count == entry.count)
        _ = OutgoingTensor.twoOfFour("a.weight", shape: entry.shape, as: .f32) { entry.floats($0) }.map { $0.bytes(0..<$0.count) }
    }
    return 0
}
