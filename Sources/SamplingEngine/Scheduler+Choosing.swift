import AdapterFormat

extension Scheduler {
    /// By what the next image of a batch is found.
    enum Discipline {
        /// Who asks for little, and of those who ask for much who has had least: clients first, then their requests.
        case young
        /// Whose turn it is: who has had least of all that was given while it was present, and before.
        case turns
    }

    /// What a client or a request has had, in work, and what of it is in the batch.
    struct Usage {
        /// Since it came.
        var attained = 0
        /// Of all that it asks for.
        var asked: Int
        /// Like `attained`, but begun where the others stood then.
        var turns: Int
        /// Orders those who have had the same.
        let since: UInt64
        /// Images in the last batch, and in the one that is chosen now.
        var ran = 0
        var taken = 0
        /// Whether it may be chosen for being young.
        var isYoung = false

        init(asked: Int, turns: Int, since: UInt64) {
            self.asked = asked
            self.turns = turns
            self.since = since
        }

        mutating func charge(_ work: Int) {
            attained += work
            turns += work
        }

        /// What it will have had soon: all of a short request, a stretch more of a long one. So the short pass the long, however
        /// early those came, and the long ones get the same.
        func youth(stretch: Int) -> Int { attained + min(max(asked - attained, 0), stretch) }

        /// The least is next. Who runs gives way only to those that are a quantum behind.
        func rank(_ discipline: Discipline, _ limits: Limits) -> (Int, UInt64) {
            ((discipline == .young ? youth(stretch: limits.stretch) : turns) - (taken < ran ? limits.quantum : 0), since)
        }
    }

    /// One batch in the making.
    private struct Choice {
        var freeRows, freeWork: Int
        let before: [ImageID: [Int]]
        var actions: [Action] = []
        /// Requests whose next image does not fit.
        var blocked: Set<RequestID> = []
    }

    /// The batch of the next call.
    mutating func choose() -> [Action] {
        open()
        var choice = Choice(freeRows: limits.rows, freeWork: limits.rows, before: active)
        active.removeAll(keepingCapacity: true)
        for slot in slots.indices { slots[slot].users = 0 }
        var young = 0, turns = 0, youngIsDone = false
        while true {
            // Both get the same work of a call; where no young one is left, others take as much as the young and no more.
            let discipline: Discipline = youngIsDone || young > turns ? .turns : young < turns ? .young : lead
            if youngIsDone, turns >= young { break }
            guard let work = take(discipline, &choice) else {
                if discipline == .turns { break }
                youngIsDone = true
                continue
            }
            if discipline == .young { young += work } else { turns += work }
        }
        settle(young: young, turns: turns)
        return setAside() + choice.actions
    }

    /// What runs goes on unchanged.
    mutating func chargeAll() {
        for id in active.keys {
            charge(need(of: id)?.work ?? 0, to: id.request)
        }
    }

    /// Work given to a request, and so to its client; what is present shares the clock that its turns go by.
    private mutating func charge(_ work: Int, to id: RequestID) {
        guard let client = requests[id]?.entry.client, let count = clients[client]?.requests.count else { return }
        requests[id]?.usage.charge(work)
        clients[client]?.usage.charge(work)
        clients[client]?.clock += Double(work) / Double(count)
        clock += Double(work) / Double(clients.count)
    }

    private mutating func open() {
        for client in clients.keys { clients[client]?.usage.ran = 0 }
        for (id, request) in requests {
            requests[id]?.usage.ran = request.running
            requests[id]?.usage.taken = 0
            clients[request.entry.client]?.usage.ran += request.running
        }
        // Jobs are no match for those who wait at the door.
        let someoneWaits = requests.values.contains { !$0.entry.isJob }
        func mayBeYoung(_ id: RequestID) -> Bool { !someoneWaits || requests[id]?.entry.isJob == false }
        let candidates = clients.filter { $0.value.requests.contains(where: mayBeYoung) }
        let floor = candidates.values.map { $0.usage.youth(stretch: limits.stretch) }.min() ?? 0
        for (name, client) in clients {
            let isYoung = candidates[name] != nil && client.usage.youth(stretch: limits.stretch) <= floor + limits.quantum
            clients[name]?.usage.taken = 0
            clients[name]?.usage.isYoung = isYoung
            let own = client.requests.filter(mayBeYoung)
            func youth(_ id: RequestID) -> Int { requests[id]?.usage.youth(stretch: limits.stretch) ?? .max }
            let least = own.map(youth).min() ?? 0
            for id in client.requests {
                let isYoung = isYoung && mayBeYoung(id) && youth(id) <= least + limits.quantum
                requests[id]?.usage.isYoung = isYoung
            }
        }
    }

