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

func load(_ path: String) throws -> [Float] {
    let data = try Data(contentsOf: URL(filePath: path))
    return unsafe data.withUnsafeBytes { unsafe Array($0.bindMemory(to: Float.self)) }
}

struct Base {
    let configuration: DiTConfiguration
    let layout: TunableLayout
    let values: TrainableValues
    init(_ path: String) throws {
        let classes = SyntheticDomain.base.classes.count
        configuration = c(classes)
        layout = TunableLayout(configuration)
        values = TrainableValues(layout, classes: classes, withWeights: true)
        values.all.copy(from: try load(path))
    }
}

func sample(_ batch: DiTBatch, classes: [Int], null: Int, seed: UInt64, guidance: Float, steps: Int, x: Matrix, out: Matrix) -> [RGBImage] {
    let n = classes.count
    for k in 0..<n { NoiseStream(seed: seed, stream: UInt64(k)).normals(into: x.row(k)) }
    var previous: [Float] = []
    for step in 0..<steps {
        let t = Float(step) / Float(steps), next = Float(step + 1) / Float(steps)
        for k in 0..<n { x.row(n + k).copy(from: x.row(k)) }
        batch.forward(
            x: x.rows(0..<2 * n), times: [Float](repeating: t * 1000, count: 2 * n), classes: classes + [Int](repeating: null, count: n),
            bankRows: [Int](repeating: 0, count: 2 * n), into: out.rows(0..<2 * n))
        let o = out.rows(0..<2 * n).array
        var values = x.rows(0..<n).array
        var velocity = [Float](repeating: 0, count: values.count)
        for i in values.indices {
            let x0 = max(-1, min(1, o[values.count + i] + guidance * (o[i] - o[values.count + i])))
            velocity[i] = (x0 - values[i]) / (1 - t)
            let v = step == 0 || step == steps - 1 ? velocity[i] : 1.5 * velocity[i] - 0.5 * previous[i]
            values[i] += (next - t) * v
        }
        previous = velocity
        x.rows(0..<n).copy(from: values)
    }
    return (0..<n).map { k in
        let v = x.row(k).array
        var image = RGBImage(width: 32, height: 32)
        for p in 0..<1024 { for ch in 0..<3 { image.pixels[p * 3 + ch] = UInt8(max(0, min(255, (v[ch * 1024 + p] + 1) * 127.5 + 0.5))) } }
        return image
    }
}

func sampleSheet(_ base: Base, adapter: String?, classes: Int, to path: String, guidance: Float, steps: Int) throws {
    let tunables = TrainableValues(base.layout, classes: classes, withWeights: false)
    if let adapter { tunables.all.copy(from: try load(adapter)) }
    let vector = TunableVector(adapter == nil ? base.values.vector.array : tunables.vector.array, layout: base.layout)
    let table = ClassTable(names: (0..<classes).map(String.init), values: adapter == nil ? base.values.classTable.array : tunables.classTable.array)
    let bank = TunableBank(base.layout, rows: 1, classRows: classes + 1)
    bank.install(vector, table, row: 0)
    let columns = 8
    let batch = DiTBatch(DiT(base.configuration, weights: base.values.weights!), bank: bank, rows: 2 * columns, pool: ComputePool())
    let memory = Memory(capacity: 2 * 2 * columns * 3072)
    let x = memory.take(2 * columns, 3072), out = memory.take(2 * columns, 3072)
    var page = RGBImage(width: columns * 66, height: classes * 66)
    let t0 = Date()
    for k in 0..<classes {
        let images = sample(batch, classes: [Int](repeating: k, count: columns), null: classes, seed: UInt64(7 + k), guidance: guidance, steps: steps, x: x, out: out)
        for (i, image) in images.enumerated() { page.draw(image.enlarged(by: 2), x: i * 66, y: k * 66) }
    }
    say("\(path): \(Date().timeIntervalSince(t0) / Double(classes * columns)) s per image")
    try page.writePNG(to: path)
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
case "adapt":  // adapt DOMAIN base.bin out.bin steps lr perClass batch
    let base = try Base(arguments[3])
    let data = draw(.named(arguments[2])!, perClass: Int(arguments[7])!, seed: 1)
    let n = data.classNames.count
    let values = TrainableValues(base.layout, classes: n, withWeights: false)
    values.vector.copy(from: base.values.vector)
    let null = base.values.classTable.row(base.configuration.numClasses)
    for row in 0...n {
        NoiseStream(seed: 1, stream: UInt64(row)).normals(into: values.classTable.row(row))
        values.classTable.row(row).withMutableSpan { for i in $0.indices { $0[i] *= row == n ? 0 : 0.02 } }
        add(null, to: values.classTable.row(row))
    }
    var settings = TrainingSettings(steps: Int(arguments[5])!, batch: Int(arguments[8])!, seed: 2, learningRate: Float(arguments[6])!)
    settings.emaDecay = 0.995
    let set = TrainableSet(.difffit, gammaDepth: arguments.count > 9 ? Int(arguments[9])! : base.configuration.depth / 2)
    let run = TrainingRun(
        settings, set, objective: TrainingObjective(try DiffusionConvention(path: .linear, prediction: .x0)), data: data,
        model: DiT(base.configuration, weights: base.values.weights!), values: values, layout: base.layout, pool: ComputePool())
    var sum: Float = 0
    let start = Date()
    while run.step < settings.steps {
        sum += run.advance()
        if run.step % 100 == 0 {
            say("\(arguments[2]) step \(run.step) loss \(sum / 100) \(Double(run.step * settings.batch) / Date().timeIntervalSince(start)) images/s")
            sum = 0
        }
    }
    try dump(run.average.all.array, arguments[4])
case "sample":  // sample base.bin DOMAIN adapter.bin out.png guidance steps
    let base = try Base(arguments[2])
    let domain = SyntheticDomain.named(arguments[3])!
    try sampleSheet(base, adapter: arguments[4] == "-" ? nil : arguments[4], classes: domain.classes.count, to: arguments[5], guidance: Float(arguments[6])!, steps: Int(arguments[7])!)
default: say("?")
}
