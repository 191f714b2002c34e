import AdapterFormat

extension Recipe {
    package static let largestWeight = 1000.0

    /// Reads a recipe by the grammar above.
    package init(_ text: String) throws(RecipeError) {
        var parser = RecipeParser(text)
        stages = try parser.recipe()
    }

    /// A recipe that runs for a fraction of the steps.
    package struct Scheduled: Sendable {
        let share: Double
        let recipe: String

        package init(share: Double, recipe: String) { (self.share, self.recipe) = (share, recipe) }
    }

    /// The list form. The fractions add up to 1.
    package init(schedule: [Scheduled]) throws(RecipeError) {
        var stages: [Stage] = []
        var start = 0.0
        for entry in schedule {
            let (share, text) = (entry.share, entry.recipe), recipe = try Recipe(text)
            guard recipe.stages.count == 1 else {
                throw RecipeError(text: text, position: 0, reason: "a recipe inside a schedule is no schedule itself")
            }
            guard share > 0, share <= 1 else {
                throw RecipeError(text: text, position: 0, reason: "its fraction of the steps is above 0 and at most 1, not \(shortest(share))")
            }
            stages.append(Stage(start: start, mix: recipe.stages[0].mix))
            start += share
        }
        guard !stages.isEmpty, abs(start - 1) < 1e-6 else {
            throw RecipeError(text: "", position: 0, reason: "the fractions of a schedule add up to \(shortest(start)), not to 1")
        }
        self.stages = stages
    }
}

/// Recursive descent over the characters; every fault is thrown with its place.
private struct RecipeParser {
    private static let deepest = 16
    private static let mostTerms = 1024
    private static let minusHint = "; a name may hold '-', so put a space before a minus sign"

    private let text: String
    private let characters: [Character]
    private var position = 0
    private var depth = 0
    private var terms = 0

    init(_ text: String) {
        self.text = text
        characters = Array(text)
    }

    mutating func recipe() throws(RecipeError) -> [Recipe.Stage] {
        var stages = [Recipe.Stage(start: 0, mix: try mix())]
        while take(">") {
            let (at, start) = try number("a fraction of the steps, such as 0.6,")
            guard start > stages[stages.count - 1].start, start < 1 else {
                throw fault("a fraction of the steps rises from stage to stage and is below 1, not \(shortest(start))", at)
            }
            try expect(">", "and the recipe from there on")
            stages.append(Recipe.Stage(start: start, mix: try mix()))
        }
        skipBlanks()
        guard position == characters.count else {
            let hint = characters[position] == "*" && characters[..<position].contains("-") ? Self.minusHint : ""
            throw fault("'\(characters[position])' is not expected; terms are joined with '+' or '-', stages with '>'\(hint)")
        }
        return stages
    }

    private mutating func mix() throws(RecipeError) -> Recipe.Mix {
        skipBlanks()
        let start = position
        if word() == "score", take("(") {
            let terms = try sum()
            try expect(")", "after the terms of score(")
            return .score(terms)
        }
        position = start
        return .values(try sum())
    }

    private mutating func sum() throws(RecipeError) -> Recipe.Sum {
        depth += 1
        guard depth <= Self.deepest else { throw fault("brackets nest deeper than \(Self.deepest) levels") }
        var terms = [try term(sign: take("-") ? -1 : 1)]
        while true {
            if take("+") {
                terms.append(try term(sign: take("-") ? -1 : 1))
            } else if take("-") {
                terms.append(try term(sign: -1))
            } else {
                depth -= 1
                return terms
            }
        }
    }

    private mutating func term(sign: Double) throws(RecipeError) -> Recipe.Term {
        skipBlanks()
        let start = position
        terms += 1
        guard terms <= Self.mostTerms else { throw fault("there are more than \(Self.mostTerms) terms") }
        var weight = sign
        let first = word()
        if !first.isEmpty, take("*") {
            guard let value = decimal(first) else {
                let hint = first.contains("-") ? Self.minusHint : ""
                throw fault("'\(first)' is no number, and only a number stands before '*'\(hint)", start)
            }
            guard value <= Recipe.largestWeight else { throw fault("a weight is at most \(shortest(Recipe.largestWeight))", start) }
            weight *= value
        } else {
            position = start
        }
        let factor = try factor()
        return Recipe.Term(weight: weight, factor: factor, blocks: try blocks(), position: start)
    }

    private mutating func factor() throws(RecipeError) -> Recipe.Factor {
        skipBlanks()
        let start = position
        if take("(") {
            let terms = try sum()
            try expect(")", "to close the '(' at character \(start + 1)")
            return .sum(terms)
        }
        let name = word()
        guard !name.isEmpty else {
            let found = position < characters.count ? "'\(characters[position])'" : "the end"
            throw fault("an adapter's name is wanted here, or base, or '(', not \(found)")
        }
        if ["ties", "dare", "majority"].contains(name), take("(") { return try merge(name) }
        if name == "score", take("(") { throw fault("score(...) stands alone: it adds predictions, not values", start) }
        if name == "base" { return .base }
        let pin = try pin()
        let reference = pin.map { "\(name)@\($0)" } ?? name
        guard (try? AdapterReference(reference)) != nil else {
            throw fault(
                "'\(reference)' is no name of an adapter (1 to 64 of a-z, 0-9, '.', '_', '-', a letter or digit first)"
                    + (AdapterName.isValid(reference.lowercased()) ? "; did you mean \(reference.lowercased())?" : ""), start)
        }
        return .adapter(reference)
    }

