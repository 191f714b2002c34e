import AdapterFormat

/// Who runs next, and where: admission, the queue, the batch and the slots, as plain decisions.
///
/// The batch is chosen anew at every step boundary. Half of the work goes to the young: to the client, and of it the request, that
/// asks for little or has had little, so that a short request passes long ones. The other half goes in turns between clients,
/// and between the requests of one, so that nobody starves. What is not chosen is set aside and taken up again where it was.
/// Who runs stays until others are `quantum` behind, so that images do not change places at every step.
/// It knows no tensors, tasks or clocks.
package struct Scheduler {
    package struct Limits {
        /// Rows of one network call, at least 2.
        package var rows: Int
        /// Adapter slots: adapters in memory at once, at least 1.
        package var slots: Int
        /// Images that may wait.
        package var queueImages: Int
        /// Images of one client that may wait.
        package var clientShare: Int
        /// Largest sum of network rows over all images and calls of one request.
        package var largestCost: Int

        /// Work by which one may be ahead of others before it gives way: three full calls.
        package var quantum: Int { 3 * rows }
        /// Work up to which it counts how much one asks for.
        var stretch: Int { 10 * quantum }

        package init(rows: Int, slots: Int, queueImages: Int, clientShare: Int, largestCost: Int) {
            self.rows = rows
            self.slots = slots
            self.queueImages = queueImages
            self.clientShare = clientShare
            self.largestCost = largestCost
        }
    }

    /// What an image needs for its calls from now on.
    package struct Need: Equatable {
        /// The adapters it runs under, each once, at least one.
        package var adapters: [Digest]
        /// Rows of its largest network call.
        package var rows: Int
        /// Rows of the base's own size that one of its rows is about as much work as.
        package var weight: Int

        /// Of one call, in rows of the base's own size.
        package var work: Int { rows * weight }

        package init(adapters: [Digest], rows: Int, weight: Int = 1) {
            self.adapters = adapters
            self.rows = rows
            self.weight = weight
        }
    }

    /// A request as the queue sees it.
    package struct Entry {
        package let id: RequestID
        package let client: String
        package let images: [Need]
        /// Network rows over all images and calls, and what composing its recipe was charged.
        package let cost: Int
        package let deadline: ContinuousClock.Instant?
        /// Work that was done for it before, such as composing.
        package let spent: Int
        /// A job, whose client does not wait at the door: takes its turns, and passes nobody.
        package var isJob: Bool

        package init(
            id: RequestID, client: String, images: [Need], cost: Int, deadline: ContinuousClock.Instant?, spent: Int = 0, isJob: Bool = false
        ) {
            self.id = id
            self.client = client
            self.images = images
            self.cost = cost
            self.deadline = deadline
            self.spent = spent
            self.isJob = isJob
        }
    }

    package struct ImageID: Hashable {
        package let request: RequestID
        package let image: Int

        package init(request: RequestID, image: Int) {
            self.request = request
            self.image = image
        }
    }

    package enum Admission: Equatable {
        /// Behind so many images.
        case accepted(position: Int)
        case queueFull, clientShareFull, draining
        case tooLarge(limit: Int), tooManyImages(limit: Int)
        /// One image would never fit.
        case tooManyRows(Int, limit: Int), tooManyAdapters(Int, limit: Int)
    }

    package enum Action: Equatable {
        /// Not in the next call; nothing of it changes.
        case setAside(ImageID)
        /// The hot swap: the slot is overwritten before the image that needs it starts.
        case install(Digest, slot: Int, for: RequestID)
        /// With the slots of its adapters, in their order.
        case start(ImageID, slots: [Int])
        /// An image that was set aside goes on, or one that runs finds its adapters in other slots.
        case resume(ImageID, slots: [Int])
        /// The deadline has passed; waiting, running and set-aside images of the request are gone.
        case expire(RequestID)
    }

    struct Slot {
        var digest: Digest?
        var users = 0
        var lastUse: UInt64 = 0
    }

    struct Request {
        let entry: Entry
        /// As they are now: an image needs less on its way, never more.
        var needs: [Need]
        var usage: Usage
        /// Images begun and not ended; the first `running` of them are in the batch.
        var begunImages: [Int] = []
        var running = 0
        var begun = 0
        var ended = 0

        var unended: Int { needs.count - ended }
        /// The image that comes after those taken; nil where all are.
        var next: Int? { usage.taken < begunImages.count ? begunImages[usage.taken] : begun < needs.count ? begun : nil }
    }

    struct Client {
        var usage: Usage
        var requests: [RequestID] = []
        /// What each of its requests would have had, had all had the same: where the turns of a new one begin.
        var clock = 0.0
    }

    package let limits: Limits
    private(set) var isDraining = false
    var requests: [RequestID: Request] = [:]
    var clients: [String: Client] = [:]
    /// The slots of each image in the batch.
    package var active: [ImageID: [Int]] = [:]
    var slots: [Slot]
    /// Whose choice comes first, and how much more work the young had than the turns.
    var lead = Discipline.young
    var balance = 0
    /// All that is present runs, and nothing has changed since.
    var isSettled = false
    /// What each client would have had, had all had the same: where the turns of a new one begin.
    var clock = 0.0
    /// Clients that left ahead of the others: they come back no better placed.
    private var departed: [String: Int] = [:]
    private static let departedLimit = 1024
    private var tick: UInt64 = 0

    package init(_ limits: Limits) {
        precondition(limits.rows >= 2 && limits.slots >= 1, "\(limits.rows) network rows, \(limits.slots) adapter slots")
        self.limits = limits
        slots = [Slot](repeating: Slot(), count: limits.slots)
    }

    /// Images that are not in the batch: those that have not begun, and those set aside.
    package var waitingImages: Int { requests.values.reduce(0) { $0 + $1.unended - $1.running } }
    package var setAsideImages: Int { requests.values.reduce(0) { $0 + $1.begunImages.count - $1.running } }
    package var activeImages: Int { active.count }
    package var activeRows: Int { active.keys.reduce(0) { $0 + (need(of: $1)?.rows ?? 0) } }
    package var activeAdapters: Int { slots.count { $0.users > 0 } }
    package var isIdle: Bool { requests.isEmpty }
    /// Network rows of all requests present, those done included: what a newcomer may have to wait for at most.
    var outstandingCost: Int { requests.values.reduce(0) { $0 + $1.entry.cost } }

    /// What the image needs now; nil where its request is unknown.
    package func need(of image: ImageID) -> Need? { requests[image.request]?.needs[image.image] }

    package mutating func admit(_ entry: Entry) -> Admission {
        if isDraining { return .draining }
        if entry.cost > limits.largestCost { return .tooLarge(limit: limits.largestCost) }
        if entry.images.count > min(limits.queueImages, limits.clientShare) {
            return .tooManyImages(limit: min(limits.queueImages, limits.clientShare))
        }
        if let rows = entry.images.map(\.rows).max(), rows > limits.rows { return .tooManyRows(rows, limit: limits.rows) }
        if let count = entry.images.map(\.adapters.count).max(), count > limits.slots { return .tooManyAdapters(count, limit: limits.slots) }
        let ahead = waitingImages
        if ahead + entry.images.count > room(for: entry, behind: ahead) { return .queueFull }
        let own = (clients[entry.client]?.requests ?? []).reduce(0) { $0 + (requests[$1].map { $0.unended - $0.running } ?? 0) }
        if own + entry.images.count > limits.clientShare { return .clientShareFull }
        enter(entry)
        return .accepted(position: ahead)
    }

    /// Images that may wait, this request's included. An eighth of the queue is kept for those who ask for little: however many large
    /// requests wait, a small one still comes in.
    private func room(for entry: Entry, behind ahead: Int) -> Int {
        ahead == 0 || entry.cost <= limits.stretch ? limits.queueImages : limits.queueImages - limits.queueImages / 8
    }

    /// Admits nothing more; what was admitted runs to its end.
    package mutating func drain() { isDraining = true }

    /// Images of earlier requests that have not begun; nil once all of the request have.
    package func position(of id: RequestID) -> Int? {
        guard let request = requests[id], request.begun < request.needs.count else { return nil }
        return requests.values.reduce(0) { $0 + ($1.entry.id < id ? $1.needs.count - $1.begun : 0) }
    }

    /// Takes a request out, with all its images.
    /// - Returns: false where it is not known any more.
    package mutating func cancel(_ id: RequestID) -> Bool {
        guard let request = requests[id] else { return false }
        for image in request.begunImages.prefix(request.running) { release(ImageID(request: id, image: image)) }
        leave(id)
        return true
    }

    /// An image has taken its last step.
    /// - Returns: true where it was the last of its request.
    package mutating func finish(_ image: ImageID) -> Bool {
        release(image)
        guard let place = requests[image.request]?.begunImages.firstIndex(of: image.image) else { return false }
        requests[image.request]?.begunImages.remove(at: place)
        if place < requests[image.request]?.running ?? 0 { requests[image.request]?.running -= 1 }
        requests[image.request]?.ended += 1
        guard requests[image.request]?.unended == 0 else { return false }
        leave(image.request)
        return true
    }

    /// An image needs less than it did.
    package mutating func keep(_ image: ImageID, adapters: [Digest], rows: Int) {
        guard let need = need(of: image) else { return }
        precondition(rows <= need.rows && Set(adapters).isSubset(of: need.adapters), "an image can not need more on its way")
        requests[image.request]?.needs[image.image] = Need(adapters: adapters, rows: rows, weight: need.weight)
        isSettled = false
        guard let held = active[image] else { return }
        let slotOf = Dictionary(uniqueKeysWithValues: zip(need.adapters, held))
        for adapter in need.adapters where !adapters.contains(adapter) { if let slot = slotOf[adapter] { slots[slot].users -= 1 } }
        active[image] = adapters.compactMap { slotOf[$0] }
    }

    /// What happens between two steps, in the order in which it must be done.
    package mutating func stepBoundary(now: ContinuousClock.Instant) -> [Action] {
        var actions: [Action] = []
        if requests.values.contains(where: { $0.entry.deadline.map { $0 <= now } ?? false }) {
            for id in requests.values.filter({ $0.entry.deadline.map { $0 <= now } ?? false }).map(\.entry.id).sorted() {
                _ = cancel(id)
                actions.append(.expire(id))
            }
        }
        if isSettled { chargeAll() } else { actions += choose() }
        return actions
    }

    mutating func nextTick() -> UInt64 {
        tick += 1
        return tick
    }

    private mutating func release(_ image: ImageID) {
        isSettled = false
        for slot in active.removeValue(forKey: image) ?? [] { slots[slot].users -= 1 }
    }

    // MARK: Who is present

    private mutating func enter(_ entry: Entry) {
        if clients[entry.client] == nil {
            let turns = max(departed.removeValue(forKey: entry.client) ?? 0, Int(clock))
            clients[entry.client] = Client(usage: Usage(asked: 0, turns: turns, since: nextTick()))
        }
        var usage = Usage(asked: entry.cost, turns: Int(clients[entry.client]?.clock ?? 0), since: nextTick())
        usage.charge(entry.spent)
        clients[entry.client]?.usage.charge(entry.spent)
        clients[entry.client]?.usage.asked += entry.cost
        clients[entry.client]?.requests.append(entry.id)
        requests[entry.id] = Request(entry: entry, needs: entry.images, usage: usage)
        isSettled = false
    }

    private mutating func leave(_ id: RequestID) {
        guard let request = requests.removeValue(forKey: id) else { return }
        let name = request.entry.client
        isSettled = false
        clients[name]?.requests.removeAll { $0 == id }
        // A client is as young as what it has here.
        clients[name]?.usage.attained -= request.usage.attained
        clients[name]?.usage.asked -= request.usage.asked
        guard let client = clients[name], client.requests.isEmpty else { return }
        clients[name] = nil
        guard !clients.isEmpty else { return (departed, clock) = ([:], 0) }
        departed = departed.filter { Double($0.value) > clock }
        if Double(client.usage.turns) > clock { departed[name] = client.usage.turns }
        if departed.count > Self.departedLimit, let nearest = departed.min(by: { ($0.value, $0.key) < ($1.value, $1.key) }) { departed[nearest.key] = nil }
    }
}
