import AdapterFormat
import Foundation
import Testing

import SamplingEngine

/// Who waits for whom, counted in work and not in seconds: a row of a network call is one unit, and a call takes as long as its rows.
@Suite struct FairnessTests {
    private static let alone = 40 * 2

    /// Neighbours that each send one request, just within what is allowed, and then a client that sends a small one after the other.
    /// Alone, one of these takes 80 units.
    @Test(arguments: [
        Neighbours(count: 1), Neighbours(count: 50), Neighbours(count: 50, clients: 1), Neighbours(count: 50, clients: 1, areTheClient: true),
        Neighbours(count: 1, images: 15), Neighbours(count: 1, weight: 16), Neighbours(count: 50, domains: 8, slots: 1),
        Neighbours(count: 1, rows: 2),
    ])
    func aSmallRequestIsNotHeldUpByLargeOnes(neighbours: Neighbours) {
        var server = Server(rows: neighbours.rows, slots: neighbours.slots)
        for k in 0..<neighbours.count {
            server.submit(
                client: neighbours.areTheClient ? "small" : "large \(k % neighbours.clients)", images: neighbours.images, steps: 1000,
                domain: k % neighbours.domains, weight: neighbours.weight)
        }
        for _ in 0..<30 {
            server.step()
            // It comes while a call is under way, and waits for that too.
            let small = server.submit(client: "small", images: 1, steps: 40, domain: 9), before = server.clock - server.lastCall
            for _ in 0..<400 where server.ended[small] == nil { server.step() }
            let taken = (server.ended[small] ?? .max) - before
            #expect(taken <= 5 * Self.alone, "\(taken) units")
        }
        // The large ones got their half.
        #expect(server.clock >= 30 * 2 * Self.alone || neighbours.slots == 1)
        #expect(server.setAsides <= server.calls / 2)
    }

    struct Neighbours: CustomTestStringConvertible {
        var count: Int
        var clients = 50
        var areTheClient = false
        var images = 16
        var weight = 1
        var domains = 8
        var slots = 16
        var rows = 32
        var testDescription: String {
            "\(count) of \(areTheClient ? "its own" : "\(min(count, clients)) clients"), \(images) images, weight \(weight), \(rows) rows, adapterSlots of \(slots)"
        }
    }

    /// Two that ask for the same hold half of the rows each, of two clients or of one, and none gives way more than a few times.
    @Test(arguments: ["a", "b"]) func twoLargeRequestsShareTheRows(other: String) {
        var server = Server(rows: 32)
        let first = server.submit(client: "a", images: 16, steps: 200)
        for _ in 0..<50 { server.step() }
        let second = server.submit(client: other, images: 16, steps: 200)
        for _ in 0..<10 {
            server.step()
            #expect(server.held == [first: 16, second: 16])
        }
        for _ in 0..<1000 where server.ended.count < 2 { server.step() }
        #expect(server.ended.count == 2, "\(server.setAsides) set aside")
        #expect(server.setAsides < 40, "\(server.setAsides) set aside")
    }

    /// A large request among clients that never stop asking for small ones still gets its part.
    @Test func nobodyStarves() {
        var server = Server(rows: 8)
        let large = server.submit(client: "large", images: 4, steps: 50)
        var open = Set((0..<12).map { server.submit(client: "small \($0)", images: 1, steps: 10) }), number = 12
        for _ in 0..<20_000 where server.ended[large] == nil {
            server.step()
            for done in open where server.ended[done] != nil {
                open.remove(done)
                open.insert(server.submit(client: "small \(number)", images: 1, steps: 10))
                number += 1
            }
        }
        // 400 units, of which it gets a thirteenth of one half at least.
        #expect(server.ended[large].map { $0 <= 400 * 13 * 2 } == true, "\(String(describing: server.ended[large]))")
    }

    /// Many who ask for the same small thing run to their end in the order they came: nothing is gained by mixing them.
    @Test func equalSmallRequestsAreNotSetAside() {
        var server = Server(rows: 32)
        for client in 0..<32 { server.submit(client: "\(client)", images: 1, steps: 40) }
        for _ in 0..<80 { server.step() }
        #expect(server.ended.count == 32)
        #expect(server.setAsides == 0)
        #expect(server.clock == 32 * Self.alone)
    }

