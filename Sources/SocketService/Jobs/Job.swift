import SamplingEngine

/// A generation that outlives its connection, as far as it has come.
struct Job: Sendable {
    enum Status: String, Encodable, Sendable {
        case queued, running, cancelling, completed, failed, cancelled
        var hasEnded: Bool { [.completed, .failed, .cancelled].contains(self) }
    }

    /// What stays of the order: its vectors are the engine's, as long as it needs them.
    struct Summary: Sendable {
        let model, digest, className, size: String
        let count, steps: Int
        let seed: UInt64

        init(_ order: GenerationOrder) {
            model = order.recipe.label
            digest = order.recipe.digest.description
            className = order.className
            size = order.size
            count = order.count
            steps = order.sampling.steps
            seed = order.seed
        }
    }

    let id: String
    /// Later jobs have larger ones.
    let number: Int
    /// Whose it is (`Connection.owner`).
    let owner: String
    let order: Summary
    let ticket: RequestID
    let createdAt: Int
    private(set) var status = Status.queued
    private(set) var step = 0
    private(set) var pictures: [Picture] = []
    private(set) var usage: Usage?
    private(set) var error: ServiceError?
    private(set) var endedAt: ContinuousClock.Instant?

    init(id: String, number: Int, owner: String, order: GenerationOrder, ticket: RequestID, createdAt: Int) {
        self.id = id
        self.number = number
        self.owner = owner
        self.order = Summary(order)
        self.ticket = ticket
        self.createdAt = createdAt
    }

    var storedBytes: Int { pictures.reduce(0) { $0 + $1.png.count } }

    mutating func note(_ event: GenerationEvent, now: ContinuousClock.Instant) {
        switch event {
        case .queued, .partial: break
        case .progress(let step, _, _):
            self.step = step
            if status == .queued { status = .running }
        case .picture(let picture): pictures.append(picture)
        case .finished(let usage):
            self.usage = usage
            end(.completed, now)
        case .failed(let error):
            self.error = error
            end(error == .cancelled ? .cancelled : .failed, now)
        }
    }

    mutating func beginCancelling() {
        if !status.hasEnded { status = .cancelling }
    }

    /// What a late watcher missed: how far it is, the finished pictures, and the end.
    var past: [GenerationEvent] {
        var events: [GenerationEvent] = []
        if step > 0 { events.append(.progress(step: step, of: order.steps, etaMs: nil)) }
        events += pictures.map { .picture($0) }
        if let usage { events.append(.finished(usage)) }
        if let error { events.append(.failed(error)) }
        return events
    }

    private mutating func end(_ status: Status, _ now: ContinuousClock.Instant) {
        self.status = status
        endedAt = now
    }
}

/// `/v1/jobs`
struct JobList: Encodable, Sendable {
    var object = "list"
    let data: [JobReply]
}

/// A job as `/v1/jobs/{id}` shows it.
struct JobReply: Encodable, Sendable {
    let id: String
    var object = "job"
    let status: Job.Status
    let createdAt: Int
    let queuePosition: Int?
    let model: String
    let digest: String
    let `class`: String
    let n: Int
    let seed: UInt64
    let step: Int
    let steps: Int
    let error: ErrorReply.Content?
    let result: GenerationReply?

    init(_ job: Job, position: Int?, withResult: Bool = true) {
        id = job.id
        status = job.status
        createdAt = job.createdAt
        queuePosition = job.status == .queued ? position : nil
        model = job.order.model
        digest = job.order.digest
        `class` = job.order.className
        n = job.order.count
        seed = job.order.seed
        step = job.step
        steps = job.order.steps
        error = job.error.map { ErrorReply($0).error }
        result =
            !withResult
            ? nil
            : job.usage.map {
                GenerationReply(job.pictures.sorted { $0.index < $1.index }, size: job.order.size, usage: $0, created: job.createdAt)
            }
    }
}
