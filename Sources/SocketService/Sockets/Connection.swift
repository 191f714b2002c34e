import Synchronization

/// Who is at the other end of a connection, and whether they still are.
package final class Connection: Sendable {
    package enum Peer: Sendable, Equatable {
        /// A process on the Unix socket.
        case user(uid: UInt32)
        /// Loopback TCP: anybody on this machine, until the token is shown.
        case loopback(address: String)
    }

    package let number: UInt64
    package let peer: Peer
    private let state = Mutex(State())

    private struct State {
        var hasLeft = false
        var onLeaving: (@Sendable () -> Void)?
    }

    package init(number: UInt64, peer: Peer) {
        self.number = number
        self.peer = peer
    }

    /// Whose jobs are whose: a user of this machine, or everybody who shows the token.
    package var owner: String {
        switch peer {
        case .user(let uid): "uid:\(uid)"
        case .loopback: "token"
        }
    }

    package var hasLeft: Bool { state.withLock(\.hasLeft) }

    /// The channel saw the peer's end of the stream, or broke.
    package func peerLeft() {
        let action = state.withLock { state in
            state.hasLeft = true
            return state.onLeaving.take()
        }
        action?()
    }

    /// Calls `action` when the peer leaves, at once if it has left. A connection serves one request at a time, so one action is kept.
    package func whenPeerLeaves(_ action: (@Sendable () -> Void)?) {
        let hasLeft = state.withLock { state in
            state.onLeaving = state.hasLeft ? nil : action
            return state.hasLeft
        }
        if hasLeft { action?() }
    }

    /// The client that a request counts for in the queue and its shares. Another user's processes are one client; within the server's own
    /// user, and behind the token, a client is who `user` says. Who says nothing is one client with all others at that peer, however many
    /// connections they open.
    package func client(user: String?, ownUser: UInt32) -> String {
        switch peer {
        case .user(let uid): uid == ownUser ? user.map { "user:\($0)" } ?? "uid:\(uid)" : "uid:\(uid)"
        case .loopback(let address): user.map { "user:\($0)" } ?? "address:\(address)"
        }
    }
}

extension Optional where Wrapped: Sendable {
    /// The value, leaving nil behind.
    fileprivate mutating func take() -> Wrapped? {
        defer { self = nil }
        return self
    }
}
