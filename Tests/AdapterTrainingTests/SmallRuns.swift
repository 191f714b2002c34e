import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import ImageFiles
import TensorMath

/// A network and pictures small enough to train in a test.
enum Small {
    static let configuration = DiTConfiguration(
        inputSize: 8, patchSize: 2, inChannels: 3, hiddenSize: 32, depth: 4, numHeads: 2, numClasses: 2, learnSigma: false)

    /// Six dark pictures and three light ones, no two alike.
    static let data = pictures(dark: 6, light: 3)

    static let (images, labels) = drawn(dark: 6, light: 3)

    static func pictures(dark: Int, light: Int, size: Int = 8) -> TrainingData {
        let (images, labels) = drawn(dark: dark, light: light, size: size)
        return TrainingData(classNames: ["dark", "light"], size: size, images: images, labels: labels, summary: "test")
    }

    private static func drawn(dark: Int, light: Int, size: Int = 8) -> (images: [RGBImage], labels: [Int]) {
        var shades: [UInt8] = []
        for index in 0..<dark { shades.append(UInt8(20 + 3 * index)) }
        for index in 0..<light { shades.append(UInt8(200 + 5 * index)) }
        let images = shades.map { shade in
            var image = RGBImage(width: size, height: size, filledWith: (shade, shade / 2, 60))
            for pixel in stride(from: 0, to: size * size, by: 3) { image.pixels[pixel * 3] = 255 - shade }
            return image
        }
        return (images, [Int](repeating: 0, count: dark) + [Int](repeating: 1, count: light))
    }

    static func settings(steps: Int = 6, batch: Int = 8, seed: UInt64 = 7) -> TrainingSettings {
        var settings = TrainingSettings(steps: steps, batch: batch, seed: seed, learningRate: 1e-2)
        settings.warmup = 1
        return settings
    }

    static func run(_ settings: TrainingSettings, threads: Int = 2, data: TrainingData = data) throws -> TrainingRun {
        try TrainingRun.base(
            settings, configuration, objective: TrainingObjective(DiffusionConvention(path: .rectifiedFlow, prediction: .x0)), data: data,
            pool: ThreadPool(threads: threads))
    }

    /// A base file after a few steps, so that no matrix is zero.
    static func base(in folder: String) throws -> BaseFile {
        let path = folder + "/base.safetensors"
        let run = try run(settings())
        while !run.isFinished { try run.advance() }
        try run.writeBase(named: "small", configuration: configuration, to: path, as: .f32)
        return try BaseFile(path: path)
    }
}

/// A folder of the test's own, gone at its end.
struct TemporaryFolder: ~Copyable {
    let path = NSTemporaryDirectory() + "training-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

func bits(_ values: TrainableValues) -> [UInt32] { values.all.array.map(\.bitPattern) }
