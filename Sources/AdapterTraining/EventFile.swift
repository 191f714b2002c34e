import Foundation
import SystemIO
import TensorFiles

/// A TensorBoard event file: TFRecord frames around protobuf `Event` messages, of which only the few fields that scalars and
/// images need are written. TensorBoard finds it in its folder by its name and reads it while it grows.
package struct EventFile {
    static let prefix = "events.out.tfevents."
    private let path: String
    private let handle: FileHandle

    /// A new file in the folder. Its first event tells a TensorBoard that is looking on to forget what it has of this run.
    package init(folder: String, now: Date = Date()) throws {
        let host = ProcessInfo.processInfo.hostName
        path = "\(folder)/\(Self.prefix)\(Int(now.timeIntervalSince1970)).\(host).\(ProcessInfo.processInfo.processIdentifier)"
        do {
            try Data().write(to: URL(filePath: path))
            handle = try FileHandle(forWritingTo: URL(filePath: path))
        } catch {
            throw TrainingError.unwritable(path, reason: SystemError(error))
        }
        try write(Self.event(time: now, step: 0) { $0.text(3, "brain.Event:2") })
        var session = ProtobufMessage()
        session.integer(1, 1)  // START
        try write(Self.event(time: now, step: 0) { $0.bytes(7, session.data) })
    }

    /// Removes the folder's other event files, whose steps this one has.
    func removeOthers() throws {
        let own = URL(filePath: path), folder = own.deletingLastPathComponent().path
        do {
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasPrefix(Self.prefix) && name != own.lastPathComponent {
                try FileManager.default.removeItem(atPath: folder + "/" + name)
            }
        } catch {
            throw TrainingError.unwritable(folder, reason: SystemError(error))
        }
    }

    package func scalar(_ tag: String, _ value: Float, step: Int) throws {
        try summary(tag, step: step) { $0.float(2, value) }
    }

    /// - Parameter png: a whole PNG file.
    package func image(_ tag: String, png: Data, width: Int, height: Int, step: Int) throws {
        var image = ProtobufMessage()
        image.integer(1, height)
        image.integer(2, width)
        image.integer(3, 3)  // RGB
        image.bytes(4, png)
        try summary(tag, step: step) { $0.bytes(4, image.data) }
    }

    private func summary(_ tag: String, step: Int, _ value: (inout ProtobufMessage) -> Void) throws {
        var entry = ProtobufMessage(), summary = ProtobufMessage()
        entry.text(1, tag)
        value(&entry)
        summary.bytes(1, entry.data)
        try write(Self.event(time: Date(), step: step) { $0.bytes(5, summary.data) })
    }

    private static func event(time: Date, step: Int, _ what: (inout ProtobufMessage) -> Void) -> Data {
        var event = ProtobufMessage()
        event.double(1, time.timeIntervalSince1970)
        event.integer(2, step)
        what(&event)
        return event.data
    }

    private func write(_ event: Data) throws {
        do { try handle.write(contentsOf: Self.record(event)) } catch { throw TrainingError.unwritable(path, reason: SystemError(error)) }
    }

    /// TFRecord: length u64, its masked CRC, the data, their masked CRC, all little-endian.
    package static func record(_ data: Data) -> Data {
        let length = littleEndian(UInt64(data.count))
        return length + littleEndian(maskedCRC(length)) + data + littleEndian(maskedCRC(data))
    }

    /// CRC-32C, rotated right by 15 bits and raised by a constant, so that a record of records keeps its strength.
    package static func maskedCRC(_ data: Data) -> UInt32 {
        var crc: UInt32 = ~0
        for byte in data { crc = crc >> 8 ^ table[Int((crc ^ UInt32(byte)) & 0xFF)] }
        crc = ~crc
        return (crc >> 15 | crc << 17) &+ 0xA282_EAD8
    }

    /// Castagnoli's polynomial, reflected.
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
    }
}

private func littleEndian(_ number: some FixedWidthInteger & UnsignedInteger) -> Data {
    Data((0..<(number.bitWidth / 8)).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) })
}

/// A protobuf message under construction: field numbers and values in the order written.
struct ProtobufMessage {
    private(set) var data = Data()

    mutating func integer(_ field: Int, _ value: Int) {
        key(field, wire: 0)
        varint(UInt64(bitPattern: Int64(value)))
    }

    mutating func double(_ field: Int, _ value: Double) {
        key(field, wire: 1)
        data += littleEndian(value.bitPattern)
    }

    mutating func float(_ field: Int, _ value: Float) {
        key(field, wire: 5)
        data += littleEndian(value.bitPattern)
    }

    mutating func bytes(_ field: Int, _ value: Data) {
        key(field, wire: 2)
        varint(UInt64(value.count))
        data += value
    }

    mutating func text(_ field: Int, _ value: String) { bytes(field, Data(value.utf8)) }

    private mutating func key(_ field: Int, wire: UInt64) { varint(UInt64(field) << 3 | wire) }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            data.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        data.append(UInt8(rest))
    }
}
