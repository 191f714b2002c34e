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
        let total = total(arguments)
        return combined(arguments, base: base) { stretch, moves in
            for argument in arguments { for (k, i) in stretch.enumerated() { moves[k] += argument.share * difference(argument, base, i) } }
            for k in 0..<stretch.count { moves[k] /= total }
        }
    }

    private static func ties(_ arguments: [MergeArgument], kept: Double, base: [Float], kinds: [[Range<Int>]]) -> [Float] {
        // Per argument and kind the smallest difference that stays; what is of no kind stays.
        var sizes: [Float] = []
        let floors = arguments.map { argument in
            kinds.map { kind -> Float in
                sizes.removeAll(keepingCapacity: true)
                if Task.isCancelled { return .infinity }
                for range in kind { for i in range { sizes.append(abs(argument.values[i] - base[i])) } }
                return smallestKept(&sizes, kept)
            } + [0]
        }
        var kindOf = [UInt8](repeating: UInt8(kinds.count), count: base.count)
        for (kind, ranges) in kinds.enumerated() { for range in ranges { for i in range { kindOf[i] = UInt8(kind) } } }
        func move(_ argument: Int, _ i: Int) -> Double {
            abs(arguments[argument].values[i] - base[i]) >= floors[argument][Int(kindOf[i])] ? difference(arguments[argument], base, i) : 0
        }
        var elected = [Double](repeating: 0, count: stretchCount), shares = elected
        return combined(arguments, base: base) { stretch, moves in
            for k in 0..<stretch.count { (elected[k], shares[k]) = (0, 0) }
            for (a, argument) in arguments.enumerated() { for (k, i) in stretch.enumerated() { elected[k] += argument.share * move(a, i) } }
            for (a, argument) in arguments.enumerated() {
                for (k, i) in stretch.enumerated() {
                    let move = move(a, i)
                    guard move * elected[k] > 0 else { continue }
                    moves[k] += argument.share * move
                    shares[k] += argument.share
                }
            }
            for k in 0..<stretch.count { moves[k] = elected[k] == 0 ? 0 : moves[k] / shares[k] }
        }
    }

    private static func dare(_ arguments: [MergeArgument], keys: [Digest], kept: Double, seed: UInt64, base: [Float]) -> [Float] {
        let keys = keys.map { $0.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }, total = total(arguments)
        return combined(arguments, base: base) { stretch, moves in
            for (argument, key) in zip(arguments, keys) {
                for (k, i) in stretch.enumerated() where uniform(seed, key, UInt64(i)) < kept {
                    moves[k] += argument.share * difference(argument, base, i) / kept
                }
            }
            for k in 0..<stretch.count { moves[k] /= total }
        }
    }

    private static func majority(_ arguments: [MergeArgument], base: [Float]) -> [Float] {
        let total = total(arguments)
        var moved = [Int](repeating: 0, count: stretchCount)
        return combined(arguments, base: base) { stretch, moves in
            for k in 0..<stretch.count { moved[k] = 0 }
            for argument in arguments {
                for (k, i) in stretch.enumerated() {
                    if argument.values[i] != base[i] { moved[k] += 1 }
                    moves[k] += argument.share * difference(argument, base, i)
                }
            }
            for k in 0..<stretch.count { moves[k] = 2 * moved[k] >= arguments.count ? moves[k] / total : 0 }
        }
    }

    /// Values that are merged at once: a stretch of every argument stays in the cache.
    private static let stretchCount = 1024

    /// base + difference, where all arguments agree to the last bit, their value.
    /// - Parameter fill: the differences of a stretch of values, which are 0 before; each is summed in the order of the arguments.
    private static func combined(_ arguments: [MergeArgument], base: [Float], _ fill: (Range<Int>, inout [Double]) -> Void) -> [Float] {
        var values = base
        var moves = [Double](repeating: 0, count: stretchCount)
        for start in stride(from: 0, to: base.count, by: stretchCount) {
            // Nobody waits for it any more: what is here so far is thrown away.
            if Task.isCancelled { break }
            let stretch = start..<min(base.count, start + stretchCount)
            for k in 0..<stretch.count { moves[k] = 0 }
            fill(stretch, &moves)
            for (k, i) in stretch.enumerated() where moves[k] != 0 { values[i] = Float(Double(base[i]) + moves[k]) }
        }
        return values
    }

    @inline(__always)
    private static func difference(_ argument: MergeArgument, _ base: [Float], _ i: Int) -> Double { Double(argument.values[i]) - Double(base[i]) }

    private static func total(_ arguments: [MergeArgument]) -> Double { arguments.reduce(0) { $0 + $1.share } }
}

/// The size that the largest `kept` share of `sizes` reaches. Leaves them in another order.
func smallestKept(_ sizes: inout [Float], _ kept: Double) -> Float {
    let count = Int((kept * Double(sizes.count)).rounded(.up))
    guard count > 0, count < sizes.count else { return count == 0 ? .infinity : 0 }
    return select(sizes.count - count, of: &sizes)
}

/// The value that would stand at `place` if the values were sorted: halving what is left around a middle value until it is one.
private func select(_ place: Int, of values: inout [Float]) -> Float {
    var (low, high) = (0, values.count - 1)
    while low < high {
        let pivot = max(min(values[low], values[high]), min(max(values[low], values[high]), values[(low + high) / 2]))
        var (i, j) = (low, high)
        while i <= j {
            while values[i] < pivot { i += 1 }
            while values[j] > pivot { j -= 1 }
            guard i <= j else { break }
            values.swapAt(i, j)
            i += 1
            j -= 1
        }
        if place <= j { high = j } else if place >= i { low = i } else { break }
    }
    return values[place]
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