    /// One who waits at the door passes jobs; jobs keep their half, and end.
    @Test func aJobPassesNobody() {
        var server = Server(rows: 4)
        let jobs = (0..<4).map { server.submit(client: "night \($0)", images: 1, steps: 10, isJob: true) }
        server.step()
        let request = server.submit(client: "day", images: 1, steps: 10)
        for _ in 0..<200 where server.ended.count < 5 { server.step() }
        #expect(server.ended[request] ?? .max <= 50, "\(server.ended)")
        #expect(jobs.allSatisfy { server.ended[$0] != nil })
    }

    /// What composing cost counts as had: of two that ask for the same, the one that was composed for comes second.
    @Test func workDoneBeforeCounts() {
        var server = Server(rows: 2)
        let composed = server.submit(client: "a", images: 1, steps: 20, spent: 400)
        let plain = server.submit(client: "b", images: 1, steps: 20)
        for _ in 0..<60 where server.ended.count < 2 { server.step() }
        #expect(server.ended[plain] ?? .max < server.ended[composed] ?? 0)
    }

    @Test func aDeadlineHoldsForWhatIsSetAside() {
        var server = Server(rows: 2)
        let long = server.submit(client: "a", images: 1, steps: 1000, deadline: server.now + .seconds(1))
        server.step()
        server.submit(client: "b", images: 1, steps: 5)
        server.step()
        #expect(server.queue.setAsideImages == 1)
        server.now += .seconds(1)
        #expect(server.queue.stepBoundary(now: server.now).contains(.expire(RequestID(number: long))))
        #expect(server.queue.setAsideImages == 0)
        #expect(server.queue.activeImages == 1)
    }
}

/// A scheduler and images that need so many calls.
private struct Server {
    var queue: Scheduler
    var now = ContinuousClock.now
    private(set) var clock = 0
    private(set) var lastCall = 0
    private(set) var calls = 0
    private(set) var setAsides = 0
    /// The clock at each request's end.
    private(set) var ended: [UInt64: Int] = [:]
    private var left: [Scheduler.ImageID: Int] = [:]
    private var last: UInt64 = 0

    init(rows: Int, slots: Int = 16) {
        queue = Scheduler(Scheduler.Limits(rows: rows, slots: slots, queueImages: 10_000, clientShare: 10_000, largestCost: .max))
    }

    /// Rows of the last batch, by request.
    var held: [UInt64: Int] {
        queue.active.keys.reduce(into: [:]) { $0[$1.request.number, default: 0] += queue.need(of: $1)?.rows ?? 0 }
    }

    @discardableResult mutating func submit(
        client: String, images: Int, steps: Int, domain: Int = 0, weight: Int = 1, spent: Int = 0, isJob: Bool = false,
        deadline: ContinuousClock.Instant? = nil
    ) -> UInt64 {
        last += 1
        let need = Scheduler.Need(adapters: [Digest(of: Data("domain \(domain)".utf8))], rows: 2, weight: weight)
        let entry = Scheduler.Entry(
            id: RequestID(number: last), client: client, images: [Scheduler.Need](repeating: need, count: images),
            cost: images * steps * need.work + spent, deadline: deadline, spent: spent, isJob: isJob)
        guard case .accepted = queue.admit(entry) else { preconditionFailure("the request was refused") }
        for image in 0..<images { left[Scheduler.ImageID(request: entry.id, image: image)] = steps }
        return last
    }

    mutating func step() {
        for action in queue.stepBoundary(now: now) { if case .setAside = action { setAsides += 1 } }
        let running = Array(queue.active.keys)
        lastCall = running.reduce(0) { $0 + (queue.need(of: $1)?.work ?? 0) }
        clock += lastCall
        calls += 1
        for image in running {
            left[image, default: 0] -= 1
            if left[image] == 0, queue.finish(image) { ended[image.request.number] = clock }
        }
    }
}
