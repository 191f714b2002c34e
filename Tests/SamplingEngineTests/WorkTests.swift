import Foundation
import Synchronization
import Testing

import SamplingEngine

/// What computes or blocks runs on threads of its own, so many at a time, and the cooperative pool stays free.
@Suite struct WorkTests {
    @Test func workRunsOnItsOwnThreads() async throws {
        let work = WorkExecutor("test", width: 2)
        #expect(WorkExecutor.current == nil)
        #expect(await work.run { WorkExecutor.current } == "test")
        let task = Task(executorPreference: work) { WorkExecutor.current }
        #expect(await task.value == "test")
        await #expect(throws: AdmissionError.noImages) { try await work.run { throw AdmissionError.noImages } }
        #expect(WorkExecutor.current == nil)
    }

    /// Every thread of the executor is held at a latch; the pool's tasks, as many as it has threads and more, all end meanwhile.
    @Test func heldWorkDoesNotHoldThePool() async throws {
        let work = WorkExecutor("held", width: 4), latch = Latch()
        let held = (0..<8).map { _ in Task(executorPreference: work) { latch.wait() } }
        let free = await withTaskGroup(of: Int.self) { group in
            for number in 0..<64 { group.addTask { number } }
            return await group.reduce(0, +)
        }
        #expect(free == 64 * 63 / 2)
        #expect(latch.passed == 0)
        latch.open()
        for task in held { await task.value }
        #expect(latch.passed == 8)
    }

    /// No more at a time than the width, and none is lost.
    @Test func theWidthIsABound() async {
        let work = WorkExecutor("wide", width: 3), count = Count()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask(executorPreference: work) {
                    count.enter()
                    count.leave()
                }
            }
        }
        let single = WorkExecutor("single", width: 1), ended = Count(), latch = Latch()
        let first = Task(executorPreference: single) { latch.wait() }
        let others = (0..<2000).map { _ in Task(executorPreference: single) { ended.enter() } }
        latch.open()
        await first.value
        for other in others { await other.value }
        #expect(count.most <= 3)
        #expect(ended.most == 2000)
    }
}

/// Recipes that are composed: in turns, within bounds, and not for those who have left.
@Suite struct ComposingQueueTests {
    @Test func clientsTakeTurnsByCost() throws {
        var turns = ComposingTurns(width: 1, room: 10, clientRoom: 4)
        let large = try turns.admit(client: "a", cost: 100)
        #expect(turns.running.keys.map { $0 } == [large])
        let more = try (0..<4).map { _ in try turns.admit(client: "a", cost: 100) }
        #expect(throws: AdmissionError.composingFull(isClients: true)) { try turns.admit(client: "a", cost: 1) }
        let small = try turns.admit(client: "b", cost: 1)
        #expect(turns.end(large) == [small])
        #expect(turns.end(small) == [more[0]])
        // One that leaves before its turn makes room, and is passed over.
        #expect(turns.end(more[1]) == [])
        let late = try turns.admit(client: "a", cost: 1)
        #expect(turns.end(more[0]) == [more[2]])
        #expect(turns.end(more[2]) == [more[3]])
        #expect(turns.end(more[3]) == [late])
        #expect(turns.end(late) == [])
        #expect(turns.running.isEmpty)
        #expect(turns.waiting.isEmpty)
    }

    @Test func theRoomIsABound() throws {
        var turns = ComposingTurns(width: 2, room: 3, clientRoom: 3)
        for client in 0..<5 { _ = try turns.admit(client: "\(client)", cost: 1) }
        #expect(throws: AdmissionError.composingFull(isClients: false)) { try turns.admit(client: "x", cost: 1) }
    }

    @Test func itRunsOnThreadsOfItsOwnOneAfterTheOther() async throws {
        let queue = ComposingQueue(width: 1), running = Count()
        let names = try await withThrowingTaskGroup(of: String?.self) { group in
            for client in 0..<8 {
                group.addTask {
                    try await queue.run(client: "\(client)", cost: 1) {
                        running.enter()
                        running.leave()
                        return WorkExecutor.current
                    }
                }
            }
            return try await group.reduce(into: [String?]()) { $0.append($1) }
        }
        #expect(names == [String?](repeating: "composing", count: 8))
        #expect(queue.load == (0, 0))
        #expect(running.most == 1)
    }

    /// A client that leaves takes its recipe out of the queue; one that is composed sees that nobody waits.
    @Test func whoLeavesTakesItsWorkAlong() async throws {
        let queue = ComposingQueue(width: 1), latch = Latch(), ran = Count()
        let first = Task {
            try await queue.run(client: "a", cost: 1) {
                latch.wait(); return Task.isCancelled
            }
        }
        for _ in 0..<10_000_000 where queue.load.running == 0 { await Task.yield() }
        let second = Task { try await queue.run(client: "b", cost: 1) { ran.enter() } }
        for _ in 0..<10_000_000 where queue.load.waiting == 0 { await Task.yield() }
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        #expect(queue.load == (1, 0))
        first.cancel()
        latch.open()
        #expect(try await first.value)
        #expect(queue.load == (0, 0))
        #expect(ran.most == 0)
    }
}

/// Who is inside, and how many were at most.
private final class Count: Sendable {
    private let inside = Mutex((now: 0, most: 0))

    var most: Int { inside.withLock(\.most) }
    func enter() { inside.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) } }
    func leave() { inside.withLock { $0.now -= 1 } }
}

/// Holds threads until it is opened.
private final class Latch: Sendable {
    private let gate = DispatchSemaphore(value: 0)
    private let count = Atomic(0)

    var passed: Int { count.load(ordering: .relaxed) }

    func wait() {
        gate.wait()
        gate.signal()
        count.add(1, ordering: .relaxed)
    }

    func open() { gate.signal() }
}
