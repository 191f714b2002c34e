import Foundation
import ProgramRunner
import Testing

/// Every form of a recipe gives the same picture from the command line, over the socket and from a batch file, and the page's own
/// question about it is answered.
@Suite(.serialized, .heavy) struct RecipeFormTests {
    static let forms: [(recipe: String, class: String)] = [
        ("flowers", "rose"), ("base", "class:3"), ("0.7*flowers+0.3*birds", "flowers/rose"), ("1.4*flowers - 0.4*birds", "flowers/rose"),
        ("0.5*flowers+0.5*birds", "0.5*flowers/rose+0.5*birds/owl"), ("flowers@0-3+birds@4-7", "rose"), ("flowers>0.6>birds", "rose,owl"),
        ("flowers>0.3>base>0.6>birds", "rose,null,owl"), ("score(0.5*flowers+0.5*birds)", "rose,owl"), ("ties(flowers,birds;0.5)", "flowers/rose"),
        ("dare(flowers,birds;0.5,seed=1)", "flowers/rose"), ("majority(flowers,birds)", "flowers/rose"),
        ("0.5*ties(flowers,birds;0.5)+0.5*flowers", "flowers/rose"),
    ]

    @Test func everyFormIsOneThingEverywhere() throws {
        let server = try Server.shared()
        let folder = try temporaryFolder("recipes")
        defer { try? FileManager.default.removeItem(atPath: folder) }

        let rows = Self.forms.map { "\"\($0.recipe)\",\"\($0.class)\",5" }
        try (["model,class,seed"] + rows).map { $0 + "\n" }.joined().write(toFile: folder + "/forms.csv", atomically: true, encoding: .utf8)
        let batch = [checkout + "/tools/batch/generate", folder + "/forms.csv", "-o", folder + "/out", "--steps", "5", "--socket", server.socket]
        #expect(try run("python3", batch).code == 0)

        var digests: Set<String> = []
        for (number, form) in Self.forms.enumerated() {
            let name: Comment = "\(form.recipe)"
            // Over the socket, and the batch file's picture.
            let body: [String: Any] = ["model": form.recipe, "class": form.class, "seed": 5, "steps": 5]
            let reply = try server.generate(String(decoding: JSONSerialization.data(withJSONObject: body), as: UTF8.self))
            #expect(reply.status == 200, "\(form.recipe): \(reply.text)")
            let image = try #require(((reply.json["data"] as? [[String: Any]])?.first?["b64_json"] as? String).flatMap { Data(base64Encoded: $0) }, name)
            #expect(try Data(contentsOf: URL(filePath: String(format: "%@/out/images/%06d.png", folder, number))) == image, name)

            // On the command line, in this process's own engine and through the server.
            let (own, served) = (folder + "/own.png", folder + "/served.png")
            let arguments = ["sample", form.recipe, "--class", form.class, "--seed", "5", "--steps", "5", "--n", "1", "--json"]
            let answer = try server.answer(arguments + ["-o", own])
            #expect(answer.code == 0, name)
            #expect(try server.adapterctl(arguments + ["-o", served, "--socket", server.socket]) == 0, name)
            #expect(try Data(contentsOf: URL(filePath: own)) == image, name)
            #expect(try Data(contentsOf: URL(filePath: served)) == image, name)
            let told = try #require(try JSONSerialization.jsonObject(with: Data(answer.text.utf8)) as? [String: Any])
            let digest = try #require((told["data"] as? [String: Any])?["digest"] as? String, name)
            #expect(reply.usage["effective_digest"] as? String == digest, name)
            digests.insert(digest)

            // What the page asks to fill its list of classes.
            let path = try #require(form.recipe.addingPercentEncoding(withAllowedCharacters: .alphanumerics), name)
            let shown = try server.get("/v1/recipes/" + path)
            #expect(shown.status == 200, "\(form.recipe): \(shown.text)")
            #expect(shown.json["digest"] as? String == digest, "\(form.recipe): \(shown.text)")
        }
        // The majority of two that both move every value is their mean; all other forms are different things.
        #expect(digests.count == Self.forms.count - 1)
    }
}
