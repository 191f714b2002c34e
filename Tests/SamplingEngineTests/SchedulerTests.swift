import AdapterFormat
import Foundation
import Testing

import Diffusion

import SamplingEngine

/// Steps whose level is an end of the interval, however 1 - i / steps was rounded: 0.2 to 0.9 of 50 steps are 36.
@Test(arguments: [(10, 8), (50, 36), (100, 71)]) func bothEndsOfAnIntervalAreGuided(steps: Int, guided: Int) throws {
    let guidance = ImageGuidance(scale: 3, interval: 0.2...0.9)
    for sampler in [Sampler.euler, .ab2] {
        let plan = try SamplingPlan(sampler, steps: steps, DiffusionConvention(path: .rectifiedFlow, prediction: .x0))
        #expect((0..<plan.evaluations).count { guidance.acts(at: plan.noiseLevel($0)) } == guided, "\(sampler)")
    }
}

private func digest(_ domain: Int) -> Digest { Digest(of: Data("domain \(domain)".utf8)) }

private func entry(
    _ number: UInt64, client: String = "a", domains: [Int], rows: Int = 2, cost: Int = 1, deadline: ContinuousClock.Instant? = nil
) -> Scheduler.Entry {
    several(number, client: client, domains: domains.map { [$0] }, rows: rows, cost: cost, deadline: deadline)
}

/// Images of several adapters each.
private func several(
    _ number: UInt64, client: String = "a", domains: [[Int]], rows: Int = 2, cost: Int = 1, deadline: ContinuousClock.Instant? = nil
) -> Scheduler.Entry {
    Scheduler.Entry(
        id: RequestID(number: number), client: client, images: domains.map { Scheduler.Need(adapters: $0.map(digest), rows: rows) }, cost: cost,
        deadline: deadline)
}

private func scheduler(rows: Int = 4, slots: Int = 2, queue: Int = 10, share: Int = 10, cost: Int = 1000) -> Scheduler {
    Scheduler(Scheduler.Limits(rows: rows, slots: slots, queueImages: queue, clientShare: share, largestCost: cost))
}

extension Scheduler.Action {
    fileprivate var started: Scheduler.ImageID? { if case .start(let id, _) = self { id } else { nil } }
}

@Suite struct SchedulerTests {
    private let now = ContinuousClock.now

    @Test func whatDoesNotFitIsRefusedWithItsReason() {
        var queue = scheduler(queue: 5, share: 3, cost: 100)
        #expect(queue.admit(entry(1, domains: [0, 0, 0])) == .accepted(position: 0))
        #expect(queue.admit(entry(2, domains: [0])) == .clientShareFull)
        #expect(queue.admit(entry(3, client: "b", domains: [0, 0])) == .accepted(position: 3))
        #expect(queue.admit(entry(4, client: "c", domains: [0])) == .queueFull)
        #expect(queue.admit(entry(5, client: "c", domains: [0, 0, 0, 0])) == .tooManyImages(limit: 3))
        #expect(queue.admit(entry(6, client: "c", domains: [0], cost: 101)) == .tooLarge(limit: 100))
        #expect(queue.position(of: RequestID(number: 3)) == 3)
        #expect(queue.position(of: RequestID(number: 4)) == nil)
        queue.drain()
        #expect(queue.admit(entry(7, domains: [0])) == .draining)
    }

    /// Large requests of however many clients leave an eighth of the queue to small ones.
    @Test func aQueueOfLargeRequestsTakesASmallOne() {
        var queue = scheduler(queue: 16, share: 16, cost: 1000)
        // Alone, a large one may have all of it.
        var alone = scheduler(queue: 16, share: 16, cost: 1000)
        #expect(alone.admit(entry(1, domains: [Int](repeating: 0, count: 16), cost: 1000)) == .accepted(position: 0))
        for k in 0..<7 {
            #expect(queue.admit(entry(UInt64(k), client: "large \(k)", domains: [0, 0], cost: 1000)) == .accepted(position: 2 * k))
        }
        #expect(queue.admit(entry(7, client: "large 7", domains: [0], cost: 1000)) == .queueFull)
        #expect(queue.admit(entry(8, client: "small", domains: [0], cost: 80)) == .accepted(position: 14))
        #expect(queue.admit(entry(9, client: "small", domains: [0], cost: 80)) == .accepted(position: 15))
        #expect(queue.admit(entry(10, client: "small", domains: [0], cost: 80)) == .queueFull)
    }

