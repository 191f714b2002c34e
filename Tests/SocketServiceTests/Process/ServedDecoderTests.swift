import Foundation
import ProgramRunner
import Testing

/// A server of a base that makes latents, with two decoders.
@Suite(.serialized, .heavy) struct ServedDecoderTests {
    private static func server(_ autoencoders: [String]) throws -> Server {
        let folder = try temporaryFolder("decoders"), goldens = checkout + "/Tests/Goldens/"
        let named = autoencoders.enumerated().map { $0.isMultiple(of: 2) ? $1 : goldens + $1 + ".safetensors" }
        for words in [["init"], ["base", "import", goldens + "dit-tiny.safetensors"] + named] {
            let ended = try Server.adapterctl(folder, words)
            guard ended.code == 0 else { throw Server.NotStarted(log: ended.errors) }
        }
        return try Server(folder: folder)
    }

    private func picture(_ server: Server, _ field: String) throws -> String {
        let reply = try server.generate(#"{"model":"base","class":"1","seed":3,"steps":2,"metadata":false\#(field)}"#)
        #expect(reply.status == 200, "\(reply.text)")
        return try #require((reply.json["data"] as? [[String: Any]])?.first?["b64_json"] as? String)
    }

    /// The picture of a preview.
    private func preview(_ server: Server, _ field: String) throws -> String {
        let reply = try server.generate(#"{"model":"base","class":"1","seed":3,"steps":2,"stream":true,"partial_images":1\#(field)}"#)
        #expect(reply.status == 200)
        let event = try #require(reply.text.components(separatedBy: "\n\n").first { $0.contains("partial_image") })
        return try #require(event.firstMatch(of: /"b64_json":"([^"]+)"/).map { String($0.1) })
    }

    @Test func aRequestChoosesItsDecoder() throws {
        let server = try Self.server(["--vae", "vae-small", "--tiny-vae", "vae-tiny-4"])
        defer { server.end() }
        let offer = try server.get("/v1/capabilities").json
        #expect(offer["decoders"] as? [String] == ["full", "tiny"])
        let defaults = try #require(offer["defaults"] as? [String: Any])
        #expect(defaults["decoder"] as? String == "full")
        #expect(defaults["preview_decoder"] as? String == "tiny")

        let usual = try picture(server, ""), full = try picture(server, #","decoder":"full""#), tiny = try picture(server, #","decoder":"tiny""#)
        #expect(usual == full)
        #expect(tiny != full)
        let previews = try ["", #","decoder":"tiny""#, #","decoder":"full""#].map { try preview(server, $0) }
        #expect(previews[0] == previews[1])
        #expect(previews[0] != previews[2])
        let reply = try server.generate(#"{"model":"base","class":"1","steps":1,"decoder":"tiny"}"#)
        #expect((reply.json["x_difffit"] as? [String: Any])?["decoder"] as? String == "tiny")

        // The client's option is the same request, and its picture that of a process of its own.
        let words = ["sample", "base", "--class", "1", "--n", "1", "--steps", "2", "--decoder", "tiny", "-o"]
        for (name, more) in [("own", []), ("served", ["--socket", server.socket])] {
            let ended = try server.answer(words + ["\(server.folder)/\(name).png"] + more)
            #expect(ended.code == 0, "\(ended.text)")
        }
        let files = try ["own", "served"].map { try Data(contentsOf: URL(filePath: "\(server.folder)/\($0).png")) }
        #expect(files[0] == files[1])

        let unknown = try server.generate(#"{"model":"base","class":"1","decoder":"small"}"#)
        #expect(unknown.status == 400)
        #expect(unknown.text.contains("full, tiny"), "\(unknown.text)")
        #expect(unknown.text.contains(#""param":"decoder""#), "\(unknown.text)")
    }

    @Test(arguments: [(["--vae", "vae-small"], "full", "tiny"), (["--vae", "vae-tiny-4"], "tiny", "full")])
    func aDecoderThatTheBaseLacksIsRefused(_ autoencoders: [String], _ has: String, _ lacks: String) throws {
        let server = try Self.server(autoencoders)
        defer { server.end() }
        #expect(try server.get("/v1/capabilities").json["decoders"] as? [String] == [has])
        let refused = try server.generate(#"{"model":"base","class":"1","decoder":"\#(lacks)"}"#)
        #expect(refused.status == 400)
        #expect(refused.text.contains("no decoder '\(lacks)', only '\(has)'"), "\(refused.text)")
        #expect(try picture(server, "") == picture(server, #","decoder":"\#(has)""#))
        let ended = try Server.adapterctl(
            server.folder, ["sample", "base", "--class", "1", "--n", "1", "--decoder", lacks, "--socket", server.socket, "-o", server.folder + "/x.png"])
        #expect(ended.code == 2, "\(ended.errors)")
        #expect(ended.errors.contains("no decoder '\(lacks)'"), "\(ended.errors)")
    }

    @Test func aServerOfPixelsHasNone() throws {
        let server = try Server.shared()
        let offer = try server.get("/v1/capabilities").json
        #expect((offer["decoders"] as? [String])?.isEmpty == true)
        #expect((offer["defaults"] as? [String: Any])?["decoder"] == nil)
        let refused = try server.generate(#"{"model":"flowers","class":"rose","decoder":"full"}"#)
        #expect(refused.status == 400)
        #expect(refused.text.contains("it makes pixels"), "\(refused.text)")
    }
}
