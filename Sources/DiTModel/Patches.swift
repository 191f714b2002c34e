import AdapterFormat
import TensorMath

/// Images to tokens and back (`DiT.md`, "Patches" and "Final layer").
package enum Patches {
    /// Cuts one image [C, S, S] into (T, C p p): channel slowest, then row, then column of the patch.
    static func cut(_ image: Matrix, _ configuration: DiTConfiguration, into patches: Matrix) {
        let S = configuration.inputSize
        let p = configuration.patchSize
        let G = configuration.gridSize
        image.withSpan { image in
            patches.withMutableSpan { out in
                var at = 0
                for row in 0..<G {
                    for column in 0..<G {
                        for channel in 0..<configuration.inChannels {
                            for i in 0..<p {
                                let line = (channel * S + row * p + i) * S + column * p
                                for j in 0..<p {
                                    out[at] = image[line + j]
                                    at += 1
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lays (T, p p Cout) out as one image [Cout, S, S]; in a patch the channel is fastest.
    static func join(_ patches: Matrix, _ configuration: DiTConfiguration, into image: Matrix) {
        patches.withSpan { patches in
            image.withMutableSpan { image in
                forEachOutput(configuration) { image[$1] = patches[$0] }
            }
        }
    }

    /// The transpose of `join`, for gradients.
    static func split(_ image: Matrix, _ configuration: DiTConfiguration, into patches: Matrix) {
        image.withSpan { image in
            patches.withMutableSpan { patches in
                forEachOutput(configuration) { patches[$0] = image[$1] }
            }
        }
    }

    private static func forEachOutput(_ configuration: DiTConfiguration, _ body: (_ patchIndex: Int, _ imageIndex: Int) -> Void) {
        let S = configuration.inputSize
        let p = configuration.patchSize
        let G = configuration.gridSize
        var at = 0
        for row in 0..<G {
            for column in 0..<G {
                for i in 0..<p {
                    for j in 0..<p {
                        for channel in 0..<configuration.outChannels {
                            body(at, (channel * S + row * p + i) * S + column * p + j)
                            at += 1
                        }
                    }
                }
            }
        }
    }
}
