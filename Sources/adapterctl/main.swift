import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import ImageFiles
import SyntheticDomains
import TensorMath

func say(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }

func sheet(_ domain: SyntheticDomain, columns: Int, to path: String, enlarge: Int = 2) throws {
    let cell = 32 * enlarge + 2
    var page = RGBImage(width: columns * cell, height: domain.classes.count * cell)
    for row in domain.classes.indices {
        for column in 0..<columns {
            page.draw(domain.image(class: row, index: column, size: 32, seed: 1).enlarged(by: enlarge), x: column * cell, y: row * cell)
        }
    }
    try page.writePNG(to: path)
}

func draw(_ domain: SyntheticDomain, perClass: Int, seed: UInt64) -> TrainingData {
    var images: [RGBImage] = [], labels: [Int] = []
    for c in domain.classes.indices {
        for i in 0..<perClass {
            images.append(domain.image(class: c, index: i, size: 32, seed: seed))
            labels.append(c)
        }
    }
    return TrainingData(classNames: domain.classes, size: 32, images: images, labels: labels, summary: "synthetic:\(domain.name)")
}

func dump(_ values: [Float], _ path: String) throws {
    try unsafe values.withUnsafeBytes { try unsafe Data($0).write(to: URL(filePath: path), options: .atomic) }
}

let arguments = CommandLine.arguments
let c = { (classes: Int) in
    DiTConfiguration(inputSize: 32, patchSize: 4, inChannels: 3, hiddenSize: 192, depth: 8, numHeads: 6, numClasses: classes, learnSigma: false)
}
switch arguments[1] {
case "sheet":
    let t0 = Date()
    try sheet(SyntheticDomain.named(arguments[2])!, columns: 14, to: arguments[3])
    say("\(SyntheticDomain.named(arguments[2])!.classes) \(Date().timeIntervalSince(t0))")
case "sheets":
    for domain in SyntheticDomain.downstream { try sheet(domain, columns: 12, to: "\(arguments[2])/\(domain.name).png") }
case "basetrain":
    let t0 = Date()
    let data = draw(.base, perClass: Int(arguments[4])!, seed: 1)
    say("\(data.count) images drawn in \(Date().timeIntervalSince(t0)) s, \(blasDescription)")
    let configuration = c(data.classNames.count)
    let layout = TunableLayout(configuration)
    let values = TrainableValues(layout, classes: data.classNames.count, withWeights: true)
    values.initialise(layout, seed: 1)
    var settings = TrainingSettings(steps: Int(arguments[2])!, batch: 64, seed: 1, learningRate: 1e-3)
    settings.emaDecay = 0.999
    settings.flips = true
    let objective = TrainingObjective(try DiffusionConvention(path: .linear, prediction: .x0))
    let run = TrainingRun(
        settings, TrainableSet(.full, configuration), objective: objective, data: data, model: DiT(configuration, weights: values.weights!), values: values,
        layout: layout, pool: ComputePool())
    var sum: Float = 0
    let start = Date()
    while run.step < settings.steps {
        sum += run.advance()
        if run.step % 100 == 0 {
            let seconds = Date().timeIntervalSince(start)
            say("step \(run.step) loss \(sum / 100) \(Double(run.step) * 64 / seconds) images/s")
            sum = 0
        }
        if run.step % 500 == 0 { try dump(run.average.all.array, arguments[3]) }
    }
    try dump(run.average.all.array, arguments[3])
default: say("?")
}
