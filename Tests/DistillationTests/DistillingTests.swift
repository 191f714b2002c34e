import AdapterComposer
import AdapterFormat
import AdapterStore
import AdapterTraining
import DiTModel
import Diffusion
import Distillation
import Foundation
import SamplingEngine
import TensorMath
import Testing

/// Distilling on a small random base of either path: identities, gradients by differences, and what a run leaves.
@Suite struct DistillingTests {
    private let folder = FileManager.default.temporaryDirectory.appending(path: "difffit-distilling-\(UUID())").path
    private let bases: [DiffusionPath: BaseFile]
    private let domains: [DiffusionPath: [TeacherDomain]]

    init() throws {
        let configuration = DiTConfiguration(
            inputSize: 8, patchSize: 2, inChannels: 3, hiddenSize: 32, depth: 2, numHeads: 2, numClasses: 2, learnSigma: false)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        func normals(_ count: Int, _ stream: UInt64, _ deviation: Float) -> [Float] {
            var values = [Float](repeating: 0, count: count)
            Philox(seed: 5, stream: stream).normals(into: &values)
            return values.map { $0 * deviation }
        }
        var bases: [DiffusionPath: BaseFile] = [:], domains: [DiffusionPath: [TeacherDomain]] = [:]
        for path in [DiffusionPath.rectifiedFlow, .vp] {
            let layout = TunableLayout(configuration), file = "\(folder)/\(path.rawValue).safetensors"
            let vector = zip(TunableVector.neutral(layout).values, normals(layout.count, 1, 0.05)).map { $0 + $1 }
            var stream: UInt64 = 10
            try BaseFile.write(
                to: file, configuration,
                card: BaseCard(
                    name: "small", prediction: path == .vp ? "epsilon" : "x0", path: path.rawValue, timeScale: path == .vp ? 1 : 1000,
                    classNames: ["a", "b"]),
                vector: TunableVector(vector, layout: layout), classes: ClassTable(names: ["a", "b"], values: normals(3 * 32, 2, 0.5)), as: .f32
            ) { name in
                stream += 1
                return normals(configuration.frozenTensors.first { $0.name == name }?.count ?? 0, stream, 0.15)
            }
            let base = try BaseFile(path: file)
            bases[path] = base
            domains[path] = (0..<2).map { number in
                TeacherDomain(
                    name: "domain \(number)", digest: Digest(of: Data("\(number)".utf8)),
                    vector: TunableVector(zip(vector, normals(layout.count, 3 + UInt64(number), 0.1)).map { $0 + $1 }, layout: layout),
                    classes: ClassTable(names: ["x", "y"], values: normals(3 * 32, 5 + UInt64(number), 0.8)))
            }
        }
        (self.bases, self.domains) = (bases, domains)
    }

    private func teacher(_ path: DiffusionPath, domains count: Int, scale: Float) throws -> GuidedTeacher {
        let base = try #require(bases[path]), own = try #require(domains[path])
        return try GuidedTeacher(base, Array(own.prefix(count)), guidance: ImageGuidance(.cfg, scale: scale), pool: ThreadPool(threads: 2))
    }

    private func settings(steps: Int = 4) -> TrainingSettings {
        var settings = TrainingSettings(steps: steps, batch: 4, seed: 3, learningRate: 1e-2)
        (settings.labelDropout, settings.warmup, settings.validationInterval) = (0, 1, 1000)
        return settings
    }

    /// First-order steps at every other of the teacher's times.
    private func solver(_ plan: SamplingPlan, _ path: DiffusionPath, every stride: Int = 1) -> FittedSolver {
        .firstOrder(times: Swift.stride(from: 0, to: plan.evaluations, by: stride).map { plan.rules[$0].time }, start: nil, on: path)
    }

    private func trajectory(
        _ path: DiffusionPath, domains: Int = 1, scale: Float, every stride: Int = 1, steps: Int = 4, lowRank: LowRank? = nil,
        _ objective: StepObjective = .trajectory, adversarial: Float = 0
    ) throws -> (source: StepSource, run: TrainingRun) {
        let base = try #require(bases[path]), teacher = try teacher(path, domains: domains, scale: scale)
        let plan = try SamplingPlan(path == .vp ? .ddim : .euler, steps: 4, teacher.convention, clips: teacher.clips)
        let source = try StepSource(
            base, teacher, layout: base.layout.over(lowRank), teacherPlan: plan, objective, adversarial: adversarial, solver: solver(plan, path, every: stride),
            settings: settings(steps: steps), pool: ThreadPool(threads: 2))
        let set = TrainableSet(lowRank == nil ? .difffit : .lora, base.configuration)
        return (source, try .distilling(settings(steps: steps), set, source, pool: ThreadPool(threads: 2)))
    }

