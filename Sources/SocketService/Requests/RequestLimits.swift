/// What one request may ask for; published at `/v1/capabilities`.
package struct RequestLimits: Sendable, Equatable, Encodable {
    package var bodyBytes = 64 << 10
    package var headerBytes = 16 << 10
    package var jsonDepth = 8
    package var images = 64
    package var steps = 1000
    package var partialImages = 3
    /// Bytes of a text field.
    package var textBytes = 512
    package var guidanceScale: Float = 50
    package var recipeBytes = 16 << 10
    /// Terms of a recipe, and of them the arguments of ties, dare and majority.
    package var recipeTerms = 256
    package var mergeTerms = 64
    /// Bytes of a blend of classes.
    package var classBytes = 1 << 10
    package var strength = 10.0
    package var deadlineMs = 3_600_000
    package var connections = 2048
    /// Jobs that have not ended.
    package var jobs = 256

    package init() {}
}
