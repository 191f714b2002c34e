import AdapterComposer
import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation

/// How recipes read, for the help of every verb that takes one.
let recipeHelp = """
    A recipe: 0.7*flowers+0.3*art   weighted differences from the base; a minus sign after a name needs a space before it
              flowers@0-3+art@4-7   blocks of one, blocks of another (@3 is one block; four or more digits after @ are a digest's)
              ties(a,b;0.5)  dare(a,b;0.5,seed=1)  majority(a,b,c)   means that keep a share of each, or what half of them moved
    For sampling also: flowers>0.6>art   the second from that fraction of the steps on
              score(0.5*flowers+0.5*art)   predictions are added at each step, not values
    Classes of several domains are named flowers/rose; rose alone will do where only one has it.
    """

struct Compose: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make one adapter of several and store it.",
        discussion: "Example: adapterctl compose garden '0.7*flowers+0.3*art'\n\n" + recipeHelp)
    @Argument(help: "The new adapter's name.") var name: String
    @Argument(help: "What to make it of.") var recipe: String
    @Option(help: "Take the class names of this one of them alone.") var labelsFrom: String?
    @Option(help: "How far from the base: 0 is the base, 1 the recipe itself.") var strength = 1.0
    @Option(help: "The base, where the store has several and the recipe names no adapter.") var base: String?
    @Flag(help: "Let the name stand for this content from now on.") var replace = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let summary: AdapterSummary
        let recipe: String
        let parents: [String]
        let composeSeconds: Double
    }

    func run() throws {
        let name = try AdapterName(name).description
        let store = try location.open()
        let kitchen = try RecipeStore(store, Recipe(recipe).scaled(by: checkedStrength(strength)), base: base)
        let start = ContinuousClock.now
        Progress.begin("composing")
        var adapter = try kitchen.adapter(labelsFrom: labelsFrom)
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        adapter.manifest.created = Date.now.formatted(.iso8601)
        // One part alone is that adapter, which brings its own.
        let outcome = try store.add(&adapter, as: name, over: kitchen.base, replace: replace)
        let entry = try store.lookup(name)
        let result = Result(
            summary: AdapterSummary(entry), recipe: kitchen.canonical.text, parents: (adapter.manifest.parents ?? []).map(\.description),
            composeSeconds: seconds)
        try output.report("compose", result) {
            let what = "\(entry.digest.short), \(readable(bytes: entry.storedBytes)), \(entry.classCount, "class"), composed in \(readable(seconds: seconds))"
            return outcome == .unchanged ? "\(name) is already \(entry.digest.short): nothing to do" : "\(name) is \(what)"
        }
    }
}

/// A recipe with its base and its adapters found in a store.
struct RecipeStore {
    let base: BaseFile
    let composing: ComposingBase
    let canonical: CanonicalRecipe

    /// - Parameter base: the base's name or digest, else that of the recipe's first adapter, else the only one.
    init(_ store: AdapterStore, _ recipe: Recipe, base: String?) throws {
        let base = try store.baseFile(of: recipe, base)
        composing = ComposingBase(base)
        canonical = try CanonicalRecipe(recipe, over: composing) { try store.adapter($0, of: base) }
        self.base = base
    }

    func adapter(labelsFrom: String? = nil) throws -> Adapter { try canonical.oneVector().adapter(over: composing, labelsFrom: labelsFrom) }
}

func checkedStrength(_ strength: Double) throws -> Double {
    guard (-100...100).contains(strength) else { throw Failure.usage("--strength is between -100 and 100, not \(strength)") }
    return strength
}
