import AdapterFormat
import Diffusion

extension SolverProfile {
    /// What the teacher was guided by; nil where it is none that is known.
    package var imageGuidance: ImageGuidance? {
        guard let kind = GuidanceKind(rawValue: guidance), guidanceInterval.count == 2, guidanceInterval[0] <= guidanceInterval[1] else { return nil }
        return ImageGuidance(kind, scale: Float(guidanceScale), interval: guidanceInterval[0]...guidanceInterval[1])
    }

    package init(
        _ solver: FittedSolver, guidance: ImageGuidance, family: SolverStepFit.Family, teacher: SamplingPlan, psnr: Double, images: Int
    ) {
        let steps = solver.steps
        self.init(
            times: steps.map(\.time), x: steps.map(\.x), m: steps.map(\.m), m1: steps.map(\.m1), startScale: solver.start?.scale,
            startShift: solver.start?.shift, guidance: guidance.kind.rawValue, guidanceScale: Double(guidance.scale),
            guidanceInterval: [guidance.interval.lowerBound, guidance.interval.upperBound], family: family.rawValue,
            teacherSampler: teacher.sampler.rawValue, teacherSteps: teacher.steps, psnr: psnr, images: images)
    }
}

extension FittedSolver {
    /// Of a profile's lists, the shortest says how many steps there are.
    package init(_ profile: SolverProfile) {
        let count = min(profile.times.count, profile.x.count, profile.m.count, profile.m1.count)
        self.init(
            steps: (0..<count).map { Step(time: profile.times[$0], x: profile.x[$0], m: profile.m[$0], m1: profile.m1[$0]) },
            start: profile.startScale.map { Start(scale: $0, shift: profile.startShift ?? [0]) })
    }
}
