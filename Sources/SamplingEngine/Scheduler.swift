import AdapterFormat

/// Who runs next, and where: admission, the line, the batch and the bank's rows, as plain decisions.
///
/// The line is served in turns: the client that has waited longest since its last image goes first, within a client the domain
/// (an image's first adapter) that has, within a domain the oldest request. Nobody is overtaken: where the first in line does not fit, nobody starts until
/// it does, which is after a bounded number of steps, since every running image ends and none takes more than it began with.
/// It knows no tensors, tasks or clocks.
struct Scheduler {
    struct Limits {
        /// Rows of one network call, at least 2.
        var rows: Int
        /// Adapters in the bank at once, at least 1.
        var bankRows: Int
        /// Images that may wait.
        var queueImages: Int
        /// Images of one client that may wait.
        var clientShare: Int
        /// Largest sum of network rows over all images and calls of one request.
        var largestCost: Int
    }

    /// A request as the line sees it.
    struct Entry {
        let id: RequestID
        let client: String
        /// Per image the adapters it runs under, each once, at least one, and the rows of its largest network call.
        let images: [(adapters: [Digest], rows: Int)]
        /// Network rows over all images and calls.
        let cost: Int
        let deadline: ContinuousClock.Instant?
        /// Images started, and ended.
        fileprivate(set) var started = 0
        fileprivate(set) var ended = 0

        var waiting: Int { images.count - started }
    }

    struct ImageID: Hashable {
        let request: RequestID
        let image: Int
    }

    enum Admission: Equatable {
        /// Behind so many images.
        case accepted(position: Int)
        case queueFull, clientShareFull, draining
        case tooLarge(limit: Int), tooManyImages(limit: Int)
        /// One image would never fit.
        case tooManyRows(Int, limit: Int), tooManyAdapters(Int, limit: Int)
    }

    enum Action: Equatable {
        /// The hot swap: the bank's row is overwritten before the image that needs it starts.
        case install(Digest, row: Int, for: RequestID)
        /// With the bank's rows of its adapters, in their order.
        case start(ImageID, rows: [Int])
        /// The deadline has passed; waiting and running images of the request are gone.
        case expire(RequestID)
    }

    private struct BankRow {
        var digest: Digest?
        var users = 0
        var lastUse: UInt64 = 0
    }

    /// Whose turn is counted apart: a client, or one domain of a client.
    private struct Party: Hashable {
        let client: String
        var domain: Digest?
    }

    let limits: Limits
    private(set) var isDraining = false
    private var entries: [RequestID: Entry] = [:]
    private var active: [ImageID: (bankRows: [Int], rows: Int)] = [:]
    private var bank: [BankRow]
    /// When each party with waiting images arrived or was last served.
    private var turns: [Party: UInt64] = [:]
    private var tick: UInt64 = 0

    init(_ limits: Limits) {
        precondition(limits.rows >= 2 && limits.bankRows >= 1, "\(limits.rows) network rows, \(limits.bankRows) bank rows")
        self.limits = limits
        bank = [BankRow](repeating: BankRow(), count: limits.bankRows)
    }

    var waitingImages: Int { entries.values.reduce(0) { $0 + $1.waiting } }
    var activeImages: Int { active.count }
    var activeRows: Int { active.values.reduce(0) { $0 + $1.rows } }
    var activeAdapters: Int { bank.count { $0.users > 0 } }
    var isIdle: Bool { entries.isEmpty }
    /// Network rows of all requests present, those done included: what a newcomer may have to wait for at most.
    var outstandingCost: Int { entries.values.reduce(0) { $0 + $1.cost } }

    mutating func admit(_ entry: Entry) -> Admission {
        if isDraining { return .draining }
        if entry.cost > limits.largestCost { return .tooLarge(limit: limits.largestCost) }
        if entry.images.count > min(limits.queueImages, limits.clientShare) {
            return .tooManyImages(limit: min(limits.queueImages, limits.clientShare))
        }
        if let rows = entry.images.map(\.rows).max(), rows > limits.rows { return .tooManyRows(rows, limit: limits.rows) }
        if let count = entry.images.map(\.adapters.count).max(), count > limits.bankRows { return .tooManyAdapters(count, limit: limits.bankRows) }
        let ahead = waitingImages
        if ahead + entry.images.count > limits.queueImages { return .queueFull }
        let own = entries.values.reduce(0) { $0 + ($1.client == entry.client ? $1.waiting : 0) }
        if own + entry.images.count > limits.clientShare { return .clientShareFull }
        entries[entry.id] = entry
        for party in parties(entry) where turns[party] == nil { turns[party] = nextTick() }
        return .accepted(position: ahead)
    }

    /// Admits nothing more; what was admitted runs to its end.
    mutating func drain() { isDraining = true }

