import AdapterFormat
import Foundation
import Testing

import Diffusion

@testable import SamplingEngine

/// Steps whose level is an end of the interval, however 1 - i / steps was rounded: 0.2 to 0.9 of 50 steps are 36.
@Test(arguments: [(10, 8), (50, 36), (100, 71)]) func bothEndsOfAnIntervalAreGuided(steps: Int, guided: Int) throws {
    let guidance = ImageGuidance(scale: 3, interval: 0.2...0.9)
    for sampler in [Sampler.euler, .multistep] {
        let plan = try SamplingPlan(sampler, steps: steps, DiffusionConvention(path: .linear, prediction: .x0))
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
        id: RequestID(number: number), client: client, images: domains.map { ($0.map(digest), rows) }, cost: cost, deadline: deadline)
}

private func scheduler(rows: Int = 4, bankRows: Int = 2, queue: Int = 10, share: Int = 10, cost: Int = 1000) -> Scheduler {
    Scheduler(Scheduler.Limits(rows: rows, bankRows: bankRows, queueImages: queue, clientShare: share, largestCost: cost))
}

extension Scheduler.Action {
    fileprivate var started: Scheduler.ImageID? { if case .start(let id, _) = self { id } else { nil } }
}

@Suite struct SchedulerTests {
    private let now = ContinuousClock.now

    @Test func whatDoesNotFitIsRefusedWithItsReason() {
        var line = scheduler(queue: 5, share: 3, cost: 100)
        #expect(line.admit(entry(1, domains: [0, 0, 0])) == .accepted(position: 0))
        #expect(line.admit(entry(2, domains: [0])) == .clientShareFull)
        #expect(line.admit(entry(3, client: "b", domains: [0, 0])) == .accepted(position: 3))
        #expect(line.admit(entry(4, client: "c", domains: [0])) == .queueFull)
        #expect(line.admit(entry(5, client: "c", domains: [0, 0, 0, 0])) == .tooManyImages(limit: 3))
        #expect(line.admit(entry(6, client: "c", domains: [0], cost: 101)) == .tooLarge(limit: 100))
        #expect(line.position(of: RequestID(number: 3)) == 3 && line.position(of: RequestID(number: 4)) == nil)
        line.drain()
        #expect(line.admit(entry(7, domains: [0])) == .draining)
    }

    @Test func aSwapComesBeforeTheImageThatNeedsItAndOnlyThen() {
        var line = scheduler(rows: 4)
        _ = line.admit(entry(1, domains: [0, 0]))
        let first = line.border(now: now)
        #expect(first.count == 3 && first[0] == .install(digest(0), row: 0, for: RequestID(number: 1)))
        for image in first.compactMap(\.started) { _ = line.finish(image) }
        _ = line.admit(entry(2, domains: [0]))
        #expect(line.border(now: now) == [.start(Scheduler.ImageID(request: RequestID(number: 2), image: 0), rows: [0])])
    }

    @Test func anUnguidedImageTakesOneRow() {
        var line = scheduler(rows: 3)
        _ = line.admit(entry(1, domains: [0], rows: 2))
        _ = line.admit(entry(2, client: "b", domains: [0, 0], rows: 1))
        #expect(line.border(now: now).compactMap(\.started).count == 2)
        #expect(line.activeRows == 3 && line.waitingImages == 1)
    }

    @Test func aRowInUseIsNotOverwrittenAndTheLineWaits() {
        var line = scheduler(rows: 8, bankRows: 1)
        _ = line.admit(entry(1, domains: [0]))
        _ = line.admit(entry(2, client: "b", domains: [1]))
        _ = line.admit(entry(3, client: "c", domains: [0]))
        let running = line.border(now: now).compactMap(\.started)
        // The third would fit, but would overtake the second.
        #expect(running.map(\.request.number) == [1])
        _ = line.finish(running[0])
        #expect(line.border(now: now).first == .install(digest(1), row: 0, for: RequestID(number: 2)))
    }

