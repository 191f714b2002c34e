import AdapterFormat

/// Where two adapters differ, by kind of value and place in the network.
package struct AdapterDifference: Sendable {
    package struct Measures: Sendable, Hashable, Encodable {
        package let values: Int
        /// Euclidean norms of the differences from the base, and from each other.
        package let normA, normB, distance: Double
        /// Between the two differences from the base; nil where one of them is zero.
        package let cosine: Double?
    }

    package struct Row: Sendable, Hashable, Encodable {
        package let kind: TunableKind
        /// Nil for the embedders and the final layer.
        package let block: Int?
        package let measures: Measures
    }

    /// By kind, in each the embedders and final layer first and then the blocks; kinds that neither moves are left out.
    package let rows: [Row]
    package let total: Measures
    /// Classes of one name that both have, and how many of these have the same row.
    package let commonClasses, equalClasses: Int

    /// Where one side has low-rank pairs and the other none, those of the other are zero.
    /// - Throws: `otherPairs`, where both have pairs but not of one shape.
    package init(_ a: Adapter, _ b: Adapter, over base: ComposingBase) throws(ComposerError) {
        let pairs = [a, b].compactMap(\.vector.lowRank)
        guard pairs.allSatisfy({ $0 == pairs[0] }) else { throw .otherPairs }
        let layout = base.layout.over(pairs.first)
        let sides = [a.vector, b.vector, base.vector].map { $0.extended(to: layout).values }
        var rows: [Row] = []
        for kind in TunableKind.allCases {
            var sums: [Int?: Sums] = [:]
            for tensor in layout.tensors where tensor.kind == kind { sums[tensor.block, default: Sums()].add(sides, tensor.range) }
            guard sums.values.contains(where: { $0.a > 0 || $0.b > 0 }) else { continue }
            for (block, sum) in sums.sorted(by: { ($0.key ?? -1) < ($1.key ?? -1) }) { rows.append(Row(kind: kind, block: block, measures: sum.measures)) }
        }
        self.rows = rows
        var all = Sums()
        all.add(sides, 0..<layout.count)
        total = all.measures
        let common = a.classes.names.compactMap { name in b.classes.names.firstIndex(of: name).map { (a.classes.names.firstIndex(of: name) ?? 0, $0) } }
        commonClasses = common.count
        equalClasses = common.count { a.classes.row($0.0).elementsEqual(b.classes.row($0.1)) }
    }

    private struct Sums {
        var count = 0
        var a = 0.0, b = 0.0, product = 0.0, distance = 0.0

        /// - Parameter sides: the one, the other, the base.
        mutating func add(_ sides: [[Float]], _ range: Range<Int>) {
            count += range.count
            for i in range {
                let (x, y) = (Double(sides[0][i]) - Double(sides[2][i]), Double(sides[1][i]) - Double(sides[2][i]))
                a += x * x
                b += y * y
                product += x * y
                distance += (x - y) * (x - y)
            }
        }

        var measures: Measures {
            Measures(
                values: count, normA: a.squareRoot(), normB: b.squareRoot(), distance: distance.squareRoot(),
                cosine: a > 0 && b > 0 ? product / (a * b).squareRoot() : nil)
        }
    }
}
