/// What this module refuses, each with the value at fault.
package enum DiffusionError: Error, Hashable, CustomStringConvertible {
    case predictionOffPath(Prediction, DiffusionPath)
    case learnedVarianceOffPath(DiffusionPath)
    case timeScale(Double)
    case lossWeighting(String)
    case respacing(String)
    case samplerOffPath(Sampler, DiffusionPath)
    case steps(Int)
    case noSolver
    case brokenSolver(String)
    case eta(Double)
    case unknownWord(String, [String])

    package var description: String {
        switch self {
        case .predictionOffPath(let prediction, let path):
            let valid = path.predictions.map { "'\($0.rawValue)'" }.joined(separator: " or ")
            return "a network on the path '\(path.rawValue)' predicts \(valid), not '\(prediction.rawValue)'"
        case .learnedVarianceOffPath(let path):
            return "the path '\(path.rawValue)' has no learned variance"
        case .timeScale(let scale):
            return "the time scale must be a positive number, not \(scale)"
        case .lossWeighting(let text):
            return "the loss weighting '\(text)' is none of 'constant', 'min-snr:G', 'soft-min-snr:G' with G above 0"
        case .samplerOffPath(let sampler, let path):
            let valid = Sampler.of(path).map { "'\($0.rawValue)'" }.joined(separator: ", ")
            return "the sampler '\(sampler.rawValue)' does not fit a base on the path '\(path.rawValue)': choose among \(valid)"
        case .steps(let steps):
            return "\(steps) sampling steps are outside 1 to \(VPSchedule.trainingSteps)"
        case .noSolver:
            return "the sampler 'fitted' is fitted to one adapter: adapterctl fit makes it"
        case .brokenSolver(let fault):
            return "a fitted solver cannot be used: \(fault)"
        case .eta(let eta):
            return "eta is between 0 and 1, not \(eta)"
        case .unknownWord(let word, let known):
            return "the base's card says '\(word)'; known are \(known.map { "'\($0)'" }.joined(separator: ", "))"
        case .respacing(let text):
            return "'\(text)' does not choose steps out of \(VPSchedule.trainingSteps): give 'N', 'N,M,...' or 'ddimN'"
        }
    }
}
