import AdapterFormat
import DiTModel
import Diffusion
import ImageFiles
import TensorMath

/// What a run learns from: pictures, or a teacher.
///
/// Every random number of a batch is a function of (seed, step, image), so that a run which was stopped goes on as if it never had been.
package protocol TrainingSource: AnyObject {
    var convention: DiffusionConvention { get }
    /// What a base that is trained on it predicts, as its card says.
    var prediction: String { get }
    /// What it is, as an adapter's manifest records it.
    var summary: String { get }
    /// Equal sources give equal batches.
    var digest: Digest { get }
    /// Equal for what a checkpoint of one may go on with.
    var identity: String { get }
    /// How a user sees it where a checkpoint belongs to another one, and what it is called there.
    var shown: (name: String, value: String) { get }
    /// Images that are trained on.
    var imageCount: Int { get }
    /// Classes whose rows are trained; empty where no class table is.
    var classNames: [String] { get }
    /// Classes of the largest table that a batch is conditioned on.
    var classCount: Int { get }
    /// Vectors that a run trains: one, or one for each step of a sampler.
    var vectors: Int { get }
    /// Updates of one step of training, each from a batch of its own.
    var updates: Int { get }
    /// What was taken of the images, where not all were.
    var taken: DataTaken? { get }
    /// What `data.json` says.
    var facts: any Encodable { get }
    /// Whether something is kept apart to measure on.
    var hasHeldOut: Bool { get }

    /// The vectors that an update moves. Where a class table is trained, every update moves it.
    func moves(ofUpdate update: Int, step: Int) -> [VectorMove]
    /// Images of one update, good until the next call.
    func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool: ThreadPool) -> TrainingBatch
    /// The error of values on what is never trained on.
    func heldOutError(_ model: DiT, _ values: TrainableValues, pool: ThreadPool) throws -> Float
    /// A few pictures of values as they are, always of the same noise; nil where the base makes no pictures itself.
    func sheet(_ model: DiT, _ values: TrainableValues, layout: TunableLayout, pool: ThreadPool) throws -> RGBImage?
}

extension TrainingSource {
    package var identity: String { "\(digest)" }
    package var prediction: String { convention.prediction.rawValue }
    package var taken: DataTaken? { nil }
    package var vectors: Int { updates }
    package func moves(ofUpdate update: Int, step: Int) -> [VectorMove] { [VectorMove(vector: update)] }
}

/// A vector that an update moves.
package struct VectorMove: Sendable {
    package let vector: Int
    /// Its share of the learning rate.
    package var rate: Float = 1
    /// Its gradient over that of what the network was shown.
    package var gradient: Float = 1

    package init(vector: Int, rate: Float = 1, gradient: Float = 1) {
        self.vector = vector
        self.rate = rate
        self.gradient = gradient
    }
}

/// Images as the network is shown them, and what is asked of its outputs.
package struct TrainingBatch {
    /// x_t, (images, C S S).
    package let x: Matrix
    /// t per image, as the embedder takes it.
    package let times: [Float]
    /// Row of the class table per image.
    package let classes: [Int]
    /// What the network is run with: the values that are trained, or a domain's with these added.
    package let tunables: Tunables
    /// The loss of one image by its place in the batch, before `scale`, and d(scale loss) / d(output), which is overwritten.
    package let loss: @Sendable (_ image: Int, _ output: Matrix, _ scale: Float, _ gradient: Matrix) -> Float

    package init(
        x: Matrix, times: [Float], classes: [Int], tunables: Tunables,
        loss: @escaping @Sendable (_ image: Int, _ output: Matrix, _ scale: Float, _ gradient: Matrix) -> Float
    ) {
        self.x = x
        self.times = times
        self.classes = classes
        self.tunables = tunables
        self.loss = loss
    }
}
