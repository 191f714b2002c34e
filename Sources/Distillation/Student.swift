import AdapterFormat
import AdapterTraining
import DiTModel
import DiTPipeline
import Diffusion
import TensorMath

/// A vector in training as the network reads it: laid over a domain's, base + (domain - base) + (values - base), with the domain's classes.
/// A domain's difference is one from its own base, which is another where a sparse base learns from a dense one.
/// The gradient of the sum is the gradient of the values.
final class Student {
    /// What the network reads.
    let tunables: Tunables
    private let vector: Matrix
    private let classTable: Matrix
    private let origin: [Float]
    let layout: TunableLayout

    /// - Parameters:
    ///   - origin: the values of the domains' base.
    ///   - layout: of the values in training.
    ///   - classRows: of the largest class table.
    init(_ base: BaseFile, origin: TunableVector, layout: TunableLayout, classRows: Int) {
        let width = base.classes.width
        let memory = Memory(capacity: Memory.paddedCount(layout.count) + Memory.paddedCount(classRows * width))
        vector = memory.take(layout.count)
        classTable = memory.take(classRows, width)
        tunables = Tunables(layout, values: vector, classTable: classTable)
        self.origin = origin.values
        self.layout = layout
    }

    /// - Parameter values: in layout order.
    func lay(_ values: Matrix, over domain: TeacherDomain) {
        let count = domain.vector.values.count
        vector.copy(from: values)
        vector.withMutableSpan { shown in
            for i in 0..<count { shown[i] += domain.vector.values[i] - origin[i] }
        }
        classTable.values(0..<domain.classes.values.count).copy(from: domain.classes.values)
    }

    /// What is shown now as a vector.
    var shown: TunableVector { TunableVector(vector.array, layout: layout) }
}

/// The student's own sampling of a few images of every domain, one row each, beside what the teacher made of the same noise: what a run
/// is measured on, and its sample sheets.
final class StudentSampling {
    let truth: [Matrix]
    let perDomain: Int
    private let base: BaseFile
    private let teacher: GuidedTeacher
    private let plan: SamplingPlan
    private let labels: [Int]
    private let seed: UInt64
    private static let first = 1 << 41

    /// - Parameters:
    ///   - plan: the student's.
    ///   - perDomain: images of each domain.
    init(_ base: BaseFile, _ teacher: GuidedTeacher, teacherPlan: SamplingPlan, _ plan: SamplingPlan, perDomain: Int, seed: UInt64) {
        (self.base, self.teacher, self.plan, self.perDomain, self.seed) = (base, teacher, plan, perDomain, seed)
        labels = teacher.domains.indices.flatMap { domain in
            let all = Array(teacher.labels(ofDomain: domain))
            return (0..<perDomain).map { all[$0 % all.count] }
        }
        let memory = Memory(capacity: labels.count * Memory.paddedCount(teacher.latentCount))
        let truth = labels.map { _ in memory.take(teacher.latentCount) }
        for domain in teacher.domains.indices { teacher.install(domain: domain, strength: 1) }
        teacher.sample(teacherPlan, labels: labels, seed: seed, from: Self.first) { call, image, latent in
            if call == teacherPlan.evaluations { truth[image].copy(from: latent) }
        }
        self.truth = truth
    }

    /// Pictures of the values in training, in the order of `truth`.
    /// - Parameter values: one vector, or one for each step of the plan.
    func sample(_ model: DiT, _ values: TrainableValues, layout: TunableLayout, pool: ThreadPool) throws -> [Matrix] {
        let rows = teacher.domains.reduce(base.classes.rows) { max($0, $1.classes.rows) }
        let student = Student(base, origin: teacher.base.vector, layout: layout, classRows: rows)
        let vectors = Array(values.vectors.prefix(plan.evaluations))
        let slots = AdapterSlots(base.layout, count: vectors.count, classRows: rows)
        let batch = GuidedBatch(try InferenceDiT(model), adapterSlots: slots, rows: perDomain, pool: pool)
        var finished: [Matrix] = []
        for (index, domain) in teacher.domains.enumerated() {
            for (slot, vector) in vectors.enumerated() {
                student.lay(vector, over: domain)
                slots.install(student.shown, domain.classes, slot: slot)
            }
            let images = (index * perDomain)..<((index + 1) * perDomain), first = teacher.labels(ofDomain: index).lowerBound
            let states = images.map { SamplerState(plan, count: batch.latentCount, seed: seed, image: UInt64(Self.first + $0)) }
            for call in 0..<plan.evaluations {
                let slot = min(call, vectors.count - 1)
                let outputs = batch.predict(
                    zip(images, states).map { image, state in
                        GuidedBatch.Image(
                            state.latent, time: state.embedderTime,
                            GuidedPrediction(slot: slot, classRow: labels[image] - first, of: domain.classes))
                    })
                for (state, output) in zip(states, outputs) { state.advance(output) }
            }
            finished += states.map(\.latent)
        }
        return finished
    }

    /// Paired peak signal-to-noise ratio of each image against the teacher's, in dB.
    func psnrs(_ images: [Matrix]) -> [Double] {
        zip(truth, images).map { peakSignalToNoise($0.array, $1.array, isPixels: teacher.clips) }
    }
}
