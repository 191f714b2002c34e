import AdapterComposer
import Testing

@Suite struct GrammarTests {
    private let domains = Domains()

    /// Different spellings of one thing have one canonical text and digest.
    @Test(arguments: [
        ("0.7*birds+0.3*art", "0.3*art+0.7*birds"), ("0.7*birds+0.3*art", " .3 * art + 7e-1*birds "), ("birds - art", "birds+-1*art"),
        ("-art+birds", "birds - 1*art"), ("2*(birds+art)", "2*art+2*birds"), ("birds+base", "birds"), ("0.5*birds+0.5*birds", "1*birds"),
        ("birds@0-3", "birds"), ("birds@0-1+birds@2-3", "birds"), ("birds@2", "birds@2-2"), ("(birds@0-2)@2-3", "birds@2"),
        ("0.1*art+0.2*art+0.7*art", "0.7*art+0.1*art+0.2*art"), ("ties(art,birds;0.5)", "ties( birds , art ; .5 )"),
        ("dare(art,birds;0.5)", "dare(birds,art;0.5,seed=0)"), ("majority(cars,birds,art)", "majority(art,birds,cars)"),
        ("score(0.5*birds+0.5*art)", "score(0.5*art+0.5*birds)"), ("score(birds)", "birds"), ("score(0.5*art+0.5*art)", "art"),
        ("score(2*art - birds)", "score(-birds+2*art)"), ("art>0.50>birds", "art > .5 > 1*birds"),
        ("ties(art+birds,cars;1)", "ties(cars,(birds+art);1)"), ("base", "base+base"), ("3*base", "base"),
    ])
    func oneMeaningHasOneText(_ one: String, _ other: String) throws {
        let (a, b) = try (domains.canonical(one), domains.canonical(other))
        #expect(a.text == b.text)
        #expect(a.digest == b.digest)
    }

    @Test(arguments: [
        ("birds", "art"), ("birds@0-1", "birds@0-2"), ("ties(art,birds;0.5)", "ties(art,birds;0.6)"), ("birds", "birds+0*art"),
        ("dare(art,birds;0.5,seed=1)", "dare(art,birds;0.5,seed=2)"), ("score(0.5*art+0.5*birds)", "0.5*art+0.5*birds"),
        ("art>0.5>birds", "art>0.6>birds"), ("art>0.5>birds", "birds>0.5>art"), ("majority(art,birds)", "ties(art,birds;1)"),
    ])
    func twoMeaningsHaveTwo(_ one: String, _ other: String) throws {
        #expect(try domains.canonical(one).digest != domains.canonical(other).digest)
    }

    /// The canonical text is a recipe of the same meaning.
    @Test(arguments: [
        "0.7*birds - 0.3*art+1e-07*cars", "birds@0-1 - art@2-3", "ties(0.5*art@1,birds+cars;0.25)+2*cars", "score(1.5*art - 0.5*birds@1)>0.25>cars",
        "dare(art,majority(birds,cars);0.5,seed=18446744073709551615)", "0*art", "score(0.5*(art+birds)+0.5*base)", "art@1-2+art@0+art@3+birds@0",
    ])
    func theCanonicalTextReadsBack(_ text: String) throws {
        let canonical = try domains.canonical(text)
        #expect(try domains.canonical(canonical.text).text == canonical.text)
    }

    @Test func randomRecipesReadBack() throws {
        var dice = Dice(state: 3)
        for _ in 0..<300 {
            let text = randomRecipe(&dice, depth: 0)
            let canonical = try domains.canonical(text)
            #expect(try domains.canonical(canonical.text).digest == canonical.digest, "\(text)")
        }
    }

    private func randomRecipe(_ dice: inout Dice, depth: Int) -> String {
        let terms = (0..<(1 + dice.below(3))).map { _ -> String in
            let weight = ["", "0.5*", "2*", "1e-3*", "0*"][dice.below(5)]
            let blocks = ["", "", "@1", "@0-2", "@2-3"][dice.below(5)]
            let kind = depth > 2 ? 0 : dice.below(6)
            let inner = { (dice: inout Dice) in randomRecipe(&dice, depth: depth + 1) }
            switch kind {
            case 1: return weight + "(" + inner(&dice) + ")" + blocks
            case 2: return weight + "ties((" + inner(&dice) + "), art;0.5)" + blocks
            case 3: return weight + "majority(2*cars,(" + inner(&dice) + "))" + blocks
            default: return weight + ["art", "birds", "cars", "base"][dice.below(4)] + blocks
            }
        }
        return terms.joined(separator: [" + ", " - ", "+-"][dice.below(3)])
    }

