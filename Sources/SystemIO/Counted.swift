extension DefaultStringInterpolation {
    /// A count with its noun, which is given in the singular: 1 class, 2 classes, 0 entries.
    package mutating func appendInterpolation(_ count: some BinaryInteger, _ noun: String) {
        appendLiteral(String(count))
        appendLiteral(" ")
        appendLiteral(count == 1 ? noun : plural(of: noun))
    }

    /// A name with its article: a LOHA, an ADALORA.
    package mutating func appendInterpolation(a name: String) {
        let isSpelt = ["HRA", "XLORA", "LN_"].contains(where: name.hasPrefix)
        appendLiteral(isSpelt || name.first.map { "aeiouAEIOU".contains($0) } ?? false ? "an " : "a ")
        appendLiteral(name)
    }
}

private func plural(of noun: String) -> String {
    if ["s", "x", "ch", "sh"].contains(where: noun.hasSuffix) { return noun + "es" }
    guard noun.hasSuffix("y"), let before = noun.dropLast().last, !"aeiou".contains(before) else { return noun + "s" }
    return noun.dropLast() + "ies"
}