    /// Puts the next image by a discipline into the batch.
    /// - Returns: its work; nil where none is left that fits.
    private mutating func take(_ discipline: Discipline, _ choice: inout Choice) -> Int? {
        while let id = next(discipline, choice) {
            if let work = place(id, &choice) { return work }
            choice.blocked.insert(id)
        }
        return nil
    }

    private func next(_ discipline: Discipline, _ choice: Choice) -> RequestID? {
        func isOpen(_ id: RequestID) -> Bool {
            guard let request = requests[id], request.next != nil, !choice.blocked.contains(id) else { return false }
            return discipline == .turns || request.usage.isYoung
        }
        var best: (rank: (Int, UInt64), client: Client)?
        for client in clients.values where client.requests.contains(where: isOpen) {
            let rank = client.usage.rank(discipline, limits)
            if best.map({ rank < $0.rank }) ?? true { best = (rank, client) }
        }
        func rank(_ id: RequestID) -> (Int, UInt64) { requests[id]?.usage.rank(discipline, limits) ?? (.max, .max) }
        return best?.client.requests.filter(isOpen).min { rank($0) < rank($1) }
    }

    private mutating func place(_ id: RequestID, _ choice: inout Choice) -> Int? {
        guard var request = requests[id], let image = request.next else { return nil }
        let need = request.needs[image]
        // One large image may be more work than a full call; nothing then runs beside it.
        guard need.rows <= choice.freeRows, need.work <= choice.freeWork || active.isEmpty, let chosen = slotsFor(need.adapters) else { return nil }
        for (slot, adapter) in zip(chosen, need.adapters) {
            if slots[slot].digest != adapter {
                slots[slot].digest = adapter
                choice.actions.append(.install(adapter, slot: slot, for: id))
            }
            slots[slot].users += 1
            slots[slot].lastUse = nextTick()
        }
        let imageID = ImageID(request: id, image: image)
        if request.usage.taken == request.begunImages.count {
            request.begunImages.append(image)
            request.begun += 1
            choice.actions.append(.start(imageID, slots: chosen))
        } else if choice.before[imageID] != chosen {
            choice.actions.append(.resume(imageID, slots: chosen))
        }
        active[imageID] = chosen
        choice.freeRows -= need.rows
        choice.freeWork -= need.work
        request.usage.taken += 1
        requests[id] = request
        clients[request.entry.client]?.usage.taken += 1
        charge(need.work, to: id)
        return need.work
    }

    private mutating func setAside() -> [Action] {
        var aside: [ImageID] = []
        for (id, request) in requests where request.usage.taken != request.running {
            aside += request.begunImages[min(request.usage.taken, request.running)..<request.running].map { ImageID(request: id, image: $0) }
            requests[id]?.running = request.usage.taken
        }
        return aside.sorted { ($0.request, $0.image) < ($1.request, $1.image) }.map { .setAside($0) }
    }

    private mutating func settle(young: Int, turns: Int) {
        isSettled = !requests.values.contains { $0.next != nil }
        guard !isSettled else { return (lead, balance) = (.young, 0) }
        balance = max(-limits.quantum, min(limits.quantum, balance + young - turns))
        if balance == limits.quantum { lead = .turns }
        if balance == -limits.quantum { lead = .young }
    }

    /// Per adapter the slot that holds it, else the longest unused of the free ones; nil where the batch leaves too few.
    private func slotsFor(_ adapters: [Digest]) -> [Int]? {
        let held = adapters.map { adapter in slots.firstIndex { $0.digest == adapter } }
        guard held.contains(nil) else { return held.compactMap { $0 } }
        let free = slots.indices.filter { slots[$0].users == 0 && !held.contains($0) }.sorted { slots[$0].lastUse < slots[$1].lastUse }
        var next = free.makeIterator()
        var chosen: [Int] = []
        for slot in held {
            guard let slot = slot ?? next.next() else { return nil }
            chosen.append(slot)
        }
        return chosen
    }
}
