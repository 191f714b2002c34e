/// A sampler of few steps that was fitted to one adapter's guided sampling (`adapterctl fit`) and is valid for it alone
/// (`DiffFit.md`, "Fitted solver").
package struct SolverProfile: Sendable, Hashable, Codable {
    /// t of each network call, in the unit of the base's path.
    package var times: [Double]
    /// Per step, the next latent's shares of the latent, of the data as this call predicts them, and as the call before did.
    package var x, m, m1: [Double]
    /// The jump from noise to the first latent, scale z + shift (per channel), where that is not at the path's beginning.
    package var startScale: Double?
    package var startShift: [Double]?
    /// What the teacher was guided by, as a request says it: kind, scale, and between which noise levels.
    package var guidance: String
    package var guidanceScale: Double
    package var guidanceInterval: [Double]
    /// "free" or "consistent": how many of the coefficients were fitted.
    package var family: String
    package var teacherSampler: String
    package var teacherSteps: Int
    /// Median of the paired peak signal-to-noise ratio against the teacher over held-out images, in dB, and over how many images the
    /// coefficients were fitted.
    package var psnr: Double
    package var images: Int

    package var steps: Int { times.count }
    /// Whether every step has its coefficients.
    package var isWhole: Bool { [x, m, m1].allSatisfy { $0.count == times.count } }

    enum CodingKeys: String, CodingKey {
        case times, x, m, m1, guidance, family, psnr, images
        case startScale = "start_scale"
        case startShift = "start_shift"
        case guidanceScale = "guidance_scale"
        case guidanceInterval = "guidance_interval"
        case teacherSampler = "teacher_sampler"
        case teacherSteps = "teacher_steps"
    }

    package init(
        times: [Double], x: [Double], m: [Double], m1: [Double], startScale: Double?, startShift: [Double]?, guidance: String, guidanceScale: Double,
        guidanceInterval: [Double], family: String, teacherSampler: String, teacherSteps: Int, psnr: Double, images: Int
    ) {
        self.times = times
        (self.x, self.m, self.m1) = (x, m, m1)
        (self.startScale, self.startShift) = (startScale, startShift)
        (self.guidance, self.guidanceScale, self.guidanceInterval) = (guidance, guidanceScale, guidanceInterval)
        self.family = family
        (self.teacherSampler, self.teacherSteps) = (teacherSampler, teacherSteps)
        (self.psnr, self.images) = (psnr, images)
    }
}
