import SocketService
import Testing

/// One forgotten access level is a hole (sglang#26789), so the table is walked.
struct RouteTests {
    @Test func everyRouteHasTheAccessLevelWrittenHere() {
        let expected: [String: Access] = [
            "GET /": .anyone, "GET /healthz": .anyone, "GET /readyz": .anyone, "GET /metrics": .client, "GET /v1/capabilities": .client,
            "GET /v1/models": .client, "GET /v1/models/:ref": .client, "GET /v1/adapters": .client, "GET /v1/adapters/:ref": .client,
            "POST /v1/images/generations": .client, "GET /v1/recipes/:recipe": .client,
            "GET /v1/jobs": .client, "POST /v1/jobs": .client, "GET /v1/jobs/:id": .client, "GET /v1/jobs/:id/events": .client, "DELETE /v1/jobs/:id": .client,
        ]
        let found = Dictionary(Route.all.map { ("\($0.method.rawValue) \($0.path)", $0.access) }, uniquingKeysWith: { first, _ in first })
        #expect(found == expected)
        #expect(Route.all.count == expected.count)
    }

    /// Everything that reads, computes or writes leaves the cooperative pool; what is answered there is the same for everybody.
    @Test func onlyConstantAnswersAreGivenOnThePool() {
        #expect(Set(Route.all.filter(\.isConstant).map(\.path)) == ["/", "/healthz"])
    }

    @Test func overTCPNothingButTheOpenRoutesAnswersWithoutTheToken() {
        let loopback = Connection(number: 1, peer: .loopback(address: "127.0.0.1"))
        let local = Connection(number: 2, peer: .user(uid: 1))
        let token = Token(bytes: Array("0123456789abcdef".utf8))
        for route in Route.all {
            let isOpen = route.access == .anyone
            #expect(loopback.mayMake(route.access, authorization: nil, token: token) == isOpen)
            #expect(loopback.mayMake(route.access, authorization: "Bearer wrong", token: token) == isOpen)
            #expect(loopback.mayMake(route.access, authorization: nil, token: nil) == isOpen)
            #expect(loopback.mayMake(route.access, authorization: "Bearer ", token: nil) == isOpen)
            #expect(loopback.mayMake(route.access, authorization: "Bearer 0123456789abcdef", token: token))
            #expect(local.mayMake(route.access, authorization: nil, token: nil))
        }
    }
}
