/// What a user says of an adapter file that the file itself leaves open.
package struct AdapterReading: Sendable {
    /// LoRA's alpha, the same in every layer.
    package var loraAlpha: Double?
    /// alpha / rank itself, the same in every layer.
    package var loraScale: Double?
    /// Real classes of its table, which then has a null row or not.
    package var classes: Int?
    /// Told, in a sentence, what was taken though the file says two things of it, or nothing.
    package var onRemark: (@Sendable (String) -> Void)?

    package init(loraAlpha: Double? = nil, loraScale: Double? = nil, classes: Int? = nil) {
        self.loraAlpha = loraAlpha
        self.loraScale = loraScale
        self.classes = classes
    }
}
