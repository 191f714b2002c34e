import AdapterFormat

struct MergeArgument {
    /// Its share in the mean, above 0.
    let share: Double
    /// Absolute values.
    let values: [Float]
}

extension MergeRule {
    /// One vector out of several.
    /// - Parameters:
    ///   - keys: an identity of each argument, which its random numbers hang on.
    ///   - kinds: ranges of values of one kind; the largest are chosen among their like.
    func merge(_ arguments: [MergeArgument], keys: [Digest], base: [Float], kinds: [[Range<Int>]]) -> [Float] {
        switch self {
        case .ties(let kept): Self.ties(arguments, kept: kept, base: base, kinds: kinds)
        case .dare(let kept, let seed): Self.dare(arguments, keys: keys, kept: kept, seed: seed, base: base)
        case .majority: Self.majority(arguments, base: base)
        }
    }

    static func mean(_ arguments: [MergeArgument], base: [Float]) -> [Float] {
        combined(arguments, base: base) { i in
            arguments.reduce(0) { $0 + $1.share * difference($1, base, i) } / total(arguments)
        }
    }

    private static func ties(_ arguments: [MergeArgument], kept: Double, base: [Float], kinds: [[Range<Int>]]) -> [Float] {
        // Per argument and value the smallest difference that stays.
        let floors = arguments.map { argument in
            var floors = [Float](repeating: 0, count: base.count)
            for kind in kinds {
                let sizes = kind.flatMap { range in range.map { abs(argument.values[$0] - base[$0]) } }
                let floor = smallestKept(sizes, kept)
                for range in kind { for i in range { floors[i] = floor } }
            }
            return floors
        }
        return combined(arguments, base: base) { i in
            let moves = zip(arguments, floors).map { argument, floors in
                abs(argument.values[i] - base[i]) >= floors[i] ? difference(argument, base, i) : 0
            }
            let elected = zip(arguments, moves).reduce(0) { $0 + $1.0.share * $1.1 }
            guard elected != 0 else { return 0 }
            var (sum, shares) = (0.0, 0.0)
            for (argument, move) in zip(arguments, moves) where move * elected > 0 {
                sum += argument.share * move
                shares += argument.share
            }
            return sum / shares
        }
    }

    private static func dare(_ arguments: [MergeArgument], keys: [Digest], kept: Double, seed: UInt64, base: [Float]) -> [Float] {
        let keys = keys.map { $0.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }
        return combined(arguments, base: base) { i in
            var sum = 0.0
            for (argument, key) in zip(arguments, keys) where uniform(seed, key, UInt64(i)) < kept {
                sum += argument.share * difference(argument, base, i) / kept
            }
            return sum / total(arguments)
        }
    }

    private static func majority(_ arguments: [MergeArgument], base: [Float]) -> [Float] {
        combined(arguments, base: base) { i in
            let moved = arguments.count { $0.values[i] != base[i] }
            guard 2 * moved >= arguments.count else { return 0 }
            return arguments.reduce(0) { $0 + $1.share * difference($1, base, i) } / total(arguments)
        }
    }

    /// base + difference, where all arguments agree to the last bit, their value.
    private static func combined(_ arguments: [MergeArgument], base: [Float], _ difference: (Int) -> Double) -> [Float] {
        base.indices.map { i in
            let move = difference(i)
            return move == 0 ? base[i] : Float(Double(base[i]) + move)
        }
    }

    @inline(__always)
    private static func difference(_ argument: MergeArgument, _ base: [Float], _ i: Int) -> Double { Double(argument.values[i]) - Double(base[i]) }

    private static func total(_ arguments: [MergeArgument]) -> Double { arguments.reduce(0) { $0 + $1.share } }
}

/// The size that the largest `kept` share of `sizes` reaches.
func smallestKept(_ sizes: [Float], _ kept: Double) -> Float {
    let count = Int((kept * Double(sizes.count)).rounded(.up))
    guard count > 0, count < sizes.count else { return count == 0 ? .infinity : 0 }
    return sizes.sorted()[sizes.count - count]
}

/// A number in 0..<1 that hangs on these three alone: splitmix64's finaliser over a Weyl sequence.
private func uniform(_ seed: UInt64, _ key: UInt64, _ index: UInt64) -> Double {
    var z = seed &* 0xD134_2543_DE82_EF95 &+ key &+ (index &+ 1) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
}

extension TunableLayout {
    /// The ranges of each kind of value.
    package var kindRanges: [[Range<Int>]] { TunableKind.allCases.map { kind in tensors.filter { $0.kind == kind }.map(\.range) } }
}
