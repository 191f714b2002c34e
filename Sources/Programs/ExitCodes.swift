import AdapterComposer
import AdapterFormat
import AdapterStore
import AdapterTraining
import Autoencoder
import Diffusion
import Evaluation
import ImageFiles
import SamplingEngine
import SystemIO
import TensorFiles
import TensorMath

/// The one table of exit codes of what the modules refuse; what only one program refuses stands in that program.
///
/// 0 ok · 1 failed · 2 usage · 3 partly done · 4 not found · 5 exists · 6 integrity fault · 7 incompatible with the base · 10 no store ·
/// 11 locked · 12 permission · 13 disk or map full · 14 server unreachable · 130 interrupted.
/// - Returns: nil for an error that no module of the package throws.
package func exitCode(of error: any Error) -> Int32? {
    switch error {
    case let error as StoreError: error.exitCode
    case let error as SystemFault: error.refusal.exitCode(otherwise: 1)
    case AdapterFormatError.badName, AdapterFormatError.badReference: 2
    case AdapterFormatError.otherContent: 6
    case is AdapterFormatError: 7
    case TensorFileError.unreadable(_, let reason): reason.exitCode(otherwise: 4)
    case TensorFileError.unwritable(_, let reason), TrainingError.unwritable(_, let reason): reason.exitCode(otherwise: 12)
    case is TensorFileError: 6
    case ImageFileError.notWritable(_, _, let code): SystemError(code: code).exitCode(otherwise: 12)
    case is ImageFileError: 1
    case TrainingError.noFolder, TrainingError.noClass: 4
    case TrainingError.held, TrainingError.outputHeld: 11
    case TrainingError.unreadable: 12
    case TrainingError.unfinished, TrainingError.otherContent: 5
    case TrainingError.otherRun, TrainingError.fewerSteps, TrainingError.file, TrainingError.noSplit, TrainingError.layout: 2
    case TrainingError.tokenCut, TrainingError.shards, TrainingError.noNullRow: 2
    case TrainingError.otherSet, TrainingError.otherClasses: 7
    case TrainingError.interrupted: 130
    case is TrainingError, is ProcessGroup.Failure: 1
    case AdmissionError.noDecoder: 4
    case is DiffusionError, is AdmissionError: 2
    case SamplingEngineError.noCacheProfile, SamplingEngineError.noSolverProfile, SamplingEngineError.noDecoder, SamplingDemandError.noGuidanceVector: 4
    case is SamplingDemandError: 2
    case SamplingEngineError.noDomain: 2
    case is SamplingEngineError, is AutoencoderError: 7
    case is EvaluationError, is RecipeError: 2
    case ComposerError.otherBase, ComposerError.denseBase, ComposerError.otherLayout, ComposerError.otherKind: 7
    case ComposerError.unknownClass, ComposerError.noLabels: 4
    case is ComposerError: 2
    default: nil
    }
}