    @Test func aSwapComesBeforeTheImageThatNeedsItAndOnlyThen() throws {
        var queue = scheduler(rows: 4)
        _ = queue.admit(entry(1, domains: [0, 0]))
        let first = queue.stepBoundary(now: now)
        try #require(first.count == 3)
        #expect(first[0] == .install(digest(0), slot: 0, for: RequestID(number: 1)))
        for image in first.compactMap(\.started) { _ = queue.finish(image) }
        _ = queue.admit(entry(2, domains: [0]))
        #expect(queue.stepBoundary(now: now) == [.start(Scheduler.ImageID(request: RequestID(number: 2), image: 0), slots: [0])])
    }

    @Test func anUnguidedImageTakesOneRow() {
        var queue = scheduler(rows: 3)
        _ = queue.admit(entry(1, domains: [0], rows: 2))
        _ = queue.admit(entry(2, client: "b", domains: [0, 0], rows: 1))
        #expect(queue.stepBoundary(now: now).compactMap(\.started).count == 2)
        #expect(queue.activeRows == 3)
        #expect(queue.waitingImages == 1)
    }

    /// One adapter slot, two domains: who runs keeps it until the other is a quantum behind, and is then set aside.
    @Test func aSlotChangesHandsWithTheTurn() {
        var queue = scheduler(rows: 2, slots: 1)
        let one = Scheduler.ImageID(request: RequestID(number: 1), image: 0), two = Scheduler.ImageID(request: RequestID(number: 2), image: 0)
        _ = queue.admit(entry(1, domains: [0], cost: 200))
        _ = queue.admit(entry(2, client: "b", domains: [1], cost: 200))
        #expect(queue.stepBoundary(now: now) == [.install(digest(0), slot: 0, for: one.request), .start(one, slots: [0])])
        var swaps: [[Scheduler.Action]] = [], boundaries = 0
        while swaps.count < 3, boundaries < 40 {
            boundaries += 1
            let actions = queue.stepBoundary(now: now)
            if !actions.isEmpty { swaps.append(actions) }
        }
        #expect(
            swaps == [
                [.setAside(one), .install(digest(1), slot: 0, for: two.request), .start(two, slots: [0])],
                [.setAside(two), .install(digest(0), slot: 0, for: one.request), .resume(one, slots: [0])],
                [.setAside(one), .install(digest(1), slot: 0, for: two.request), .resume(two, slots: [0])],
            ])
        // Three calls at least between two changes.
        #expect(boundaries >= 9)
        #expect(queue.waitingImages == 1)
        #expect(queue.setAsideImages == 1)
    }

    /// An image of two adapters takes both rows at once, or waits for both.
    @Test func allAdaptersOfAnImageComeTogether() {
        var queue = scheduler(rows: 8, slots: 3)
        _ = queue.admit(several(1, domains: [[0, 1]]))
        _ = queue.admit(several(2, client: "b", domains: [[1, 2]]))
        _ = queue.admit(several(3, client: "c", domains: [[3, 2]]))
        let actions = queue.stepBoundary(now: now)
        let one = Scheduler.ImageID(request: RequestID(number: 1), image: 0), two = Scheduler.ImageID(request: RequestID(number: 2), image: 0)
        #expect(
            actions == [
                .install(digest(0), slot: 0, for: RequestID(number: 1)), .install(digest(1), slot: 1, for: RequestID(number: 1)), .start(one, slots: [0, 1]),
                .install(digest(2), slot: 2, for: RequestID(number: 2)), .start(two, slots: [1, 2]),
            ])
        // The first gives its first row back on its way; that is enough for the third.
        queue.keep(one, adapters: [digest(1)], rows: 1)
        #expect(queue.activeRows == 3)
        let third = Scheduler.ImageID(request: RequestID(number: 3), image: 0)
        #expect(queue.stepBoundary(now: now) == [.install(digest(3), slot: 0, for: RequestID(number: 3)), .start(third, slots: [0, 2])])
        #expect(queue.activeAdapters == 3)
    }

    @Test func anImageThatCanNeverFitIsRefused() {
        var queue = scheduler(rows: 4, slots: 2)
        #expect(queue.admit(several(1, domains: [[0], [0, 1, 2]])) == .tooManyAdapters(3, limit: 2))
        #expect(queue.admit(several(2, domains: [[0]], rows: 5)) == .tooManyRows(5, limit: 4))
        #expect(queue.isIdle)
    }

    @Test func aPassedDeadlineEndsWaitingAndRunningImages() {
        var queue = scheduler(rows: 2)
        _ = queue.admit(entry(1, domains: [0, 0], deadline: now + .seconds(5)))
        #expect(queue.stepBoundary(now: now).count == 2)
        #expect(queue.stepBoundary(now: now + .seconds(5)) == [.expire(RequestID(number: 1))])
        #expect(queue.isIdle)
        #expect(queue.activeRows == 0)
    }

    /// Random histories against what must hold whatever happens.
    @Test(arguments: 0..<60 as Range<UInt64>)
    func historiesKeepTheRules(seed: UInt64) {
        var history = History(seed: seed)
        for _ in 0..<400 { history.step() }
        history.finish()
    }
}