    /// An image of two adapters takes both rows at once, or waits for both.
    @Test func allAdaptersOfAnImageComeTogether() {
        var line = scheduler(rows: 8, bankRows: 3)
        _ = line.admit(several(1, domains: [[0, 1]]))
        _ = line.admit(several(2, client: "b", domains: [[1, 2]]))
        _ = line.admit(several(3, client: "c", domains: [[3, 2]]))
        let actions = line.border(now: now)
        let one = Scheduler.ImageID(request: RequestID(number: 1), image: 0), two = Scheduler.ImageID(request: RequestID(number: 2), image: 0)
        #expect(
            actions == [
                .install(digest(0), row: 0, for: RequestID(number: 1)), .install(digest(1), row: 1, for: RequestID(number: 1)), .start(one, rows: [0, 1]),
                .install(digest(2), row: 2, for: RequestID(number: 2)), .start(two, rows: [1, 2]),
            ])
        // The first gives its first row back on its way; that is enough for the third.
        line.keep(one, bankRows: [1], rows: 1)
        #expect(line.activeRows == 3)
        let third = Scheduler.ImageID(request: RequestID(number: 3), image: 0)
        #expect(line.border(now: now) == [.install(digest(3), row: 0, for: RequestID(number: 3)), .start(third, rows: [0, 2])])
        #expect(line.activeAdapters == 3)
    }

    @Test func anImageThatCanNeverFitIsRefused() {
        var line = scheduler(rows: 4, bankRows: 2)
        #expect(line.admit(several(1, domains: [[0], [0, 1, 2]])) == .tooManyAdapters(3, limit: 2))
        #expect(line.admit(several(2, domains: [[0]], rows: 5)) == .tooManyRows(5, limit: 4))
        #expect(line.isIdle)
    }

    @Test func clientsAndDomainsTakeTurns() {
        var line = scheduler(rows: 2, bankRows: 3, queue: 20, share: 20)
        _ = line.admit(entry(1, client: "a", domains: [0, 0, 0]))
        _ = line.admit(entry(2, client: "a", domains: [1, 1]))
        _ = line.admit(entry(3, client: "b", domains: [0, 0]))
        var order: [UInt64] = []
        for _ in 0..<7 {
            let image = line.border(now: now).compactMap(\.started)[0]
            order.append(image.request.number)
            _ = line.finish(image)
        }
        #expect(order == [1, 3, 2, 3, 1, 2, 1])
    }

    @Test func aPassedDeadlineEndsWaitingAndRunningImages() {
        var line = scheduler(rows: 2)
        _ = line.admit(entry(1, domains: [0, 0], deadline: now + .seconds(5)))
        #expect(line.border(now: now).count == 2)
        #expect(line.border(now: now + .seconds(5)) == [.expire(RequestID(number: 1))])
        #expect(line.isIdle && line.activeRows == 0)
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
    private var line: Scheduler
    private var now = ContinuousClock.now
    private var next: UInt64 = 1
    /// What the bank's rows hold, by the installs seen.
    private var bank: [Int: Digest] = [:]
    /// Running images: the bank's rows, network rows, steps left.
    private var running: [Scheduler.ImageID: (bankRows: [Int], rows: Int, left: Int)] = [:]
    private var requests: [UInt64: (client: String, images: [[Digest]], rows: Int, deadline: ContinuousClock.Instant?)] = [:]
    private var waiting: [Scheduler.ImageID] = []
    private var ended: Set<Scheduler.ImageID> = []
    /// Images of others started since a client with waiting images was last served.
    private var passed: [String: Int] = [:]
    private let clients = ["a", "b", "c", "d"]

    init(seed: UInt64) {
        dice = Dice(state: seed &+ 1)
        line = scheduler(rows: 2 + dice.below(7), bankRows: 1 + dice.below(4), queue: 12, share: 8)
    }

    mutating func step() {
        switch dice.below(6) {
        case 0, 1: admit()
        case 2 where dice.below(4) == 0: cancel()
        default: border()
        }
    }

    private mutating func admit() {
        let client = clients[dice.below(4)]
        // Up to three different adapters an image: stages of a schedule, or the base beside the domain.
        let images = (0..<(1 + dice.below(4))).map { _ in
            (0..<(1 + dice.below(min(3, line.limits.bankRows)))).reduce(into: [Int]()) { domains, _ in
                let domain = dice.below(6)
                if !domains.contains(domain) { domains.append(domain) }
            }
        }
        let deadline = dice.below(5) == 0 ? now + .seconds(dice.below(20)) : nil
        let rows = 1 + dice.below(2)
        let request = several(next, client: client, domains: images, rows: rows, deadline: deadline)
        guard case .accepted = line.admit(request) else { return }
        if !waiting.contains(where: { requests[$0.request.number]?.client == client }) { passed[client] = 0 }
        requests[next] = (client, images.map { $0.map(digest) }, rows, deadline)
        waiting += images.indices.map { Scheduler.ImageID(request: request.id, image: $0) }
        next += 1
        #expect(waiting.count == line.waitingImages && waiting.count <= 12)
    }

    private mutating func cancel() {
        let number = UInt64(1 + dice.below(Int(next)))
        let isKnown = waiting.contains { $0.request.number == number } || running.keys.contains { $0.request.number == number }
        #expect(line.cancel(RequestID(number: number)) == isKnown)
        if isKnown { end(number) }
    }

    private mutating func end(_ number: UInt64) {
        for image in waiting.filter({ $0.request.number == number }) + running.keys.filter({ $0.request.number == number }) {
            #expect(ended.insert(image).inserted)
            running[image] = nil
        }
        waiting.removeAll { $0.request.number == number }
    }

    private mutating func border() {
        now += .seconds(1)
        for action in line.border(now: now) {
            switch action {
            case .expire(let id):
                #expect(requests[id.number]?.deadline.map { $0 <= now } == true)
                end(id.number)
            case .install(let digest, let row, _):
                #expect(!running.values.contains { $0.bankRows.contains(row) }, "a row in use was overwritten")
                bank[row] = digest
            case .start(let image, let rows): start(image, bankRows: rows)
            }
        }
        #expect(running.values.reduce(0) { $0 + $1.rows } <= line.limits.rows && line.activeRows == running.values.reduce(0) { $0 + $1.rows })
        #expect(waiting.isEmpty || !running.isEmpty, "images wait and nothing runs")
        for (image, place) in running {
            guard place.left == 1 else {
                running[image]?.left -= 1
                if dice.below(4) == 0 { giveBack(image) }
                continue
            }
            running[image] = nil
            #expect(ended.insert(image).inserted)
            _ = line.finish(image)
        }
    }

    /// An image that needs less from here on.
    private mutating func giveBack(_ image: Scheduler.ImageID) {
        guard let place = running[image] else { return }
        let kept = Array(place.bankRows.suffix(max(1, dice.below(place.bankRows.count + 1))))
        let rows = 1 + dice.below(place.rows)
        line.keep(image, bankRows: kept, rows: rows)
        running[image] = (kept, rows, place.left)
        #expect(line.activeRows == running.values.reduce(0) { $0 + $1.rows })
        #expect(line.activeAdapters == Set(running.values.flatMap(\.bankRows)).count)
    }

    private mutating func start(_ image: Scheduler.ImageID, bankRows: [Int]) {
        guard let request = requests[image.request.number], let index = waiting.firstIndex(of: image) else {
            Issue.record("image \(image) was started and is not waiting")
            return
        }
        waiting.remove(at: index)
        #expect(bankRows.map { bank[$0] } == request.images[image.image], "the rows hold other adapters")
        running[image] = (bankRows, request.rows, 1 + dice.below(9))
        passed[request.client] = 0
        let present = Set(waiting.compactMap { requests[$0.request.number]?.client })
        for client in present where client != request.client {
            passed[client, default: 0] += 1
            #expect(passed[client, default: 0] < clients.count, "\(client) was passed over")
        }
    }

    /// Nothing more comes: all that was admitted must end.
    mutating func finish() {
        for _ in 0..<500 where !line.isIdle { border() }
        #expect(line.isIdle && running.isEmpty && waiting.isEmpty)
        #expect(ended.count == requests.values.reduce(0) { $0 + $1.images.count })
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
