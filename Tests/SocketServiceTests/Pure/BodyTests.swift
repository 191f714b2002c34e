import Foundation
import SamplingEngine
import SocketService
import Testing

/// What a request's body may say.
struct BodyTests {
    private func read(_ text: String, _ limits: RequestLimits = RequestLimits()) throws(ServiceError) -> GenerationRequest {
        try GenerationRequest(body: Array(text.utf8), limits: limits)
    }

    /// What the client encodes is what the service reads, whichever field it is.
    @Test func everyFieldIsReadAndWritten() throws {
        let text = """
            {"adapters":[{"name":"a","weight":0.5},{"name":"b"}],"background":"auto","cache":"exact","class":"rose","deadline_ms":10,"decoder":"tiny","guidance":"none",\
            "guidance_interval":[0,1],"guidance_scale":3.5,"index_offset":7,"labels_from":"a","metadata":false,"model":"flowers","moderation":"low","n":3,\
            "output_compression":100,"output_format":"png","partial_images":2,"prompt":"rose","quality":"auto","response_format":"b64_json",\
            "sampler":"euler","schedule":[[0.5,"a"],[0.5,"b"]],"seed":18446744073709551615,"size":"32x32","steps":12,"stream":true,"strength":0.75,\
            "style":"vivid","user":"ann"}
            """
        let request = try read(text)
        for property in Mirror(reflecting: request).children { #expect("\(property.value)" != "nil", "\(property.label ?? "")") }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let written = String(decoding: try encoder.encode(request), as: UTF8.self)
        #expect(written == text)
        #expect(request.className == "rose")
        #expect(request.seed == .max)
        #expect(request.adapters?.map(\.weight) == [0.5, nil])
        #expect(request.schedule?.map(\.recipe) == ["a", "b"])
    }

    @Test func whatIsNotAskedForIsNotWritten() throws {
        #expect(try JSONEncoder().encode(GenerationRequest()) == Data("{}".utf8))
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

    /// What a forgiving decoder lets through, each with the words that name it.
    @Test(arguments: [
        (#"{"n":1,"n":2}"#, "the key 'n' is there twice"), (#"{"n":1,"\u006e":2}"#, "the key 'n' is there twice"),
        (#"{"adapters":[{"name":"a","name":"b"}]}"#, "'name' is there twice"), (#"{"n":1,}"#, "comma"), (#"{"adapters":[1,]}"#, "comma"),
        (#"{,"n":1}"#, "a key in double quotes"), (#"{"n":NaN}"#, "'NaN' is no JSON value"), (#"{"n":Infinity}"#, "'Infinity'"),
        (#"{"n":-Infinity}"#, "no JSON number"), (#"{"n":1e999}"#, "too large"), (#"{"n":-1e400}"#, "too large"), (#"{"n":01}"#, "'01' is no JSON number"),
        (#"{"n":1.}"#, "no JSON number"), (#"{"n":.5}"#, "a value is expected"), (#"{"n":+1}"#, "a value is expected"), (#"{"n":0x10}"#, "a comma"),
        ("{'n':1}", "a key in double quotes"), (#"{n:1}"#, "a key in double quotes"), (#"{"n":1} // x"#, "something follows"),
        (#"{"n":/* x */1}"#, "a value is expected"), (#"{"n":1"#, "ends early"), (#"{"model":"a"#, "does not end"),
        ("{\"model\":\"a\nb\"}", "control character"),
        (#"{"model":"\x41"}"#, "backslash"), (#"{"model":"\ud800"}"#, "surrogate"), (#"{"model":"\u12"}"#, "hexadecimal"), (#"{"n":True}"#, "'True'"),
        (#"{"n" 1}"#, "colon"), (#"{"n":1 "m":2}"#, "comma"), (#"{"n":1]"#, "comma or a closing"), ("  ", "empty"),
    ])
    func whatIsNotQuiteJSONIsNamed(_ text: String, _ words: String) {
        let error = #expect(throws: ServiceError.self) { try read(text) }
        guard case .notJSON(let reason) = error, reason.contains(words) else {
            Issue.record("\(text): \(String(describing: error))")
            return
        }
    }

    @Test func onlyUTF8IsRead() throws {
        let text = #"{"model":"fleurs d'été 🌹"}"#
        for order in [false, true] {
            let units = Array(text.utf16).flatMap { order ? [UInt8($0 >> 8), UInt8($0 & 255)] : [UInt8($0 & 255), UInt8($0 >> 8)] }
            for mark: [UInt8] in [[], order ? [0xfe, 0xff] : [0xff, 0xfe]] {
                let error = #expect(throws: ServiceError.self) { try GenerationRequest(body: mark + units, limits: RequestLimits()) }
                #expect(error?.description.contains("UTF-16") == true)
            }
        }
        #expect(throws: ServiceError.self) { try GenerationRequest(body: Array(#"{"model":""#.utf8) + [0xe9] + Array(#""}"#.utf8), limits: RequestLimits()) }
        #expect(try read("\u{feff}" + text).model == "fleurs d'été 🌹")
        #expect(try read(text).model == "fleurs d'été 🌹")
        #expect(try read(#"{"model":"\ud83c\udf39\/\n\u00e9"}"#).model == "🌹/\né")
        #expect(try read(#" { "guidance_scale" : -0.5e+1 , "metadata" : true , "user" : null , "adapters" : [ ] } "#).adapters == [])
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