/// A scheduler, and beside it a plain account of what it said.
private struct History {
    private var dice: Dice
    private var queue: Scheduler
    private var now = ContinuousClock.now
    private var next: UInt64 = 1
    /// What the slots hold, by the installs seen.
    private var slots: [Int: Digest] = [:]
    private struct Image {
        var adapters: [Digest]
        var rows: Int
        var left: Int
        /// The slots while it runs.
        var slots: [Int]?
        var hasBegun = false
        var unserved = 0
    }
    private var images: [Scheduler.ImageID: Image] = [:]
    private var clients: [UInt64: String] = [:]
    private var deadlines: [UInt64: ContinuousClock.Instant] = [:]
    private var ended: Set<Scheduler.ImageID> = []
    private var admitted = 0
    private let names = ["a", "b", "c", "d"]

    init(seed: UInt64) {
        dice = Dice(state: seed &+ 1)
        queue = scheduler(rows: 2 + dice.below(7), slots: 1 + dice.below(4), queue: 12, share: 8)
    }

    private var running: [Scheduler.ImageID: Image] { images.filter { $0.value.slots != nil } }

    mutating func step() {
        switch dice.below(6) {
        case 0, 1: admit()
        case 2 where dice.below(4) == 0: cancel()
        default: stepBoundary()
        }
    }

    private mutating func admit() {
        let client = names[dice.below(4)]
        // Up to three different adapters an image: stages of a schedule, or the base beside the domain.
        let domains = (0..<(1 + dice.below(4))).map { _ in
            (0..<(1 + dice.below(min(3, queue.limits.slots)))).reduce(into: [Int]()) { domains, _ in
                let domain = dice.below(6)
                if !domains.contains(domain) { domains.append(domain) }
            }
        }
        let rows = 1 + dice.below(2)
        let lengths = domains.map { _ in 1 + dice.below(30) }
        var request = several(
            next, client: client, domains: domains, rows: rows, cost: lengths.reduce(0, +) * rows,
            deadline: dice.below(8) == 0 ? now + .seconds(dice.below(60)) : nil)
        request.isJob = dice.below(4) == 0
        guard case .accepted = queue.admit(request) else { return }
        (clients[next], deadlines[next]) = (client, request.deadline)
        for (index, need) in request.images.enumerated() {
            images[Scheduler.ImageID(request: request.id, image: index)] = Image(adapters: need.adapters, rows: need.rows, left: lengths[index])
        }
        (next, admitted) = (next + 1, admitted + domains.count)
        #expect(images.count - running.count == queue.waitingImages)
    }

