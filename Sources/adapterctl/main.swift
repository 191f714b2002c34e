import AdapterFormat
import AdapterTraining
import DiTModel
import TensorMath
import Foundation

let c = DiTConfiguration(inputSize: 32, patchSize: 4, inChannels: 3, hiddenSize: 192, depth: 8, numHeads: 6, numClasses: 20, learnSigma: false)
let layout = TunableLayout(c)
let pool = ComputePool()
print(blasDescription, pool.lanes)
let params = TrainableValues(layout, classes: 20, withWeights: true)
var noise = [Float](repeating: 0, count: params.all.count)
NoiseStream(seed: 1, stream: 2).normals(into: &noise)
params.all.copy(from: noise.map { $0 * 0.05 })
let model = DiT(c, weights: params.weights!)
let B = 64
let mem = Memory(capacity: B * 3072 * 3)
let x = mem.take(B, 3072)
NoiseStream(seed: 1, stream: 3).normals(into: x)
for full in [true, false] {
    let step = GradientStep(model, layout: layout, classes: 20, trainsWeights: full, pool: pool)
    for _ in 0..<4 {
        let t0 = Date()
        step.run(x: x, times: [Float](repeating: 300, count: B), classes: [Int](repeating: 3, count: B), tunables: params.tunables) { i, o, g in
            g.copy(from: o)
        }
        print(full, Date().timeIntervalSince(t0), step.bytes / 1_000_000, "MB")
    }
}
let bank = TunableBank(layout, rows: 2, classRows: 21)
let batch = DiTBatch(model, bank: bank, rows: B, pool: pool)
let out = mem.take(B, 3072)
for _ in 0..<3 {
    let t0 = Date()
    batch.forward(x: x, times: [Float](repeating: 300, count: B), classes: [Int](repeating: 3, count: B), bankRows: [Int](repeating: 0, count: B), into: out)
    print("forward", Date().timeIntervalSince(t0))
}
let a = mem.take(256, 192)
let w = params.weights!.blocks[0].fc1
let o2 = Memory(capacity: 256*768+64).take(256,768)
for m in [64,128,256] { let t0 = Date(); for _ in 0..<200 { multiply(.plain(a.rows(0..<m)), .transposed(w), into: o2.rows(0..<m)) }; print(m, 2.0*Double(m)*768*192*200/Date().timeIntervalSince(t0)/1e9, "GFLOP/s one thread") }
