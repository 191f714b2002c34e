import SystemIO

/// What keeps an evaluation from its end.
package enum EvaluationError: Error, Equatable, CustomStringConvertible {
    case reportForm(String)
    case tooLarge(path: String, bytes: Int)
    case noClass(String, reference: String)
    case fewPictures(Int, source: String)
    case noCache(reference: String)
    case noSolver(reference: String)
    case noDistilled(reference: String)
    case noClassifier(String)
    case judgeSize(Int, base: Int)

    package var description: String {
        switch self {
        case .reportForm(let path): "a report ends in .html or .png, and '\(path)' does not"
        case .tooLarge(let path, let bytes): "'\(path)' would hold \(bytes) bytes of images; an .npz of this form holds 4 GB: take fewer"
        case .noClass(let name, let reference): "'\(reference)' has no class '\(name)', and none that stands for no class"
        case .fewPictures(let count, let source):
            "'\(source)' has \(count, "picture"); the Fréchet figure compares with two or more: give --n 0"
        case .noSolver(let reference): "only what is in the store has a fitted solver, not '\(reference)'"
        case .noDistilled(let reference): "only what is in the store can have a guidance vector beside it, not '\(reference)'"
        case .noClassifier(let name): "'\(name)' is no classifier: train one with base train --prediction classes"
        case .judgeSize(let size, let base): "the judge sees pictures of \(size) pixels and the base makes ones of \(base): train a judge for that size"
        case .noCache(let reference): "only what is in the store has a calibrated cache, not '\(reference)'"
        }
    }
}