    private mutating func cancel() {
        let number = UInt64(1 + dice.below(Int(next)))
        let isKnown = images.keys.contains { $0.request.number == number }
        #expect(queue.cancel(RequestID(number: number)) == isKnown)
        end(number)
    }

    private mutating func end(_ number: UInt64) {
        for image in images.keys where image.request.number == number {
            images[image] = nil
            #expect(ended.insert(image).inserted)
        }
    }

    private mutating func stepBoundary() {
        now += .seconds(1)
        for action in queue.stepBoundary(now: now) {
            switch action {
            case .expire(let id):
                #expect(deadlines[id.number].map { $0 <= now } == true)
                end(id.number)
            case .setAside(let image):
                #expect(images[image]?.slots != nil, "\(image) did not run")
                images[image]?.slots = nil
            case .install(let digest, let row, _): slots[row] = digest
            case .start(let image, let rows):
                #expect(images[image]?.hasBegun == false)
                images[image]?.hasBegun = true
                images[image]?.slots = rows
            case .resume(let image, let rows):
                #expect(images[image]?.hasBegun == true)
                #expect(images[image]?.slots != rows)
                images[image]?.slots = rows
            }
        }
        check()
        for (image, place) in running {
            guard place.left == 1 else {
                images[image]?.left -= 1
                if dice.below(4) == 0 { giveBack(image) }
                continue
            }
            images[image] = nil
            #expect(ended.insert(image).inserted)
            _ = queue.finish(image)
        }
    }

    private mutating func check() {
        let running = running
        for (image, place) in running {
            #expect(place.slots?.map { slots[$0] } == place.adapters, "the rows of \(image) hold other adapters")
        }
        let rows = running.values.reduce(0) { $0 + $1.rows }
        #expect(rows <= queue.limits.rows)
        #expect(queue.activeRows == rows)
        #expect(queue.activeImages == running.count)
        #expect(queue.activeAdapters == Set(running.values.flatMap { $0.slots ?? [] }).count)
        #expect(queue.waitingImages == images.count - running.count)
        #expect(queue.setAsideImages == images.values.count { $0.hasBegun && $0.slots == nil })
        #expect(images.isEmpty || !running.isEmpty, "images wait and nothing runs")
        // Nobody starves: while a client is present its turn comes, whatever the others ask for.
        for client in names {
            let own = images.filter { clients[$0.key.request.number] == client }
            let isServed = own.contains { $0.value.slots != nil }
            for (image, place) in own { images[image]?.unserved = isServed ? 0 : place.unserved + 1 }
            let bound = 8 * names.count * (queue.limits.quantum + queue.limits.rows)
            #expect(own.values.allSatisfy { $0.unserved < bound }, "\(client) was passed over")
        }
    }

    /// An image that needs less from here on.
    private mutating func giveBack(_ image: Scheduler.ImageID) {
        guard let place = images[image], let held = place.slots else { return }
        let kept = max(1, dice.below(place.adapters.count + 1))
        let rows = 1 + dice.below(place.rows)
        images[image]?.adapters = place.adapters.suffix(kept)
        images[image]?.slots = held.suffix(kept)
        images[image]?.rows = rows
        queue.keep(image, adapters: place.adapters.suffix(kept), rows: rows)
        #expect(queue.activeRows == running.values.reduce(0) { $0 + $1.rows })
        #expect(queue.activeAdapters == Set(running.values.flatMap { $0.slots ?? [] }).count)
    }

    /// Nothing more comes: all that was admitted must end.
    mutating func finish() {
        for _ in 0..<2000 where !queue.isIdle { stepBoundary() }
        #expect(queue.isIdle)
        #expect(images.isEmpty)
        #expect(ended.count == admitted)
    }
}

/// A small generator with a seed.
private struct Dice {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }
}