    @Test(
        arguments: [
            ("", 0, "name is wanted"), ("birds+", 6, "the end"), ("birds+*art", 6, "'*'"), ("birds art", 6, "'a' is not expected"),
            ("0.7*", 4, "the end"), ("birds-0.3*art", 0, "space before a minus"), ("1.3*birds-0.3*art", 13, "space before a minus"),
            ("x*art", 0, "'x' is no number"), ("(birds", 6, "'(' at character 1"),
            ("birds@", 6, "after '@'"), ("birds@xyz", 6, "after '@'"), ("birds@3-1", 6, "rises"), ("birds@12ab@0-99999", 11, "blocks are"),
            ("ties(birds,art)", 14, "';' is missing"), ("ties(birds;2)", 11, "at most 1"), ("ties(birds;x)", 11, "share of the values"),
            ("dare(birds;0.5,side=1)", 15, "seed=NUMBER"), ("dare(birds;0.5,seed=-1)", 20, "whole number"), ("majority(-1*birds)", 9, "above 0"),
            ("birds>1.5>art", 6, "below 1"), ("birds>0.6", 9, "'>' is missing"), ("birds>0.6>", 10, "the end"), ("a>0.6>b>0.5>c", 8, "rises"),
            ("score(birds", 11, "')' is missing"), ("1+score(birds)", 2, "stands alone"), ("1001*birds", 0, "at most 1000"),
            ("Birds", 0, "no name"), ("bi rds", 3, "'r' is not expected"), ("birds@abcd@ef01", 11, "blocks are"), ("1e999*birds", 0, "at most 1000"),
            ("2**birds", 2, "'*'"), ("nan*birds", 0, "no number"), ("flöwers", 2, "not expected"), (String(repeating: "(", count: 40), 16, "16 levels"),
        ] as [(String, Int, String)])
    func aFaultIsShownAtItsCharacter(_ text: String, _ position: Int, _ words: String) {
        let error = #expect(throws: RecipeError.self) { try Recipe(text) }
        #expect(error?.position == position, "\(error.map { "\($0)" } ?? "")")
        #expect(error?.reason.contains(words) == true, "\(error.map { "\($0)" } ?? "")")
    }

    @Test func theMarkStandsUnderTheFault() throws {
        let error = #expect(throws: RecipeError.self) { try Recipe("birds+*art") }
        let lines = try #require(error).description.split(separator: "\n")
        #expect(lines[1] == "  birds+*art")
        #expect(lines[2] == "        ^")
    }

    @Test func aListIsASchedule() throws {
        func recipe(_ schedule: [(Double, String)]) throws(RecipeError) -> Recipe {
            try Recipe(schedule: schedule.map { Recipe.Scheduled(share: $0.0, recipe: $0.1) })
        }
        let list = try recipe([(0.25, "art"), (0.5, "birds"), (0.25, "score(0.5*art+0.5*birds)")])
        let canonical = try CanonicalRecipe(list, over: domains.base, resolve: domains.resolve)
        #expect(try canonical.text == domains.canonical("art>0.25>birds>0.75>score(0.5*art+0.5*birds)").text)
        for schedule in [[(0.5, "art")], [(0.5, "art"), (0.6, "birds")], [(1, "art>0.5>birds")], [(0, "art"), (1, "art")], []] {
            #expect(throws: RecipeError.self) { try recipe(schedule) }
        }
    }

    @Test func whatTheBaseDoesNotHaveIsRefused() {
        #expect(throws: ComposerError.noSuchBlock(block: 4, depth: 4)) { try domains.canonical("art@0-4") }
        #expect(throws: ComposerError.scoreWeights(sum: 1.5)) { try domains.canonical("score(art+0.5*birds)") }
        #expect(throws: ComposerError.self) { try domains.compose("art>0.5>birds") }
        #expect(throws: Domains.Unknown.self) { try domains.canonical("art+nobody") }
    }
}