    /// Images that arrived before the request's next one and wait still; nil once nothing of it waits.
    func position(of id: RequestID) -> Int? {
        guard let entry = entries[id], entry.waiting > 0 else { return nil }
        return entries.values.reduce(0) { $0 + ($1.id < id ? $1.waiting : 0) }
    }

    /// Takes a request out, waiting and running images alike.
    /// - Returns: false where it is not known any more.
    mutating func cancel(_ id: RequestID) -> Bool {
        guard let entry = entries.removeValue(forKey: id) else { return false }
        for image in entry.images.indices { release(ImageID(request: id, image: image)) }
        forgetTurns(entry)
        return true
    }

    /// A running image has taken its last step.
    /// - Returns: true where it was the last of its request.
    mutating func finish(_ image: ImageID) -> Bool {
        release(image)
        guard var entry = entries[image.request] else { return false }
        entry.ended += 1
        entries[image.request] = entry.ended == entry.images.count ? nil : entry
        return entry.ended == entry.images.count
    }

    /// What happens between two steps, in the order in which it must be done.
    mutating func border(now: ContinuousClock.Instant) -> [Action] {
        var actions: [Action] = []
        for id in entries.values.filter({ $0.deadline.map { $0 <= now } ?? false }).map(\.id).sorted() {
            _ = cancel(id)
            actions.append(.expire(id))
        }
        var free = limits.rows - activeRows
        while let entry = first(), entry.images[entry.started].rows <= free {
            let wanted = entry.images[entry.started]
            guard let rows = bankRows(wanted.adapters) else { break }
            for (row, adapter) in zip(rows, wanted.adapters) {
                if bank[row].digest != adapter {
                    bank[row].digest = adapter
                    actions.append(.install(adapter, row: row, for: entry.id))
                }
                bank[row].users += 1
                bank[row].lastUse = nextTick()
            }
            let image = ImageID(request: entry.id, image: entry.started)
            active[image] = (rows, wanted.rows)
            free -= wanted.rows
            actions.append(.start(image, rows: rows))
            serve(entry)
        }
        return actions
    }

    /// A running image needs less than it holds: from now on only these of its bank's rows, and so many network rows.
    mutating func keep(_ image: ImageID, bankRows kept: [Int], rows: Int) {
        guard let place = active[image] else { return }
        precondition(rows <= place.rows && Set(kept).isSubset(of: place.bankRows), "an image can not take more than it holds")
        for row in place.bankRows where !kept.contains(row) { bank[row].users -= 1 }
        active[image] = (kept, rows)
    }

    /// The request whose next image is first in line.
    private func first() -> Entry? {
        entries.values.filter { $0.waiting > 0 }.min { rank($0) < rank($1) }
    }

    private func rank(_ entry: Entry) -> (UInt64, UInt64, UInt64) {
        let domain = Party(client: entry.client, domain: entry.images[entry.started].adapters[0])
        return (turns[Party(client: entry.client)] ?? 0, turns[domain] ?? 0, entry.id.number)
    }

    private mutating func serve(_ entry: Entry) {
        let served = entry.images[entry.started].adapters[0]
        entries[entry.id]?.started += 1
        turns[Party(client: entry.client)] = nextTick()
        turns[Party(client: entry.client, domain: served)] = nextTick()
        forgetTurns(entry)
    }

    /// Per adapter the row that holds it, else the longest unused of the free ones; nil where running images leave too few.
    private func bankRows(_ adapters: [Digest]) -> [Int]? {
        let held = adapters.map { adapter in bank.firstIndex { $0.digest == adapter } }
        let free = bank.indices.filter { bank[$0].users == 0 && !held.contains($0) }.sorted { bank[$0].lastUse < bank[$1].lastUse }
        var next = free.makeIterator()
        var rows: [Int] = []
        for row in held {
            guard let row = row ?? next.next() else { return nil }
            rows.append(row)
        }
        return rows
    }

    private mutating func release(_ image: ImageID) {
        guard let place = active.removeValue(forKey: image) else { return }
        for row in place.bankRows { bank[row].users -= 1 }
    }

    private func parties(_ entry: Entry) -> Set<Party> {
        Set([Party(client: entry.client)] + entry.images[entry.started...].map { Party(client: entry.client, domain: $0.adapters[0]) })
    }

    /// Forgets the turns of a client, or of its domains, that nothing waits for.
    private mutating func forgetTurns(_ entry: Entry) {
        let own = entries.values.filter { $0.client == entry.client && $0.waiting > 0 }
        let kept = own.reduce(into: Set<Party>()) { $0.formUnion(parties($1)) }
        let known = Set([Party(client: entry.client)] + entry.images.map { Party(client: entry.client, domain: $0.adapters[0]) })
        for party in known.subtracting(kept) { turns[party] = nil }
    }

    private mutating func nextTick() -> UInt64 {
        tick += 1
        return tick
    }
}
