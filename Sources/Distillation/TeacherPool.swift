import Diffusion
import TensorMath

/// A teacher's trajectories in memory, from which batches are drawn: for every domain as many images, all made anew after some steps.
///
/// What is in it depends on the seed and the round alone, so a run that goes on in the middle of a round makes that round again.
final class TeacherPool {
    struct Settings {
        /// Images of each domain.
        var images: Int
        /// Steps of training that one filling serves.
        var stepsPerRound: Int
        /// Strengths that domains are drawn at, where there are several: the vector is to be added to blends as well.
        var strengths: ClosedRange<Float> = 0.7...1.1
    }

    /// The latents before a call, and where they are kept the guided outputs at it.
    struct State {
        var latents: [Matrix] = []
        var outputs: [Matrix] = []
    }

    let teacher: GuidedTeacher
    let plan: SamplingPlan
    let settings: Settings
    /// Calls that are kept, ascending; the number of calls stands for the result.
    let calls: [Int]
    /// By call; the images domain after domain.
    private(set) var states: [Int: State] = [:]
    /// The domains as strong as the teacher shows them in this round.
    private(set) var domains: [TeacherDomain] = []
    private let labels: [Int]
    private let seed: UInt64
    private var round: Int?

    /// - Parameter keepsOutputs: whether the guided outputs are kept too.
    init(_ teacher: GuidedTeacher, _ plan: SamplingPlan, keeping calls: [Int], keepsOutputs: Bool, settings: Settings, seed: UInt64) {
        (self.teacher, self.plan, self.settings, self.seed, self.calls) = (teacher, plan, settings, seed, calls.sorted())
        labels = teacher.domains.indices.flatMap { domain in
            let all = Array(teacher.labels(ofDomain: domain))
            return (0..<settings.images).map { all[$0 % all.count] }
        }
        for call in calls {
            let outputs = keepsOutputs && call < plan.evaluations
            let each = Memory.paddedCount(teacher.latentCount) + (outputs ? Memory.paddedCount(teacher.outputCount) : 0)
            let memory = Memory(capacity: labels.count * each)
            states[call] = State(
                latents: labels.map { _ in memory.take(teacher.latentCount) }, outputs: outputs ? labels.map { _ in memory.take(teacher.outputCount) } : [])
        }
    }

    /// Holds what a step of training draws from.
    func fill(forStep step: Int) {
        let wanted = step / settings.stepsPerRound
        guard wanted != round else { return }
        round = wanted
        let draws = Philox(seed: seed, stream: 11 << 58 | UInt64(wanted))
        let (least, most) = (settings.strengths.lowerBound, settings.strengths.upperBound)
        domains = teacher.domains.indices.map {
            teacher.install(domain: $0, strength: teacher.domains.count == 1 ? 1 : least + (most - least) * draws.uniform(UInt64($0)))
        }
        let states = states, first = 1 << 40 + wanted * labels.count
        if calls == [0] {
            // Of noise alone no call is needed.
            for (image, latent) in (states[0]?.latents ?? []).enumerated() { Philox(seed: seed, stream: UInt64(first + image)).normals(into: latent) }
            return
        }
        teacher.sample(plan, labels: labels, seed: seed, from: first) { call, image, latent in
            states[call]?.latents[image].copy(from: latent)
        } onOutput: { call, image, output in
            guard let state = states[call], !state.outputs.isEmpty else { return }
            state.outputs[image].copy(from: output)
        }
    }

    /// Class row of an image in its domain's table.
    func classRow(_ image: Int) -> Int { labels[image] - teacher.labels(ofDomain: image / settings.images).lowerBound }
}
