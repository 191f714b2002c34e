import AdapterFormat
import AdapterStore
import Foundation
import TensorFiles
import Testing
import storehammer

struct BlobFrameTests {
    func roundTrip(_ adapter: StoredAdapter, _ precision: StoredPrecision = .f32, level: Int = 1) throws -> StoredAdapter {
        let frame = try BlobFrame.encode(adapter, over: Samples.base, precision, level: level)
        return try BlobFrame.decode(frame, digest: adapter.digest, manifest: adapter.manifest, over: Samples.base)
    }

    @Test(arguments: 0..<40) func everyFloatComesBackBitEqual(number: Int) throws {
        let adapter = Samples.adapter(number, anyFloat: number.isMultiple(of: 2))
        let back = try roundTrip(adapter, level: number % 5 + 1)
        #expect(back == adapter)
        #expect(bits(back) == bits(adapter))
    }

    @Test func edgeValuesComeBackBitEqual() throws {
        let edges: [Float] = [
            0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude,
            -.greatestFiniteMagnitude, .infinity, -.infinity, .nan, Float(bitPattern: 0xFFFF_FFFF), 1, Float(1).nextDown, -1,
        ]
        let count = Samples.layout.count
        let values = (0..<count).map { edges[$0 % edges.count] }
        // Over a base of zeros of both signs too, where the codec rotates the sign.
        let zeros = try BaseValues(
            digest: Samples.base.digest, layout: Samples.layout,
            vector: TunableVector((0..<count).map { $0 % 3 == 0 ? -Float.zero : Float.zero }, layout: Samples.layout))
        let adapter = Samples.adapter(values, ClassTable(names: [], values: Array(edges[0..<4])), manifest: "{}")
        for base in [Samples.base, zeros] {
            let frame = try BlobFrame.encode(adapter, over: base, .f32, level: 1)
            #expect(bits(try BlobFrame.decode(frame, digest: adapter.digest, manifest: adapter.manifest, over: base)) == bits(adapter))
        }
    }

    /// Where most values are the base's, only the others are stored, to the last bit; a bit too many is noticed.
    @Test(arguments: [0.0, 0.01, 0.3, 0.9]) func whatEqualsTheBaseIsNotStored(moved: Double) throws {
        let whole = Samples.adapter(3)
        let base = Samples.base.vector.values
        let values = base.indices.map { Double($0 * 7919 % 1000) / 1000 < moved ? whole.vector.values[$0] : base[$0] }
        let adapter = Samples.adapter(values, whole.classes, manifest: "{}")
        let frame = try BlobFrame.encode(adapter, over: Samples.base, .f32, level: 3)
        let back = try BlobFrame.decode(frame, digest: adapter.digest, manifest: adapter.manifest, over: Samples.base)
        #expect(bits(back) == bits(adapter))
        #expect(back == adapter)
        let dense = try BlobFrame.encode(whole, over: Samples.base, .f32, level: 3)
        // A codec above 2 is the sparse form.
        let isSparse = frame[6] > 2
        #expect(moved > 0.5 || (isSparse && frame.count < dense.count))
        guard isSparse else { return }
        var broken = frame
        broken[208] ^= 1
        #expect(throws: StoreError.self) { try BlobFrame.decode(broken, digest: adapter.digest, manifest: adapter.manifest, over: Samples.base) }
        broken[215] = 0xFF
        #expect(throws: StoreError.self) { try BlobFrame.decode(broken, digest: adapter.digest, manifest: adapter.manifest, over: Samples.base) }
    }

    /// A base's own float32 values do not stand in the way of storing the others as bfloat16.
    @Test func sparseValuesMayBeRoundedAlone() throws {
        let base = Samples.base.vector.values
        let values = base.indices.map { $0 % 9 == 0 ? Float(bitPattern: Float($0).bitPattern & 0xFFFF_0000) : base[$0] }
        let table = ClassTable(names: [], values: [Float](repeating: 0.5, count: Samples.layout.configuration.hiddenSize))
        let adapter = Samples.adapter(values, table, manifest: "{}")
        let frame = try BlobFrame.encode(adapter, over: Samples.base, .bf16(RoundingError(max: 0, rms: 0)), level: 3)
        let back = try BlobFrame.decode(frame, digest: adapter.digest, manifest: adapter.manifest, over: Samples.base)
        #expect(bits(back) == bits(adapter))
        #expect(frame[6] == 4)
    }

    @Test func classNamesComeBackByteEqual() throws {
        let names = ["", "a\nb", "e\u{301}", "\u{e9}", "\u{0}", String(repeating: "x", count: 5000)]
        let table = ClassTable(names: names, values: Array(repeating: 1, count: 28))
        let adapter = Samples.adapter(Samples.base.vector.values, table, manifest: "{}")
        #expect(try roundTrip(adapter).classes.names.map { Array($0.utf8) } == names.map { Array($0.utf8) })
    }

