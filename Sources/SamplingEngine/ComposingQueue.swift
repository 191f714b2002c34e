import Synchronization

/// Composing for many clients: so many recipes at a time, on threads of their own, clients in turns, and no more that wait than
/// there is room for.
package final class ComposingQueue: Sendable {
    private let executor: WorkExecutor
    private let state: Mutex<State>

    private struct State {
        var turns: ComposingTurns
        var waiting: [UInt64: CheckedContinuation<Void, any Error>] = [:]
        /// Of those that were cancelled before they began to wait.
        var cancelled: Set<UInt64> = []
    }

    /// - Parameters:
    ///   - width: recipes at a time.
    ///   - room: recipes that may wait, of all clients and of one.
    package init(width: Int = 1, room: Int = 64, clientRoom: Int = 8) {
        executor = WorkExecutor("composing", width: width)
        state = Mutex(State(turns: ComposingTurns(width: width, room: room, clientRoom: clientRoom)))
    }

    /// Recipes that are composed now and that wait.
    package var load: (running: Int, waiting: Int) { state.withLock { ($0.turns.running.count, $0.turns.waiting.count) } }

    /// Runs the work when it is its turn. Work of a task that is cancelled ends early, or does not begin.
    /// - Parameters:
    ///   - cost: what it takes, for whose turn it is.
    /// - Throws: `AdmissionError.composingFull` where the queue or the client's share of it is; `CancellationError`; what the work throws.
    package func run<Value: Sendable>(client: String, cost: Int, _ work: () throws -> Value) async throws -> Value {
        let id = try state.withLock { try $0.turns.admit(client: client, cost: cost) }
        do { try await begin(id) } catch {
            end(id)
            throw error
        }
        defer { end(id) }
        return try await executor.run { try work() }
    }

    private func begin(_ id: UInt64) async throws {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let now: Result<Void, any Error>? = state.withLock { state in
                    if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
                    if state.turns.running[id] != nil { return .success(()) }
                    state.waiting[id] = continuation
                    return nil
                }
                if let now { continuation.resume(with: now) }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                if state.turns.isWaiting(id), state.waiting[id] == nil { state.cancelled.insert(id) }
                return state.waiting.removeValue(forKey: id)
            }
            waiting?.resume(throwing: CancellationError())
        }
    }

    private func end(_ id: UInt64) {
        let next = state.withLock { state in
            state.cancelled.remove(id)
            return state.turns.end(id).compactMap { state.waiting.removeValue(forKey: $0) }
        }
        for continuation in next { continuation.resume() }
    }
}

/// Who composes next, as plain decisions: the client that has been given least, and of it the recipe that came first.
package struct ComposingTurns {
    private struct Turn {
        let client: String
        let cost: Int
    }

    let width, room, clientRoom: Int
    private var turns: [UInt64: Turn] = [:]
    /// Those whose turn it is; the others wait, in the order of their numbers.
    package private(set) var running: [UInt64: Void] = [:]
    package private(set) var waiting: Set<UInt64> = []
    /// What each client that is here was given and has ended, begun where the least stood when it came.
    private var given: [String: Int] = [:]
    private var last: UInt64 = 0

    package init(width: Int, room: Int, clientRoom: Int) {
        self.width = width
        self.room = room
        self.clientRoom = clientRoom
    }

    func isWaiting(_ id: UInt64) -> Bool { waiting.contains(id) }

    /// - Returns: its number; it may run already.
    package mutating func admit(client: String, cost: Int) throws(AdmissionError) -> UInt64 {
        if running.count >= width {
            guard waiting.count < room else { throw .composingFull(isClients: false) }
            guard waiting.count(where: { turns[$0]?.client == client }) < clientRoom else { throw .composingFull(isClients: true) }
        }
        last += 1
        turns[last] = Turn(client: client, cost: max(1, cost))
        if given[client] == nil { given[client] = given.values.min() ?? 0 }
        waiting.insert(last)
        _ = fill()
        return last
    }

    /// One has ended, or has gone before its turn.
    /// - Returns: those whose turn it is now.
    package mutating func end(_ id: UInt64) -> [UInt64] {
        guard let turn = turns.removeValue(forKey: id) else { return [] }
        if running.removeValue(forKey: id) != nil { given[turn.client, default: 0] += turn.cost }
        waiting.remove(id)
        if !turns.values.contains(where: { $0.client == turn.client }) { given[turn.client] = nil }
        return fill()
    }

    private mutating func fill() -> [UInt64] {
        var begun: [UInt64] = []
        func rank(_ id: UInt64) -> (Int, UInt64) {
            guard let client = turns[id]?.client else { return (.max, id) }
            return (running.keys.reduce(given[client] ?? 0) { $0 + (turns[$1].flatMap { $0.client == client ? $0.cost : nil } ?? 0) }, id)
        }
        while running.count < width, let id = waiting.min(by: { rank($0) < rank($1) }) {
            waiting.remove(id)
            running[id] = ()
            begun.append(id)
        }
        return begun
    }
}