    private func guidance(_ path: DiffusionPath, domains: Int = 1, scale: Float, steps: Int = 4) throws -> (source: GuidanceSource, run: TrainingRun) {
        let base = try #require(bases[path]), teacher = try teacher(path, domains: domains, scale: scale)
        let plan = try SamplingPlan(path == .vp ? .ddim : .euler, steps: 4, teacher.convention, clips: teacher.clips)
        let source = GuidanceSource(base, teacher, layout: base.layout, plan: plan, settings: settings(steps: steps))
        return (source, try .distilling(settings(steps: steps), TrainableSet(.difffit, base.configuration), source, pool: ThreadPool(threads: 2)))
    }

    /// A student that starts as an unguided teacher of the same steps has nothing to learn, alone or over several domains at any strength.
    @Test(arguments: [DiffusionPath.rectifiedFlow, .vp], [1, 2])
    func aStudentThatIsTheTeacherHasNoLoss(path: DiffusionPath, domains: Int) throws {
        // Of 192 values; sqrt(d^2 + c^2) - c is about d^2 / 2 c.
        #expect(try trajectory(path, domains: domains, scale: 1).run.advance() < 1e-3)
        #expect(try guidance(path, domains: domains, scale: 1).run.advance() < 1e-8)
        #expect(try trajectory(path, domains: domains, scale: 3).run.advance() > 1e-2)
        #expect(try guidance(path, domains: domains, scale: 3).run.advance() > 1e-3)
    }

    /// The slope of one batch's loss along a direction, by central differences, against the gradient: of every step's own vector.
    @Test(arguments: [DiffusionPath.rectifiedFlow, .vp], StepObjective.allCases)
    func gradientsAreTheDifferences(path: DiffusionPath, objective: StepObjective) throws {
        for update in 0..<2 {
            let (source, run) = try trajectory(path, scale: 3, every: 2, objective)
            try check(run, source, update: update)
        }
        if objective == .trajectory {
            let (source, run) = try guidance(path, scale: 3)
            try check(run, source, update: 0)
        }
    }

    /// Pictures of the last third of a run of reflow come from the student's own steps, half of them aimed at what the teacher says on its line.
    @Test(arguments: [DiffusionPath.rectifiedFlow, .vp]) func guidedFlowHasItsGradients(path: DiffusionPath) throws {
        for update in 0..<2 {
            let (source, run) = try trajectory(path, scale: 3, every: 2, .reflow)
            // The others' aims move with the student, and no gradient goes through them.
            try check(run, source, update: update, step: 3) { $0 % 2 == 0 }
        }
    }

    /// At the last step of an unguided teacher's own, every other image aims at the teacher's end, as told by the gradient, and the others
    /// at what the network says where the step's line has come so far.
    @Test func everyOtherImageAimsFromItsOwnLine() throws {
        let (source, run) = try trajectory(.rectifiedFlow, scale: 1, every: 4, .reflow)
        let memory = Memory(capacity: 16 * Memory.paddedCount(192)), output = memory.take(4, 192), slope = memory.take(192), point = memory.take(4, 192)
        let batch = source.batch(step: 3, update: 0, images: 0..<4, values: run.values, pool: run.pool)
        let labels = batch.classes, latents = (0..<4).map(batch.x.row)
        source.teacher.predict(latents, labels: labels, time: 0) { output.row($0).copy(from: $1) }
        let share = 0.2 + 0.6 * TrainingDraws(seed: 3, step: 3, image: 0).place
        var seen = [[Float]](repeating: [], count: 4)
        for image in 0..<4 {
            point.row(image).copy(from: zip(latents[image].array, output.row(image).array).map { (1 - share) * $0 + share * min(max($1, -1), 1) })
        }
        source.teacher.predict((0..<4).map(point.row), labels: labels, time: Double(share)) { seen[$0] = $1.array.map { min(max($0, -1), 1) } }
        for image in 0..<4 {
            let loss = batch.loss(image, output.row(image), 1, slope), root = loss + 0.00054 * Float(192).squareRoot()
            let inside = output.row(image).array.indices.filter { abs(output[image, $0]) < 1 }
            let apart = inside.map { abs(output[image, $0] - root * slope[0, $0] - seen[image][$0]) }.max() ?? 1
            #expect((apart < 1e-4) == (image % 2 == 1), "image \(image): \(apart)")
        }
    }

