import SamplingEngine

/// The jobs of this server and who watches them. They live as long as the process.
actor JobBook {
    private var table: JobTable
    private var watchers: [String: [Int: AsyncStream<GenerationEvent>.Continuation]] = [:]
    private var lastWatcher = 0
    private var lastJob = 0

    private let prefix: String

    init(keptFor: Duration, limit: Int, replica: String?) {
        table = JobTable(keptFor: keptFor, limit: limit)
        prefix = "job-" + (replica.map { $0 + "-" } ?? "")
    }

    /// Whether another job may start.
    func checkRoom() throws(ServiceError) {
        guard table.unfinished < table.limit else { throw .tooManyJobs(limit: table.limit) }
    }

    /// Takes a generation over and follows it to its end.
    func start(_ generation: Generation, of owner: String) throws(ServiceError) -> Job {
        lastJob += 1
        let id = prefix + String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
        let job = Job(id: id, number: lastJob, owner: owner, order: generation.order, ticket: generation.ticket.id, createdAt: unixSeconds())
        table.insert(job)
        Task {
            for await event in generation.follow() { note(event, of: id) }
        }
        return job
    }

    func all(of owner: String) -> [Job] { table.all(of: owner, now: .now) }

    func job(_ id: String) throws(ServiceError) -> Job { try table.job(id, now: .now) }

    func beginCancelling(_ id: String) throws(ServiceError) -> Job { try table.beginCancelling(id, now: .now) }

    /// Everything from the start, for a watcher who may come late and leave early.
    func watch(_ id: String) throws(ServiceError) -> AsyncStream<GenerationEvent> {
        let job = try table.job(id, now: .now)
        let (events, out) = AsyncStream<GenerationEvent>.makeStream()
        for event in job.past { out.yield(event) }
        guard !job.status.hasEnded else {
            out.finish()
            return events
        }
        lastWatcher += 1
        let number = lastWatcher
        watchers[id, default: [:]][number] = out
        out.onTermination = { [weak self] _ in
            Task { await self?.forget(number, of: id) }
        }
        return events
    }

    private func note(_ event: GenerationEvent, of id: String) {
        table.note(event, of: id, now: .now)
        for watcher in (watchers[id] ?? [:]).values { watcher.yield(event) }
        guard event.isLast else { return }
        for watcher in (watchers.removeValue(forKey: id) ?? [:]).values { watcher.finish() }
    }

    private func forget(_ watcher: Int, of id: String) {
        watchers[id]?[watcher] = nil
        if watchers[id]?.isEmpty == true { watchers[id] = nil }
    }
}
