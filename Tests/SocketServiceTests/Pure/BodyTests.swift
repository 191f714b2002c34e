import SocketService
import Testing

/// What a request's body may say.
struct BodyTests {
    private func read(_ text: String, _ limits: RequestLimits = RequestLimits()) throws(ServiceError) -> GenerationBody {
        try GenerationBody(Array(text.utf8), limits: limits)
    }

    @Test func everyFieldIsRead() throws {
        let body = try read(
            """
            {"model":"flowers","class":"rose","prompt":"rose","n":3,"size":"32x32","response_format":"b64_json","output_format":"png","stream":true,
             "partial_images":2,"user":"ann","seed":18446744073709551615,"index_offset":7,"steps":12,"sampler":"euler","guidance_scale":3.5,
             "guidance":"none","guidance_interval":[0,1],"adapters":[{"name":"a","weight":0.5}],"labels_from":"a","deadline_ms":10,"metadata":false}
            """)
        #expect(body.model == "flowers" && body.className == "rose" && body.n == 3 && body.stream == true && body.partialImages == 2)
        #expect(body.seed == .max && body.indexOffset == 7 && body.guidanceScale == 3.5 && body.adapters?.first?.weight == 0.5)
        #expect(body.deadlineMs == 10 && body.metadata == false && body.labelsFrom == "a" && body.guidanceInterval == [0, 1])
    }

    @Test func anUnknownFieldIsNamedWithTheNearest() {
        #expect(throws: ServiceError.unknownField(name: "stpes", nearest: ["steps"])) { try read(#"{"model":"a","stpes":3}"#) }
        #expect(throws: ServiceError.unknownField(name: "path", nearest: [])) { try read(#"{"adapters":[{"name":"a","path":"/etc"}]}"#) }
    }

    @Test(arguments: [
        (#"{"n":"3"}"#, "n"), (#"{"n":1.5}"#, "n"), (#"{"n":1e99}"#, "n"), (#"{"seed":-1}"#, "seed"), (#"{"model":7}"#, "model"),
        (#"{"stream":"yes"}"#, "stream"), (#"{"guidance_scale":[1]}"#, "guidance_scale"), (#"{"adapters":{"a":1}}"#, "adapters"),
        (#"{"adapters":[{}]}"#, "adapters"),
    ])
    func aFieldOfTheWrongTypeIsNamed(_ text: String, _ field: String) {
        let error = #expect(throws: ServiceError.self) { try read(text) }
        guard case .badField(field, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test(arguments: ["", "{", "nonsense", "[]", "7", "\"x\"", "null", "{\"a\"}", "{}{}", "\u{0}"])
    func whatIsNoObjectIsRefused(_ text: String) {
        let error = #expect(throws: ServiceError.self) { try read(text) }
        guard case .notJSON = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func depthIsJudgedBeforeParsing() throws {
        let deep = String(repeating: "[", count: 30_000)
        #expect(throws: ServiceError.tooDeep(limit: 8)) { try read("{\"adapters\":" + deep) }
        // Brackets inside a text are no nesting, and an escaped quote does not end the text.
        #expect(try read(#"{"model":"\"[[[[[[[[[[[[{{{{{{"}"#).model == #""[[[[[[[[[[[[{{{{{{"#)
    }

    @Test func aLongBodyIsRefusedByItsLength() {
        var limits = RequestLimits()
        limits.bodyBytes = 16
        #expect(throws: ServiceError.bodyTooLarge(limit: 16)) { try read(#"{"model":"flowers"}"#, limits) }
    }

    @Test func noFieldTakesAPathAnAddressOrATensor() {
        for field in ["path", "url", "lora_path", "image", "mask", "file", "latents", "callback", "webhook", "adapter_source"] {
            #expect(throws: ServiceError.self) { try read("{\"\(field)\":\"x\"}") }
        }
    }
}
