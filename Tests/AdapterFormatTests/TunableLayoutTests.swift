import AdapterFormat
import Testing

/// Trainable counts of DiT-XL/2, from `DiffFit.md`, "Trainable sets".
struct TunableLayoutTests {
    let configuration = DiTConfiguration.preset("DiT-XL/2")!

    @Test(arguments: [
        (101, 607_136, 703_904, 832_928), (397, 948_128, 1_044_896, 1_173_920), (200, 721_184, 817_952, 946_976),
        (10, 502_304, 599_072, 728_096), (102, 608_288, 705_056, 834_080), (196, 716_576, 813_344, 942_368),
        (1000, 1_642_784, 1_739_552, 1_868_576),
    ])
    func countsOfThePaper(classes: Int, bitfit: Int, a: Int, b: Int) {
        let layout = TunableLayout(configuration)
        #expect(TrainableSet(.bitfit, configuration).count(in: layout, classes: classes) == bitfit)
        #expect(TrainableSet(.difffitA, configuration).count(in: layout, classes: classes) == a)
        #expect(TrainableSet(.difffit, configuration).count(in: layout, classes: classes) == b)
    }

    @Test(arguments: [("DiT-S/2", 71_072), ("DiT-B/2", 142_112), ("DiT-L/2", 373_792)])
    func biasTotals(name: String, biases: Int) {
        let layout = TunableLayout(DiTConfiguration.preset(name)!)
        #expect(layout.tensors.filter { $0.kind == .bias }.reduce(0) { $0 + $1.count } == biases)
    }

    @Test func tensorsAreContiguousAndNamedOnce() {
        let layout = TunableLayout(configuration)
        var end = 0
        for tensor in layout.tensors {
            #expect(tensor.range.lowerBound == end)
            #expect(layout[tensor.name] == tensor)
            end = tensor.range.upperBound
        }
        #expect(end == layout.count)
    }
}
