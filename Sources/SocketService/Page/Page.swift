import Crypto
import Foundation
import Hummingbird

/// The page at `/`: page.html with page.css and page.js inside, which fetches nothing from elsewhere. The build embeds the three files
/// in the program, so that none is looked for when it runs.
struct Page: Sendable {
    private let html: String
    private let policy: String

    init() {
        let style = Self.text(PackageResources.page_css)
        let script = Self.text(PackageResources.page_js)
        html = Self.text(PackageResources.page_html).replacing("/*STYLE*/", with: style).replacing("/*SCRIPT*/", with: script) + "\n"
        // Only exactly these two run or style anything; nothing else loads, nobody frames the page.
        policy =
            "default-src 'none'; script-src '\(Self.hash(script))'; style-src '\(Self.hash(style))'; img-src data: blob:; "
            + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    }

    var response: Response {
        var response = Response(text: html, type: "text/html; charset=utf-8")
        response.headers[.contentSecurityPolicy] = policy
        response.headers[.cacheControl] = "no-cache"
        response.headers[.init("referrer-policy")!] = "no-referrer"
        return response
    }

    /// An embedded file without the line end that closes it.
    private static func text(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes[...], as: UTF8.self)
    }

    private static func hash(_ text: String) -> String { "sha256-" + Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString() }
}
