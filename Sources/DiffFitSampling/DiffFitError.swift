import AdapterComposer
import AdapterFormat
import AdapterStore
import Autoencoder
import Diffusion
import SamplingEngine
import SystemIO
import TensorFiles

/// Why a base, an adapter or a request cannot be used, in one sentence with the name, number or shape at fault.
///
/// Beside it functions throw `StoreError` of a store, `TensorFileError` of a file of weights and `CancellationError` of a cancelled task.
public struct DiffFitError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What a caller may do about it. Later versions may add cases.
    public enum Kind: Sendable, Hashable {
        /// A value out of its range, or a text that is none: ask otherwise.
        case invalidRequest
        /// There is no such class, adapter or folder.
        case notFound
        /// A file of another model, another base, or of a kind that is not served.
        case incompatible
        /// A file whose content is not what it says.
        case damaged
        /// Another run or program is at work there, or has left its work unfinished.
        case inUse
        /// The system refused something, such as room on the disk.
        case system
    }

    /// What a caller may do about it.
    public let kind: Kind
    /// One sentence without its full stop.
    public let description: String

    package init(_ kind: Kind, _ description: String) { (self.kind, self.description) = (kind, description) }

    /// Runs the body, and gives its errors the types that callers of the library know.
    package static func translating<Value>(_ body: () throws -> Value) throws -> Value {
        do { return try body() } catch { throw translated(error) }
    }

    /// An error of the modules below as callers of the library get it.
    package static func translated(_ error: any Error) -> any Error {
        switch error {
        case is StoreError, is TensorFileError, is DiffFitError, is CancellationError: error
        case SamplingFailure.cancelled: CancellationError()
        case AdapterFormatError.badName, AdapterFormatError.badReference: DiffFitError(.invalidRequest, "\(error)")
        case AdapterFormatError.otherContent: DiffFitError(.damaged, "\(error)")
        case ComposerError.unknownClass, ComposerError.noLabels: DiffFitError(.notFound, "\(error)")
        case ComposerError.otherBase, ComposerError.denseBase, ComposerError.otherLayout, ComposerError.otherKind: DiffFitError(.incompatible, "\(error)")
        case is AdapterFormatError, is SamplingEngineError, is AutoencoderError: DiffFitError(.incompatible, "\(error)")
        case is ComposerError, is RecipeError, is AdmissionError, is SamplingDemandError, is DiffusionError: DiffFitError(.invalidRequest, "\(error)")
        default: DiffFitError(.system, words(of: error))
        }
    }
}
