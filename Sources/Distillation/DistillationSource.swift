import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import ImageFiles
import TensorMath

/// What every distillation has in common: a pool of the teacher's trajectories, the student laid over one domain a batch, and a few
/// images that it is measured on.
package class DistillationSource {
    package let base: BaseFile
    package let teacher: GuidedTeacher
    let pool: TeacherPool
    let student: Student
    let measured: StudentSampling
    let settings: TrainingSettings
    let classRows: Int

    /// Images of each domain that a run is measured on.
    static let measuredImages = 4

    /// - Parameter plan: the student's sampling.
    init(
        _ base: BaseFile, _ teacher: GuidedTeacher, layout: TunableLayout, settings: TrainingSettings, pool: TeacherPool, plan: SamplingPlan
    ) {
        (self.base, self.teacher, self.settings, self.pool) = (base, teacher, settings, pool)
        classRows = teacher.domains.reduce(1) { max($0, $1.classes.rows) }
        student = Student(base, origin: teacher.base.vector, layout: layout, classRows: classRows)
        measured = StudentSampling(
            base, teacher, teacherPlan: pool.plan, plan, perDomain: Self.measuredImages * (teacher.domains.count == 1 ? 8 : 1), seed: settings.seed)
    }

    package var convention: DiffusionConvention { teacher.convention }
    package var summary: String { "guided images of \(teacher.domains.map(\.name).joined(separator: ", "))" }
    package var digest: Digest {
        let domains = teacher.domains.map { "\($0.digest)" }.joined(separator: " ")
        let plan = pool.plan.rules.map { "\($0.time)" }.joined(separator: " ")
        return Digest(of: Data("\(domains) \(teacher.guidance) \(plan) \(pool.calls) \(pool.settings)".utf8))
    }
    package var shown: (name: String, value: String) { ("the teacher", "\(summary), \(teacher.guidance), \(pool.plan.steps) steps of \(pool.plan.sampler)") }
    package var imageCount: Int { teacher.domains.count * pool.settings.images }
    package var classNames: [String] { [] }
    package var classCount: Int { classRows - 1 }
    package var hasHeldOut: Bool { true }
    package var facts: any Encodable {
        DistillationFacts(
            summary: summary, digest: digest, domains: teacher.domains.map { .init(name: $0.name, digest: $0.digest) }, guidance: "\(teacher.guidance)",
            teacherSampler: pool.plan.sampler.rawValue, teacherSteps: pool.plan.steps, imagesPerDomain: pool.settings.images,
            stepsPerRound: pool.settings.stepsPerRound)
    }

    /// The domain of a step's batch, and the images of the pool that it draws from.
    func domain(step: Int) -> (index: Int, images: Range<Int>) {
        let count = teacher.domains.count
        let index = min(count - 1, Int(Philox(seed: settings.seed, stream: 12 << 58 | UInt64(step)).uniform(0) * Float(count)))
        return (index, (index * pool.settings.images)..<((index + 1) * pool.settings.images))
    }

    /// Lays values over the domain of a step, as strong as its teacher was.
    func lay(_ values: Matrix, over domain: Int) { student.lay(values, over: pool.domains[domain]) }

    /// The geometric mean over the images of the mean squared error against the teacher's finished images, as the mean of PSNRs goes by.
    package func heldOutError(_ model: DiT, _ values: TrainableValues, pool: ThreadPool) throws -> Float {
        let images = try measured.sample(model, values, layout: layout, pool: pool)
        let sum = zip(measured.truth, images).reduce(0.0) { $0 + log(squaredDistance($1.0, $1.1) / Double($1.0.count) + .leastNormalMagnitude) }
        return Float(exp(sum / Double(images.count)))
    }

    /// The teacher's pictures above the student's of the same noise.
    package func sheet(_ model: DiT, _ values: TrainableValues, layout: TunableLayout, pool: ThreadPool) throws -> RGBImage? {
        guard model.configuration.inChannels == 3 else { return nil }
        let images = try measured.sample(model, values, layout: layout, pool: pool)
        let count = min(images.count, 16), places = (0..<count).map { $0 * images.count / count }
        let side = model.configuration.inputSize
        return contactSheet(
            (places.map { measured.truth[$0] } + places.map { images[$0] }).map { RGBImage($0.array, side: side, halvesUp: false) }, columns: count)
    }

    /// Of the values in training.
    var layout: TunableLayout { student.layout }
}

/// What `data.json` says of a teacher.
private struct DistillationFacts: Encodable {
    let summary: String
    let digest: Digest
    let domains: [DistillationRecord.Domain]
    let guidance, teacherSampler: String
    let teacherSteps, imagesPerDomain, stepsPerRound: Int

    enum CodingKeys: String, CodingKey {
        case summary, digest, domains, guidance
        case teacherSampler = "teacher_sampler"
        case teacherSteps = "teacher_steps"
        case imagesPerDomain = "images_per_domain"
        case stepsPerRound = "steps_per_round"
    }
}
