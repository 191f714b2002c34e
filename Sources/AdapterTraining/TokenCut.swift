import AdapterFormat
import DiTModel
import Foundation

/// Which share of the tokens passes by which blocks, and for how long: "route:0.3@[2,L-2]" routes 30 % of each image's tokens
/// around blocks 2 up to, but not with, the last two. The last 30 % of the steps see every token everywhere, since that is
/// what sampling will do.
package struct TokenCut: Sendable, Hashable {
    package let share: Double
    package let blocks: Range<Int>
    /// Share of the steps with routing.
    package static let routedSteps = 0.7

    /// Reads "none", "route:SHARE" (blocks 2 ..< L-2) or "route:SHARE@[FROM,TO]", where TO may be written L-2.
    /// - Returns: nil for "none".
    package static func read(_ text: String, _ configuration: DiTConfiguration) throws -> TokenCut? {
        if text == "none" { return nil }
        let fault = TrainingError.tokenCut(text, depth: configuration.depth)
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts[0].hasPrefix("route:"), let share = Double(parts[0].dropFirst(6)), (0..<1).contains(share), parts.count <= 2 else { throw fault }
        let depth = configuration.depth
        var bounds = ["2", "L-2"]
        if parts.count == 2 {
            guard parts[1].hasPrefix("["), parts[1].hasSuffix("]") else { throw fault }
            bounds = parts[1].dropFirst().dropLast().split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        let numbers = bounds.compactMap { $0 == "L" ? depth : $0.hasPrefix("L-") ? Int($0.dropFirst(2)).map { depth - $0 } : Int($0) }
        guard bounds.count == 2, numbers.count == 2, numbers[0] >= 0, numbers[0] < numbers[1], numbers[1] <= depth else { throw fault }
        return TokenCut(share: share, blocks: numbers[0]..<numbers[1])
    }

    /// The route of a network; nil where the share is less than one token.
    package func route(_ configuration: DiTConfiguration) -> TokenRoute? {
        let cut = min(configuration.tokens - 1, Int((share * Double(configuration.tokens)).rounded()))
        return cut == 0 ? nil : TokenRoute(blocks: blocks, kept: configuration.tokens - cut)
    }

    /// The tokens of one image that are kept, ascending: any set alike, a function of the image's draws alone.
    package static func kept(_ count: Int, of tokens: Int, draws: (Int) -> Float) -> [Int] {
        let order = (0..<tokens).map { (draws($0), $0) }.sorted { $0 < $1 }
        return order.prefix(count).map(\.1).sorted()
    }
}
