/// All jobs, and which are forgotten when. Decides alone: no tasks, no clock of its own.
struct JobTable: Sendable {
    /// Ended jobs are kept this long.
    let keptFor: Duration
    /// Most jobs that have not ended, and most that have.
    let limit: Int
    /// Most bytes of pictures kept.
    let byteLimit: Int
    private var jobs: [String: Job] = [:]
    /// Oldest first.
    private var ended: [String] = []
    /// Ids whose results are gone, oldest first: they are answered with 410 and not 404.
    private var expired: [String] = []

    init(keptFor: Duration, limit: Int, byteLimit: Int = 256 << 20) {
        self.keptFor = keptFor
        self.limit = limit
        self.byteLimit = byteLimit
    }

    var unfinished: Int { jobs.count - ended.count }

    mutating func insert(_ job: Job) { jobs[job.id] = job }

    mutating func note(_ event: GenerationEvent, of id: String, now: ContinuousClock.Instant) {
        guard var job = jobs[id], !job.status.hasEnded else { return }
        job.note(event, now: now)
        jobs[id] = job
        if job.status.hasEnded { ended.append(id) }
        forgetOld(now: now)
    }

    mutating func job(_ id: String, now: ContinuousClock.Instant) throws(ServiceError) -> Job {
        forgetOld(now: now)
        if let job = jobs[id] { return job }
        throw expired.contains(id) ? .jobExpired(id) : .noSuchJob(String(id.prefix(64)))
    }

    /// An owner's jobs, newest first.
    mutating func all(of owner: String, now: ContinuousClock.Instant) -> [Job] {
        forgetOld(now: now)
        return jobs.values.filter { $0.owner == owner }.sorted { $0.number > $1.number }
    }

    /// - Returns: the job to cancel.
    mutating func beginCancelling(_ id: String, now: ContinuousClock.Instant) throws(ServiceError) -> Job {
        var job = try job(id, now: now)
        guard !job.status.hasEnded else { throw .jobEnded(id) }
        job.beginCancelling()
        jobs[id] = job
        return job
    }

    private mutating func forgetOld(now: ContinuousClock.Instant) {
        while let oldest = ended.first, let job = jobs[oldest], let end = job.endedAt,
            end + keptFor <= now || ended.count > limit || storedBytes > byteLimit
        {
            jobs[oldest] = nil
            ended.removeFirst()
            expired.append(oldest)
        }
        if expired.count > 4096 { expired.removeFirst(expired.count - 4096) }
    }

    private var storedBytes: Int { ended.reduce(0) { $0 + (jobs[$1]?.storedBytes ?? 0) } }
}
