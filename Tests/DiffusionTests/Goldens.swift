import Foundation

/// A recorded file of `Tests/Goldens`.
func golden(_ name: String, from file: String = #filePath) -> String {
    URL(fileURLWithPath: file).deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Goldens/\(name)").path
}

/// |a - b| within `tolerance` of the size of b, or of `floor` where b is near 0.
func isClose(_ a: Double, _ b: Double, _ tolerance: Double, floor: Double = 0) -> Bool {
    abs(a - b) <= tolerance * max(abs(b), floor)
}

/// Largest |a - b| over the largest |b|.
func relativeError(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    let largest = b.map { abs(Double($0)) }.max() ?? 1
    return zip(a, b).map { abs(Double($0) - Double($1)) / largest }.max() ?? 0
}