    /// The discriminator's loss against its gradient at the pictures, by differences, its weights as they were solved for; and what it is for:
    /// it tells two kinds of pictures apart, and following the gradient makes that harder.
    @Test(arguments: [DiffusionPath.rectifiedFlow, .vp]) func theDiscriminatorsGradientIsTheDifference(path: DiffusionPath) throws {
        let base = try #require(bases[path]), convention = try DiffusionConvention(base)
        let discriminator = try FeatureDiscriminator(base, convention: convention, images: 4, pool: ThreadPool(threads: 2))
        let memory = Memory(capacity: 32 * Memory.paddedCount(192)), gradients = memory.take(4, 192)
        func pictures(_ stream: UInt64, _ scale: Float) -> [Matrix] {
            (0..<4).map { image in
                let row = memory.take(192)
                Philox(seed: 4, stream: stream + UInt64(image)).normals(into: row)
                row.withMutableSpan { for i in $0.indices { $0[i] *= scale } }
                return row
            }
        }
        let (student, teacher, noise) = (pictures(0, 0.3), pictures(10, 0.8), pictures(20, 1))
        let time = path == .vp ? 300.0 : 0.7
        discriminator.solve(student: student, teacher: teacher, noise: noise, time: time)
        let before = discriminator.losses(count: 4, time: time, gradients: gradients)
        #expect(before.allSatisfy { $0 > 0.3 })
        let slopes = gradients.array, start = student.map(\.array)
        var direction = [Float](repeating: 0, count: 192)
        Philox(seed: 6, stream: 1).normals(into: &direction)
        func moved(_ length: Float) -> [Float] {
            for (row, start) in zip(student, start) { row.copy(from: zip(start, direction).map { $0 + length * $1 }) }
            discriminator.show(student, noise, time: time)
            return discriminator.losses(count: 4, time: time, gradients: gradients)
        }
        let (ahead, behind) = (moved(3e-3), moved(-3e-3))
        for image in 0..<4 {
            let difference = Double(ahead[image] - behind[image]) / 6e-3
            let slope = zip(slopes[(192 * image)...], direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            #expect(abs(difference - slope) < 0.02 * abs(slope) + 2e-4, "\(difference) against \(slope)")
        }
    }

    /// An adversarial share of nothing is the plain objective; with a share the batch pulls elsewhere, and it still learns.
    @Test func theAdversarialShareIsAdded() throws {
        func first(_ share: Float) throws -> [Float] {
            let run = try trajectory(.rectifiedFlow, scale: 3, every: 2, .consistency, adversarial: share).run
            try run.advance()
            return run.values.all.array
        }
        let plain = try first(0)
        #expect(try first(0) == plain)
        #expect(try first(0.5) != plain)
        let (source, run) = try trajectory(.rectifiedFlow, scale: 3, every: 2, steps: 40, .consistency, adversarial: 0.2)
        let before = try source.heldOutError(run.model, run.values, pool: run.pool)
        for _ in 0..<40 { try run.advance() }
        #expect(try source.heldOutError(run.model, run.average, pool: run.pool) < before)
    }

    private func check(_ run: TrainingRun, _ source: some TrainingSource, update: Int, step number: Int = 0, counting: @Sendable (Int) -> Bool = { _ in true })
        throws
    {
        let pool = ThreadPool(threads: 1), layout = run.layout
        let step = GradientStep(run.model, layout: layout, classes: source.classCount, trainsWeights: false, pool: pool, shards: 1)
        let losses = Memory(capacity: 16).take(4)
        func loss() -> Double {
            // Latents of a later step come from the steps before it.
            for earlier in 0...update {
                let batch = source.batch(step: number, update: earlier, images: 0..<4, values: run.values, pool: pool)
                step.run(x: batch.x, times: batch.times, classes: batch.classes, tunables: batch.tunables) { image, output, gradient in
                    losses[0, image] = batch.loss(image, output, 0.25, gradient)
                    guard !counting(image) else { return }
                    losses[0, image] = 0
                    gradient.fill(0)
                }
            }
            step.finish()
            return losses.array.reduce(0.0) { $0 + Double($1) } / 4
        }
        _ = loss()
        let gradient = Array(step.gradients.vector.array.prefix(layout.count)), start = run.values.vectors[update].array
        var direction = [Float](repeating: 0, count: layout.count)
        Philox(seed: 8, stream: UInt64(update)).normals(into: &direction)
        // At the noisy end of the VP path the data are 157 times the output, and clamped.
        let h: Float = source.convention.path == .vp ? 1e-4 : 7e-4
        func moved(_ length: Float) -> Double {
            run.values.vectors[update].copy(from: zip(start, direction).map { $0 + length * $1 })
            return loss()
        }
        let difference = (moved(h) - moved(-h)) / Double(2 * h)
        let slope = zip(gradient, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        #expect(abs(difference - slope) < 0.02 * abs(slope) + 2e-3, "\(difference) against \(slope)")
        let isMoving = abs(slope) > 1e-3
        #expect(isMoving)
    }

    /// Each update moves its own vector and nothing else; the class table stays the base's.
    @Test func onlyTheVectorsMove() throws {
        let (source, run) = try trajectory(.rectifiedFlow, scale: 3, every: 2, lowRank: LowRank(ranks: ["blocks.0.attn.qkv": 2], scale: 1))
        let before = run.values.vectors.map(\.array), table = run.values.classTable.array
        try run.advance()
        let pairs = source.base.layout.count..<run.layout.count
        for (vector, old) in zip(run.values.vectors, before) {
            #expect(vector.array[..<pairs.lowerBound] == old[..<pairs.lowerBound])
            #expect(vector.array[pairs] != old[pairs])
        }
        #expect(run.values.vectors[0].array != run.values.vectors[1].array)
        #expect(run.values.classTable.array == table)
        #expect(run.trainedValues == 2 * pairs.count)
    }

    /// A vector that has learned nothing leaves a domain its values to the last bit.
    @Test func anUntrainedVectorAddsNothing() throws {
        let (source, run) = try guidance(.rectifiedFlow, scale: 3)
        let base = source.base, domain = try #require(domains[.rectifiedFlow])[0]
        let record = DistillationRecord(role: .guidance, method: "regression", domains: [], guidance: "cfg", guidanceScale: 3, guidanceInterval: [0, 1])
        let vector = try run.writeDistilled(record, source, named: "guide", to: "\(folder)/guide.safetensors")
        let manifest = AdapterManifest(
            name: "domain", baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: TrainableSet(.difffit, base.configuration),
            classes: domain.classes.names, prediction: base.card.prediction, path: base.card.path)
        let adapters = ["domain": Adapter(manifest: manifest, vector: domain.vector, classes: domain.classes), "guide": vector]
        let sum = try CanonicalRecipe(Recipe("domain+guide"), over: ComposingBase(base)) { name in
            let adapter = try #require(adapters[name])
            return ResolvedAdapter(name: name, digest: adapter.digest, adapter: adapter)
        }.oneVector().adapter(over: ComposingBase(base))
        #expect(sum.vector.values.map(\.bitPattern) == domain.vector.values.map(\.bitPattern))
        #expect(sum.classes == domain.classes)
    }

    /// Stopped in the middle of a round of trajectories and taken up again, a run ends in the bytes of one that was not.
    @Test func aRunGoesOnAsIfItHadNotBeenStopped() throws {
        let whole = try trajectory(.rectifiedFlow, domains: 2, scale: 3, every: 2, steps: 20).run
        for _ in 0..<20 { try whole.advance() }
        let first = try trajectory(.rectifiedFlow, domains: 2, scale: 3, every: 2, steps: 20).run
        for _ in 0..<18 { try first.advance() }
        try first.save(to: "\(folder)/state.safetensors")
        let second = try trajectory(.rectifiedFlow, domains: 2, scale: 3, every: 2, steps: 20).run
        try second.restore(from: "\(folder)/state.safetensors")
        for _ in 0..<2 { try second.advance() }
        #expect(second.average.all.array == whole.average.all.array)
        #expect(throws: TrainingError.self) { try trajectory(.rectifiedFlow, scale: 3, every: 2, steps: 20).run.restore(from: "\(folder)/state.safetensors") }
    }

    /// It learns: the loss falls, and the finished pictures come nearer to the teacher's.
    @Test func itLearns() throws {
        let (source, run) = try guidance(.rectifiedFlow, scale: 3, steps: 60)
        let before = try source.heldOutError(run.model, run.values, pool: run.pool)
        for _ in 0..<60 { try run.advance() }
        let first = run.history.losses.prefix(5).reduce(0, +), last = run.history.losses.suffix(5).reduce(0, +)
        #expect(last < 0.7 * first)
        #expect(try source.heldOutError(run.model, run.average, pool: run.pool) < 0.8 * before)
    }

    private func distribution(scale: Float, steps: Int) throws -> (source: DistributionSource, run: TrainingRun) {
        let base = try #require(bases[.rectifiedFlow]), teacher = try teacher(.rectifiedFlow, domains: 1, scale: scale)
        let plan = try SamplingPlan(.euler, steps: 4, teacher.convention, clips: teacher.clips)
        var settings = settings(steps: steps)
        settings.learningRate = 1e-3
        let source = try DistributionSource(
            base, teacher, layout: base.layout, teacherPlan: plan, solver: solver(plan, .rectifiedFlow, every: 2), settings: settings)
        return (source, try .distilling(settings, TrainableSet(.difffit, base.configuration), source, pool: ThreadPool(threads: 2)))
    }

    /// Where the fake is the unguided teacher still, the two agree and nothing pulls; a guided teacher disagrees. The fake learns alone at
    /// first, then the student's later steps move too, and the first never.
    @Test func distributionsAreMatched() throws {
        let (source, run) = try distribution(scale: 3, steps: 16)
        func opinion(_ source: DistributionSource, _ run: TrainingRun, step: Int) -> (loss: Float, gradient: [Float]) {
            let batch = source.batch(step: step, update: 0, images: 0..<4, values: run.values, pool: run.pool)
            let memory = Memory(capacity: 1024), output = memory.take(192), gradient = memory.take(192)
            return (batch.loss(0, output, 1, gradient), gradient.array)
        }
        let same = try distribution(scale: 1, steps: 16)
        #expect(opinion(same.source, same.run, step: 15).loss < 1e-9)
        #expect(opinion(source, run, step: 15).loss > 1e-4)
        #expect(opinion(source, run, step: 0).gradient.allSatisfy { $0 == 0 })
        #expect(opinion(source, run, step: 15).gradient.contains { $0 != 0 })
        let start = run.values.vectors.map(\.array)
        for _ in 0..<12 { try run.advance() }
        #expect(run.values.vectors[0].array == start[0])
        #expect(run.values.vectors[1].array == start[1])
        #expect(run.values.vectors[2].array != start[2])
        for _ in 0..<4 { try run.advance() }
        #expect(run.values.vectors[0].array == start[0])
        #expect(run.values.vectors[1].array != start[1])
    }

    @Test func everyObjectiveLearns() throws {
        for objective in StepObjective.allCases {
            // In its last third reflow has other aims.
            let run = try trajectory(.rectifiedFlow, scale: 3, every: 2, steps: 40, objective).run
            for _ in 0..<(objective == .reflow ? 26 : 40) { try run.advance() }
            let first = run.history.losses.prefix(5).reduce(0, +), last = run.history.losses.suffix(5).reduce(0, +)
            #expect(last < 0.8 * first, "\(objective)")
        }
    }

    /// What is written is read back with its record, a vector for each step, and held by a store as it was.
    @Test(arguments: [nil, LowRank(ranks: ["blocks.1.mlp.fc1": 2], scale: 1)]) func filesAndStoresHoldStepVectors(lowRank: LowRank?) throws {
        let (source, run) = try trajectory(.rectifiedFlow, scale: 3, every: 2, lowRank: lowRank)
        try run.advance()
        let teacher = source.teacher, plan = try SamplingPlan(.euler, steps: 4, source.convention)
        var record = DistillationRecord(role: .steps, method: "trajectory", domains: [], guidance: "cfg", guidanceScale: 3, guidanceInterval: [0, 1])
        record.solver = SolverProfile(
            times: solver(plan, .rectifiedFlow, every: 2).steps.map(\.time), x: [0.5, 0], m: [0.5, 1], m1: [0, 0], startScale: nil, startShift: nil,
            guidance: teacher.guidance.kind.rawValue, guidanceScale: 3, guidanceInterval: [0, 1], family: "consistent", teacherSampler: "euler",
            teacherSteps: 4, psnr: 20, images: 8)
        let path = "\(folder)/steps-\(lowRank == nil).safetensors"
        var adapter = try run.writeDistilled(record, source, named: "turbo", to: path)
        let read = try AdapterFile.read(path: path, base: source.base)
        #expect(read == adapter)
        #expect(read.vector.values.count == 2 * run.layout.count)
        #expect(read.step(1, over: source.base.layout).vector.values == run.result.vectors[1].array)
        let store = try AdapterStore.create(at: "\(folder)/store-\(lowRank == nil)")
        try store.importBase(from: source.base.file.path, card: Data(sortedJSON(source.base.card).utf8))
        _ = try store.add(&adapter, as: "turbo", over: source.base, replace: false)
        let back = try store.adapter("turbo", of: source.base).adapter
        #expect(back.vector == adapter.vector)
        #expect(back.manifest.distillation == adapter.manifest.distillation)
        #expect(back.digest == adapter.digest)
    }
}
