import AdapterFormat
import ArgumentParser
import TensorMath

struct BenchMachine: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "machine", abstract: "What this machine can do at most: arithmetic on registers, and reads from each level of memory.",
        discussion: """
            Example: adapterctl bench machine
            Other benchmarks print their share of these rates. The least of several times counts, since machines are shared.
            """)
    @OptionGroup var output: OutputOptions

    private struct Result: Encodable {
        let processor: String
        let rates: MachineRates
        /// What multiplies at each precision here.
        let kernels: [String: String]
        let warning: String?
    }

    func run() throws {
        let result = Result(
            processor: Processors.name, rates: .measure(ThreadPool()),
            kernels: Dictionary(uniqueKeysWithValues: Precision.supported.map { ($0.rawValue, $0.libraries) }), warning: kernelWarning)
        try output.report("bench machine", result) {
            var lines = ["\(result.processor), \(result.rates.threads, "thread")"]
            lines.append(
                table(
                    [["ON REGISTERS", "ONE THREAD", "ALL"]]
                        + result.rates.arithmetic.map { [$0.factors, gigas($0.one, "op/s"), gigas($0.all, "op/s")] }))
            lines.append(
                table(
                    [["READS FROM", "OF EACH THREAD", "ONE THREAD", "ALL"]]
                        + result.rates.bandwidths.map { [$0.level, readable(bytes: $0.bytes), gigas($0.one, "B/s"), gigas($0.all, "B/s")] }))
            lines += Precision.supported.map { "\($0.rawValue): \($0.libraries)" }
            if let warning = result.warning { lines.append("warning: \(warning)") }
            return lines.joined(separator: "\n")
        }
    }

    private func gigas(_ value: Double, _ unit: String) -> String {
        (value / 1e9).formatted(.number.precision(.significantDigits(3)).grouping(.never)) + " G" + unit
    }
}
