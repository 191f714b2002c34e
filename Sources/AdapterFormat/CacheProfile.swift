/// At which network calls an adapter's blocks must run, and between which they may be extrapolated: measured once per adapter
/// (`adapterctl calibrate`) and valid for it alone.
package struct CacheProfile: Sendable, Hashable, Codable {
    /// "balanced" or "fast".
    package var level: String
    package var sampler: String
    package var steps: Int
    /// A digit per network call: 1 runs the blocks, 0 extrapolates.
    package var calls: String
    /// Largest relative error of an extrapolated residual that was let pass.
    package var tolerance: Double
    /// Median of the paired peak signal-to-noise ratio against sampling without a cache, in dB, and over how many images.
    package var psnr: Double
    package var images: Int

    package init(level: String, sampler: String, steps: Int, calls: [Bool], tolerance: Double, psnr: Double, images: Int) {
        self.level = level
        self.sampler = sampler
        self.steps = steps
        self.calls = String(calls.map { $0 ? "1" : "0" })
        self.tolerance = tolerance
        self.psnr = psnr
        self.images = images
    }

    /// Whether each network call runs the blocks.
    package var runs: [Bool] { calls.map { $0 == "1" } }
    package var runCount: Int { calls.count { $0 == "1" } }
}
