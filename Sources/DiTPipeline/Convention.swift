import AdapterFormat
import Diffusion

extension DiffusionConvention {
    /// What a base's card says.
    /// - Throws: `DiffusionError` where the card has a word that is not known.
    package init(_ base: BaseFile) throws(DiffusionError) {
        let card = base.card
        try self.init(
            pathNamed: card.path, predictionNamed: card.prediction, learnSigma: base.configuration.learnSigma, timeScale: card.timeScale)
    }
}
