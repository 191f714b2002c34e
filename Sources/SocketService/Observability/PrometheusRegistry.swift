import CoreMetrics
import Synchronization

/// Every series of the process, kept for `/metrics`: a swift-metrics factory of counters, gauges and histograms.
///
/// Timers and aggregating recorders become histograms; names that end in `_seconds` have buckets of time.
package final class PrometheusRegistry: MetricsFactory {
    struct Key: Hashable, Sendable {
        let name: String
        let labels: [Label]
    }

    struct Label: Hashable, Sendable {
        let name: String
        let value: String
    }

    private let series = Mutex<[Key: Series]>([:])

    package init() {}

    var all: [Key: Series] { series.withLock { $0 } }

    private func series(_ name: String, _ dimensions: [(String, String)], _ kind: Series.Kind) -> Series {
        let key = Key(name: name, labels: dimensions.map { Label(name: $0.0, value: $0.1) })
        return series.withLock { series in
            if let known = series[key] { return known }
            let new = Series(kind, buckets: name.hasSuffix("_seconds") ? Series.timeBuckets : Series.countBuckets)
            series[key] = new
            return new
        }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { series(label, dimensions, .counter) }
    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { series(label, dimensions, .gauge) }
    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { series(label, dimensions, .histogram) }
    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        series(label, dimensions, aggregate ? .histogram : .gauge)
    }

    /// Takes away every series of a name, whatever its labels.
    func remove(_ name: String) { series.withLock { series in series = series.filter { $0.key.name != name } } }

    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
}

/// The numbers of one series.
final class Series: CounterHandler, MeterHandler, RecorderHandler, TimerHandler {
    enum Kind: String { case counter, gauge, histogram }

    struct Numbers: Sendable {
        var value = 0.0
        var count = 0
        /// One more than there are bounds; the last takes the rest.
        var buckets: [Int]
    }

    static let timeBuckets = [1e-6, 1e-5, 1e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
    static let countBuckets: [Double] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024]

    let kind: Kind
    let bounds: [Double]
    private let state: Mutex<Numbers>

    init(_ kind: Kind, buckets: [Double]) {
        self.kind = kind
        bounds = buckets
        state = Mutex(Numbers(buckets: [Int](repeating: 0, count: buckets.count + 1)))
    }

    var numbers: Numbers { state.withLock { $0 } }

    func increment(by amount: Int64) { state.withLock { $0.value += Double(amount) } }
    func increment(by amount: Double) { state.withLock { $0.value += amount } }
    func decrement(by amount: Double) { state.withLock { $0.value -= amount } }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { state.withLock { $0.value = value } }
    func reset() { state.withLock { $0 = Numbers(buckets: [Int](repeating: 0, count: bounds.count + 1)) } }
    func record(_ value: Int64) { record(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

    func record(_ value: Double) {
        guard kind == .histogram else { return set(value) }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock { numbers in
            numbers.value += value
            numbers.count += 1
            numbers.buckets[bucket] += 1
        }
    }
}
