/// The random numbers of one drawing: SplitMix64 from a seed made of what the drawing is, so that the same
/// (domain, class, index, seed) always gives the same picture, whatever was drawn before.
struct Dice {
    private var state: UInt64

    init(domain: String, class index: Int, index image: Int, seed: UInt64) {
        // FNV-1a over the parts keeps neighbouring indices far apart once SplitMix64 has mixed them.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func absorb(_ value: UInt64) {
            for shift in stride(from: 0, to: 64, by: 8) { hash = (hash ^ ((value >> shift) & 0xff)) &* 0x100_0000_01b3 }
        }
        for byte in domain.utf8 { absorb(UInt64(byte)) }
        absorb(UInt64(index))
        absorb(UInt64(image))
        absorb(seed)
        state = hash
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Uniform in the range.
    mutating func real(_ low: Float, _ high: Float) -> Float {
        low + (high - low) * Float(next() >> 40) * (1 / 16_777_216)
    }

    /// Uniform among the integers of the range, both ends included.
    mutating func integer(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next() % UInt64(range.count))
    }

    mutating func chance(_ probability: Float) -> Bool { real(0, 1) < probability }

    mutating func pick<T>(_ choices: [T]) -> T { choices[integer(0...choices.count - 1)] }
}
