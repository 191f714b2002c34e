import AdapterFormat
import AdapterTraining
import Evaluation
import Foundation
import ImageFiles
import SamplingEngine
import SyntheticDomains
import TensorMath

/// The real images of an evaluation: a drawn domain, of which there is no end, or a folder.
package struct RealImages {
    /// Sets of drawn images that share none with each other nor, lying past the first million of a class, with a training run.
    enum Part: Int {
        case heldOut = 1, reference, second, lesson
    }

    private enum Form {
        case drawn(SyntheticDomain)
        case folder(TrainingData, DataTaken, parts: Parts?, Training?, FolderLoader)
    }

    /// What a run trained on, what it was not, and the pictures of its part of the data that are none of the latter: however few it took,
    /// a classifier is taught with all of these.
    private struct Parts {
        let training, heldOut, lessons: TrainingData
    }

    /// As `--data` names it.
    package let source: String
    /// The domain's name; a folder's is that of its last part.
    package let domain: String
    package let classNames: [String]
    /// Side of the square images.
    let size: Int
    private let form: Form
    /// What the shipped adapters' training images were drawn with.
    private static let seed: UInt64 = 1

    /// A run on images of a size, as the network sees them.
    package struct Training {
        package let facts: TrainingFacts
        let size: Int
    }

    /// The images of a folder as a network of an input size sees them.
    package typealias FolderLoader = (_ folder: String, _ size: Int, _ taken: DataTaken) throws -> TrainingData

    /// Images of a drawn domain.
    package init(_ drawn: SyntheticDomain, size: Int) {
        (source, domain, classNames) = ("synthetic:\(drawn.name)", drawn.name, drawn.classes)
        (self.size, form) = (size, .drawn(drawn))
    }

    /// - Parameters:
    ///   - taken: what of the folder is measured on.
    ///   - size: side of what the network sees.
    ///   - trained: how the first that is measured was: those images that it was not trained on are held out.
    package init(folder source: String, taken: DataTaken, size: Int, trained: Training?, load: @escaping FolderLoader) throws {
        let folder = try load(source, size, taken)
        (self.source, domain, classNames) = (source, URL(filePath: source).lastPathComponent, folder.classNames)
        self.size = size
        form = .folder(folder, taken, parts: trained.flatMap { Self.parts(of: folder, taken, $0, source, load) }, trained, load)
    }

    /// nil where the run was trained on other images, or on all of these.
    private static func parts(of folder: TrainingData, _ taken: DataTaken, _ trained: Training, _ source: String, _ load: FolderLoader) -> Parts? {
        let own = trained.facts.taken ?? DataTaken(split: nil, classes: nil, perClass: nil, seed: trained.facts.seed)
        // A folder that the run did not see need not have what it took.
        func all(_ size: Int) -> TrainingData? { own == taken && size == folder.size ? folder : try? load(source, size, own) }
        guard let seen = all(trained.size), seen.digest == trained.facts.dataDigest else { return nil }
        guard let sized = trained.size == folder.size ? seen : all(folder.size), sized.classNames == folder.classNames else { return nil }
        let training = sized.split(holdingOut: trained.facts.validationShare ?? 0, seed: trained.facts.seed).training
        let heldOut = folder.without(training)
        guard heldOut.count > 0 else { return nil }
        let whole = DataTaken(split: own.split, classes: own.classes, perClass: nil, seed: own.seed)
        let lessons = own.perClass == nil ? training : try? load(source, folder.size, whole).without(heldOut)
        return Parts(training: training, heldOut: heldOut, lessons: lessons ?? training)
    }

    /// The same at another size.
    func resized(to size: Int) throws -> RealImages {
        switch form {
        case .drawn(let domain): RealImages(domain, size: size)
        case .folder(_, let taken, _, let trained, let load): try RealImages(folder: source, taken: taken, size: size, trained: trained, load: load)
        }
    }

    /// Whether sets beyond the images at hand can be made.
    var isEndless: Bool {
        if case .drawn = form { true } else { false }
    }

    /// Whether the held-out part shares no image with what was trained on.
    var holdsOut: Bool {
        if case .folder(_, _, parts: nil, _, _) = form { false } else { true }
    }

    /// All images of a folder that were trained on, and that were held out, where it is known which, and where they are few enough to be
    /// compared with each other: more are hardly memorised.
    func trainedAndHeldOut(pool: ThreadPool) -> (training: LabelledLatents, heldOut: LabelledLatents)? {
        guard case .folder(_, _, let parts?, _, _) = form, parts.training.count <= 10_000 else { return nil }
        let all = { (data: TrainingData) in data.labelledLatents(Array(0..<data.count), pool: pool) }
        return (all(parts.training), all(parts.heldOut))
    }

    /// Drawn: `count` images, the classes in turn. Of a folder: its images, at most `count`, taken evenly, the same for every part but the
    /// held-out one and that of lessons where it holds some out.
    func latents(_ part: Part, _ count: Int, pool: ThreadPool) -> LabelledLatents {
        switch form {
        case .drawn(let domain):
            let classes = classNames.count
            return LabelledLatents(labels: (0..<count).map { $0 % classes }, size: 3 * size * size, pool: pool) { index, row in
                let number = part.rawValue * 1_000_000 + index / classes
                domain.image(class: index % classes, index: number, size: size, seed: Self.seed).copy(into: row)
            }
        case .folder(let all, _, let parts, _, _):
            let data =
                switch part {
                case .heldOut: parts?.heldOut ?? all
                case .lesson: parts?.lessons ?? all
                case .reference, .second: all
                }
            let taken = min(count, data.count)
            return data.labelledLatents((0..<taken).map { $0 * data.count / taken }, pool: pool)
        }
    }

    /// The first images of the reference part, as pictures.
    package func examples(_ count: Int) -> [RGBImage] {
        let images = latents(.reference, count, pool: ThreadPool(threads: 1)).values
        return (0..<images.rows).map { RGBImage(images.row($0).array, side: size, halvesUp: false) }
    }
}