    @Test func aFlippedBitIsAnErrorOrChangesNothing() throws {
        let adapter = Samples.adapter(2)
        let frame = try BlobFrame.encode(adapter, over: Samples.base, .f32, level: 1)
        var refused = 0
        for index in frame.indices {
            for bit in [UInt8(1), 0x10, 0x80] {
                var bad = frame
                bad[index] ^= bit
                do throws(StoreError) {
                    let back = try BlobFrame.decode(bad, digest: adapter.digest, manifest: adapter.manifest, over: Samples.base)
                    #expect(bits(back) == bits(adapter), "byte \(index)")
                    #expect(back == adapter, "byte \(index)")
                } catch {
                    refused += 1
                    #expect(error.exitCode == 6 || error.exitCode == 7, "byte \(index): \(error)")
                }
            }
        }
        // All but the rare bit that zstd itself does not read.
        #expect(refused > 3 * frame.count - 20)
    }

    @Test func aCutOrLongFrameIsRefused() throws {
        let adapter = Samples.adapter(1)
        let frame = try BlobFrame.encode(adapter, over: Samples.base, .f32, level: 1)
        for bad in (0..<frame.count).map({ Array(frame[..<$0]) }) + [frame + [0]] {
            #expect(throws: StoreError.self) {
                try BlobFrame.decode(bad, digest: adapter.digest, manifest: Data(), over: Samples.base)
            }
        }
    }

    @Test func hugeSizesInTheHeadAreRefusedBeforeMemoryIsTaken() throws {
        let adapter = Samples.adapter(1)
        let frame = try BlobFrame.encode(adapter, over: Samples.base, .f32, level: 1)
        for (offset, width) in [(8, 8), (16, 8), (24, 4), (28, 4), (32, 8)] {
            for fill in [UInt8(0x7F), 0xFF] {
                var bad = frame
                for i in 0..<width { bad[offset + i] = fill }
                #expect(throws: StoreError.self) {
                    try BlobFrame.decode(bad, digest: adapter.digest, manifest: Data(), over: Samples.base)
                }
            }
        }
    }

    @Test func anotherBaseIsRefusedByName() throws {
        let adapter = Samples.adapter(1)
        let frame = try BlobFrame.encode(adapter, over: Samples.base, .f32, level: 1)
        let moved = try BaseValues(
            digest: Samples.base.digest, layout: Samples.layout, vector: TunableVector.neutral(Samples.layout))
        let other = try BaseValues(
            digest: Samples.digest(Data("other".utf8)), layout: Samples.layout, vector: Samples.base.vector)
        for base in [moved, other] {
            let error = #expect(throws: StoreError.self) {
                try BlobFrame.decode(frame, digest: adapter.digest, manifest: Data(), over: base)
            }
            #expect(error?.exitCode == 7)
        }
        #expect(throws: StoreError.self) { try BlobFrame.encode(adapter, over: other, .f32, level: 1) }
    }

    @Test func bfloat16KeepsRoundedValuesAndItsError() throws {
        let exact = Samples.adapter(3)
        let (values, error) = BFloat16.round(exact.vector.values)
        let (table, _) = BFloat16.round(exact.classes.values)
        let rounded = Samples.adapter(values, ClassTable(names: exact.classes.names, values: table), manifest: "{}")
        #expect(bits(try roundTrip(rounded, .bf16(error))) == bits(rounded))
        #expect(error.max > 0)
        #expect(error.max <= 1.02 / 256)
        let refused = #expect(throws: StoreError.self) { try roundTrip(exact, .bf16(error)) }
        guard case .notRounded = refused else {
            Issue.record("\(String(describing: refused))")
            return
        }
    }

    /// Values by hand from the format: ties go to the even neighbour.
    @Test func roundingToBFloat16() {
        let cases: [(UInt32, UInt32)] = [
            (0x3F80_0000, 0x3F80_0000), (0x3F80_8000, 0x3F80_0000), (0x3F81_8000, 0x3F82_0000), (0x3F80_8001, 0x3F81_0000),
            (0x8000_0000, 0x8000_0000), (0x7F7F_FFFF, 0x7F80_0000), (0xFF80_0000, 0xFF80_0000), (0x0000_8001, 0x0001_0000),
        ]
        for (exact, rounded) in cases {
            #expect(BFloat16.rounded(Float(bitPattern: exact)).bitPattern == rounded)
        }
        #expect(BFloat16.rounded(Float(bitPattern: 0x7F80_0001)).isNaN)
        let (_, error) = BFloat16.round([1 + 0x1p-8, 1, 1, 1 - 0x1p-10])
        #expect(error.max == 0x1p-8)
        #expect(abs(error.rms - Float(((0x1p-16 + 0x1p-20) / 4).squareRoot())) < 1e-9)
    }
}
