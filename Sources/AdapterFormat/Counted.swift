extension DefaultStringInterpolation {
    /// A count with its noun, which is given in the singular: 1 class, 2 classes, 0 entries.
    package mutating func appendInterpolation(_ count: Int, _ noun: String) {
        appendInterpolation(count)
        appendLiteral(" ")
        appendLiteral(count == 1 ? noun : plural(of: noun))
    }
}

private func plural(of noun: String) -> String {
    if ["s", "x", "ch", "sh"].contains(where: noun.hasSuffix) { return noun + "es" }
    guard noun.hasSuffix("y"), let before = noun.dropLast().last, !"aeiou".contains(before) else { return noun + "s" }
    return noun.dropLast() + "ies"
}
