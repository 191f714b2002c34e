import TensorMath

/// values = base + the sum of weight (source - base), over one range; `values` hold the base when it begins.
///
/// Summed in double precision in the order given. One source of weight 1 is copied to the last bit; without any the base stays.
func addWeighted(_ sources: [(weight: Double, values: [Float])], to values: inout [Float], _ range: Range<Int>) {
    let moving = sources.filter { $0.weight != 0 }
    if moving.count == 1, moving[0].weight == 1 {
        values.replaceSubrange(range, with: moving[0].values[range])
    } else if !moving.isEmpty {
        addDifferences(moving, to: &values, range)
    }
}
