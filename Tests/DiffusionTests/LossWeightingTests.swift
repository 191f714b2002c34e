import Diffusion
import Testing

@Suite struct LossWeightingTests {
    @Test(arguments: ["min-snr:5", "soft-min-snr:4", "min-snr:0.5"])
    func formsAgreeAcrossPredictions(text: String) throws {
        let weighting = try LossWeighting(text)
        let gamma = Double(text.split(separator: ":")[1])!
        for snr in [1e-4, 0.3, 1, 4.9, 5.1, 1e4] {
            let onX0 = text.hasPrefix("soft") ? gamma * snr / (gamma + snr) : min(snr, gamma)
            #expect(isClose(weighting.onEpsilon(snr: snr), onX0 / snr, 1e-9))
            let t = snr.squareRoot() / (1 + snr.squareRoot())
            #expect(isClose(weighting.onVelocity(t: t, divisor: 1 - t), onX0 * (1 - t) * (1 - t), 1e-9))
            #expect(isClose(weighting.onVelocity(t: t, divisor: 0.5), onX0 * 0.25, 1e-9))
        }
    }

    @Test func endsOfThePathStayFinite() throws {
        for weighting in [LossWeighting.minSNR(5), .softMinSNR(5)] {
            #expect(weighting.onEpsilon(snr: 0) == 1)
            #expect(weighting.onVelocity(t: 0, divisor: 1) == 0)
            #expect(isClose(weighting.onVelocity(t: 1, divisor: 0.05), 5 * 0.0025, 1e-9))
        }
    }

    @Test func infiniteGammaIsConstantOnEpsilon() throws {
        for snr in [1e-5, 0.7, 1e4] {
            #expect(try LossWeighting("min-snr:inf").onEpsilon(snr: snr) == 1)
            #expect(try LossWeighting("soft-min-snr:inf").onEpsilon(snr: snr) == 1)
        }
    }

    @Test func namesRoundTrip() throws {
        for text in ["constant", "min-snr:5", "soft-min-snr:2.5"] { #expect(try LossWeighting(text).description == text) }
        for text in ["", "min-snr", "min-snr:", "min-snr:0", "min-snr:-1", "min-snr:x", "constant:5", "p2:1", "min-snr:5:5", "min-snr:nan"] {
            #expect(throws: DiffusionError.lossWeighting(text)) { try LossWeighting(text) }
        }
    }
}
