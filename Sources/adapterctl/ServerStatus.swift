import AdapterFormat
import Foundation

/// How a running server is, asked over its socket.
struct ServerStatus: Encodable {
    let socket: String
    let ready: Bool
    /// Why it is not ready.
    let reason: String?
    let queuedImages, queueCapacity, activeImages: Int?
    let base, baseDigest, build: String
    /// The network's arithmetic, and what computes it.
    let precision, kernels: String
    /// What keeps libraries from this processor's best kernels.
    let kernelWarning: String?
    let adapters: [String]

    private struct Readiness: Decodable { let queuedImages, queueCapacity, activeImages: Int }
    private struct Capabilities: Decodable {
        let base, baseDigest, build, precision, kernels: String
        let kernelWarning: String?
    }
    private struct Models: Decodable {
        struct Model: Decodable { let id: String }
        let data: [Model]
    }
    private struct NotReady: Decodable {
        struct Content: Decodable { let message: String }
        let error: Content
    }

    /// - Throws: `unreachable` where nobody answers in time.
    static func of(_ server: ServerSocket, within seconds: Int) async throws -> ServerStatus {
        // The server itself gives its engine some seconds to answer.
        try await adapterctl.within(seconds: seconds, server.path) {
            let capabilities: Capabilities = try await server.ask(.GET, "/v1/capabilities")
            let models: Models = try await server.ask(.GET, "/v1/models")
            let reply = try await server.call(.GET, "/readyz")
            let readiness = reply.status == 200 ? try reply.decoded(Readiness.self) : nil
            return ServerStatus(
                socket: server.path, ready: readiness != nil, reason: readiness == nil ? try reply.decoded(NotReady.self).error.message : nil,
                queuedImages: readiness?.queuedImages, queueCapacity: readiness?.queueCapacity, activeImages: readiness?.activeImages,
                base: capabilities.base, baseDigest: capabilities.baseDigest, build: capabilities.build,
                precision: capabilities.precision, kernels: capabilities.kernels, kernelWarning: capabilities.kernelWarning,
                adapters: models.data.map(\.id).filter { $0 != "base" })
        }
    }

    var text: String {
        let state = reason ?? "ready: \(activeImages ?? 0, "image") at work, \(queuedImages ?? 0) of \(queueCapacity ?? 0) waiting"
        return """
            \(socket), adapterd \(build): \(state)
            base \(base) \(baseDigest.prefix(12)), \(adapters.count, "adapter"): \(adapters.joined(separator: ", "))
            \(precision) by \(kernels)\(kernelWarning.map { "\nwarning: \($0)" } ?? "")
            """
    }
}
