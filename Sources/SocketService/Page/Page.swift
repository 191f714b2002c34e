import Crypto
import Foundation
import Hummingbird

/// The page at `/`: one file with its style and script inside, which fetches nothing from elsewhere.
struct Page: Sendable {
    private let html: String
    private let policy: String

    init() {
        html = pageMarkup.replacing("/*STYLE*/", with: pageStyle).replacing("/*SCRIPT*/", with: pageScript)
        // Only exactly these two run or style anything; nothing else loads, nobody frames the page.
        policy =
            "default-src 'none'; script-src '\(Self.hash(pageScript))'; style-src '\(Self.hash(pageStyle))'; img-src data: blob:; "
            + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    }

    var response: Response {
        var response = Response(text: html, type: "text/html; charset=utf-8")
        response.headers[.contentSecurityPolicy] = policy
        response.headers[.cacheControl] = "no-cache"
        response.headers[.init("referrer-policy")!] = "no-referrer"
        return response
    }

    private static func hash(_ text: String) -> String { "sha256-" + Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString() }
}