    private mutating func merge(_ name: String) throws(RecipeError) -> Recipe.Factor {
        var arguments: [Recipe.Term] = []
        repeat {
            skipBlanks()
            let start = position
            let terms = try sum()
            let argument = terms.count == 1 ? terms[0] : Recipe.Term(weight: 1, factor: .sum(terms), blocks: nil, position: start)
            guard argument.weight > 0 else { throw fault("an argument's share in the mean is above 0", start) }
            arguments.append(argument)
        } while take(",")
        var rule = MergeRule.majority
        if name != "majority" {
            try expect(";", "and the share of the values to keep, as in \(name)(a,b;0.5)")
            let (at, kept) = try number("the share of the values to keep, such as 0.5,")
            guard kept > 0, kept <= 1 else { throw fault("the share of the values to keep is above 0 and at most 1", at) }
            rule = name == "ties" ? .ties(kept: kept) : .dare(kept: kept, seed: take(",") ? try seed() : 0)
        }
        try expect(")", "after the arguments of \(name)(")
        return .merge(rule, arguments)
    }

    private mutating func seed() throws(RecipeError) -> UInt64 {
        skipBlanks()
        let start = position
        guard word() == "seed", take("=") else { throw fault("only seed=NUMBER is known here", start) }
        skipBlanks()
        let at = position
        guard let seed = UInt64(word()) else { throw fault("a seed is a whole number from 0", at) }
        return seed
    }

    /// `@` and four to 64 hexadecimal digits; nothing is taken where blocks stand there.
    private mutating func pin() throws(RecipeError) -> String? {
        guard let digits = afterAt(), !isBlocks(digits) else { return nil }
        let start = position + 1
        position = start + digits.count
        guard (4...64).contains(digits.count), digits.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
            throw fault("after '@' comes a block (3), a range of blocks (0-3), or 4 to 64 hexadecimal digits of a digest", start)
        }
        return digits.lowercased()
    }

    private mutating func blocks() throws(RecipeError) -> ClosedRange<Int>? {
        guard let digits = afterAt() else { return nil }
        let start = position + 1
        position = start + digits.count
        let ends = digits.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard isBlocks(digits), let first = ends[0], let last = ends[ends.count - 1] else {
            throw fault("blocks are a number (3) or a range (0-3)", start)
        }
        guard first <= last else { throw fault("a range of blocks rises: \(last)-\(first)", start) }
        return first...last
    }

    /// The word behind an `@` that comes next; nothing is taken.
    private mutating func afterAt() -> String? {
        guard position < characters.count, characters[position] == "@" else { return nil }
        let start = position
        position += 1
        let found = word()
        position = start
        return found
    }

    private func isBlocks(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        let areNumbers = parts.allSatisfy { (1...3).contains($0.count) && $0.allSatisfy { ("0"..."9").contains($0) } }
        return areNumbers && (1...2).contains(parts.count)
    }

    // MARK: Characters

    private mutating func skipBlanks() {
        while position < characters.count, characters[position].isWhitespace { position += 1 }
    }

    private mutating func take(_ character: Character) -> Bool {
        let start = position
        skipBlanks()
        if position < characters.count, characters[position] == character {
            position += 1
            return true
        }
        position = start
        return false
    }

    private mutating func expect(_ character: Character, _ what: String) throws(RecipeError) {
        guard !take(character) else { return }
        skipBlanks()
        throw fault("'\(character)' is missing \(what)")
    }

    /// As many characters of names, digests and numbers as come; may be empty.
    private mutating func word() -> String {
        let start = position
        while position < characters.count, isOfName(characters[position]) { position += 1 }
        return String(characters[start..<position])
    }

    private func isOfName(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || "._-".contains(character))
    }

    private mutating func number(_ what: String) throws(RecipeError) -> (position: Int, value: Double) {
        skipBlanks()
        let start = position
        guard let value = decimal(word()) else { throw fault("\(what) is wanted here", start) }
        return (start, value)
    }

    /// Digits with a point, or an exponent; no sign, no infinity.
    private func decimal(_ text: String) -> Double? {
        text.wholeMatch(of: /([0-9]+\.?[0-9]*|\.[0-9]+)(e-?[0-9]{1,3})?/) == nil ? nil : Double(text)
    }

    private func fault(_ reason: String, _ at: Int? = nil) -> RecipeError {
        RecipeError(text: text, position: at ?? position, reason: reason)
    }
}
