import CKernels
import Foundation
import TensorMath
import Testing

private func noise(_ rows: Int, _ columns: Int, stream: UInt64) -> Matrix {
    let matrix = Memory(capacity: Memory.paddedCount(rows * columns)).take(rows, columns)
    Philox(seed: 28, stream: stream).normals(into: matrix)
    return matrix
}

@Suite struct ImageLoopTests {
    /// Against sums in double precision, at every level this processor has. In a process of its own: the level is global.
    @Test func momentsAndActivationsAgreeWithTheirFormulas() async {
        await #expect(processExitsWith: .success) {
            for level in [CK_SCALAR, CK_AVX2, CK_AVX512] where ck_set_level(level) == level {
                for (pixels, channels, groups) in [(1, 4, 4), (7, 6, 2), (45, 40, 5), (130, 96, 32)] {
                    checkMoments(pixels, channels, groups)
                    checkActivations(pixels, channels)
                }
            }
        }
    }

    /// Stride 1 and 2, one and two rows, with and without adding: oneDNN where it is present, and the plain products.
    @Test(arguments: Array(Set([WeightForm.plain, .best(for: .f32)])))
    func convolutionsAgreeWithTheirFormula(form: WeightForm) {
        for (kernel, stride, adds) in [(1, 1, false), (2, 1, true), (3, 1, false), (3, 1, true), (3, 2, false)] {
            let shape = ConvolutionShape(inChannels: 5, outChannels: 6, kernel: kernel, stride: stride, rows: 2, columns: 7)
            let image = noise(shape.inRows * shape.inColumns, 5, stream: 1), out = noise(14, 6, stream: 2)
            let weight = noise(1, shape.weightCount, stream: 3).array, bias = noise(1, 6, stream: 4).array
            let before = out.array
            let strip = PaddedStrip(in: noise(1, 1024, stream: 5), rows: shape.inRows, columns: shape.inColumns, channels: 5, dtype: .f32)
            strip.load(image, width: shape.inColumns, from: 0, left: 0, .none)
            let convolution = Convolution(shape, weight: weight, bias: bias, adds: adds, form)
            convolution.run(strip, into: out, scratch: noise(1, max(convolution.scratchCount, 1), stream: 6))
            for pixel in 0..<14 {
                for channel in 0..<6 {
                    var sum = Double(bias[channel]) + (adds ? Double(before[pixel * 6 + channel]) : 0)
                    for tap in 0..<(kernel * kernel) {
                        let row = pixel / 7 * stride + tap / kernel, column = pixel % 7 * stride + tap % kernel
                        for from in 0..<5 {
                            sum += Double(weight[(channel * 5 + from) * kernel * kernel + tap]) * Double(image[row * shape.inColumns + column, from])
                        }
                    }
                    #expect(abs(Double(out[pixel, channel]) - sum) < 1e-5, "kernel \(kernel), stride \(stride)")
                }
            }
        }
    }

    /// A strip that reaches beyond the image on every side has zeros there.
    @Test func stripsBringTheirBorder() {
        let image = noise(2 * 3, 2, stream: 1)
        let strip = PaddedStrip(in: noise(1, 64, stream: 2), rows: 4, columns: 5, channels: 2, dtype: .f32)
        strip.load(image, width: 3, from: -1, left: 1, .none)
        let shape = ConvolutionShape(inChannels: 2, outChannels: 2, kernel: 1, rows: 4, columns: 5)
        let out = noise(20, 2, stream: 3)
        Convolution(shape, weight: [1, 0, 0, 1], bias: [0, 0], .plain).run(strip, into: out, scratch: out)
        for pixel in 0..<20 {
            let (row, column) = (pixel / 5 - 1, pixel % 5 - 1)
            let inside = (0..<2).contains(row) && (0..<3).contains(column)
            for channel in 0..<2 { #expect(out[pixel, channel] == (inside ? image[row * 3 + column, channel] : 0)) }
        }
    }
}

private func checkMoments(_ pixels: Int, _ channels: Int, _ groups: Int) {
    let x = noise(pixels, channels, stream: 1), width = channels / groups
    // Far from zero, where a difference of squares would lose its digits.
    x.withMutableSpan { for i in $0.indices { $0[i] += 100 } }
    let mean = noise(1, groups, stream: 2), deviation = noise(1, groups, stream: 3)
    groupMoments(x, mean: mean, deviation: deviation, scratch: noise(1, 2 * channels, stream: 4))
    for group in 0..<groups {
        let values = (0..<pixels).flatMap { p in (0..<width).map { Double(x[p, group * width + $0]) } }
        let average = values.reduce(0, +) / Double(values.count), squares = values.reduce(0) { $0 + ($1 - average) * ($1 - average) }
        precondition(abs(Double(mean[0, group]) - average) < 1e-4, "mean \(mean[0, group]) for \(average)")
        precondition(abs(Double(deviation[0, group]) - squares) <= 1e-4 * squares + 1e-6, "deviation \(deviation[0, group]) for \(squares)")
    }
}

private func checkActivations(_ pixels: Int, _ channels: Int) {
    let x = noise(pixels, channels, stream: 5), scale = noise(1, channels, stream: 6), shift = noise(1, channels, stream: 7)
    x.withMutableSpan { $0[0] = 1e4 }
    for dtype in [DType.f32, .bf16] {
        for silu in [false, true] {
            let scratch = noise(1, 2 * pixels * channels, stream: 8)
            let strip = PaddedStrip(in: scratch, rows: 1, columns: pixels, channels: channels, dtype: dtype)
            strip.load(x, width: pixels, from: 0, left: 0, silu ? .scaledSilu(scale, shift: shift) : .scaled(scale, shift: shift))
            let stored = scratch.array
            for index in 0..<(pixels * channels) {
                let value = Double(x[index / channels, index % channels]) * Double(scale[0, index % channels]) + Double(shift[0, index % channels])
                let expected = silu ? value / (1 + exp(-value)) : value
                let word = stored[dtype == .f32 ? index : index / 2].bitPattern
                let got = dtype == .f32 ? Float(bitPattern: word) : Float(bitPattern: index % 2 == 0 ? word << 16 : word & 0xffff_0000)
                let tolerance = (dtype == .f32 ? 2e-6 : 0.0040) * abs(expected) + 1e-6
                precondition(abs(Double(got) - expected) <= tolerance, "\(got) for \(expected), \(dtype), silu \(silu)")
            }
        }
    }
}
