import CoreMetrics
import Logging
import SocketService
import Synchronization
import Testing

/// Names can not inject into metrics or logs.
struct ObservabilityTests {
    @Test func theTextIsPrometheus() {
        let registry = PrometheusRegistry()
        Counter(label: "a_total", dimensions: [("adapter", "flowers")], factory: registry).increment(by: 3)
        Counter(label: "a_total", dimensions: [("adapter", "flowers")], factory: registry).increment()
        Meter(label: "g", dimensions: [], factory: registry).set(2.5)
        for value in [0.0007, 0.2, 1000] { Recorder(label: "t_seconds", dimensions: [], aggregate: true, factory: registry).record(value) }
        let text = registry.text(help: ["g": "A gauge."])
        let lines = text.split(separator: "\n").map(String.init)
        #expect(
            lines.prefix(5) == ["# TYPE a_total counter", #"a_total{adapter="flowers"} 4"#, "# HELP g A gauge.", "# TYPE g gauge", "g 2.5"])
        #expect(lines.contains(#"t_seconds_bucket{le="0.0001"} 0"#))
        #expect(lines.contains(#"t_seconds_bucket{le="0.001"} 1"#))
        #expect(lines.contains(#"t_seconds_bucket{le="0.25"} 2"#))
        #expect(lines.contains(#"t_seconds_bucket{le="300"} 2"#))
        #expect(lines.suffix(3) == [#"t_seconds_bucket{le="+Inf"} 3"#, "t_seconds_sum 1000.2007", "t_seconds_count 3"])
    }

    @Test func aLabelCanNotEndItsQuotesOrItsLine() {
        let registry = PrometheusRegistry()
        Counter(label: "a_total", dimensions: [("adapter", "x\"} 1\nfaked_total 9\\")], factory: registry).increment()
        #expect(registry.text() == "# TYPE a_total counter\na_total{adapter=\"x\\\"} 1\\nfaked_total 9\\\\\"} 1\n")
    }

    @Test func aLogLineStaysOneLine() {
        let lines = Mutex<[String]>([])
        var logger = Logger(label: "test") { _ in LineLog(level: .info) { line in lines.withLock { $0.append(line) } } }
        logger[metadataKey: "request"] = "7"
        logger.info(
            "answered", metadata: ["call": "GET /a b\n2026 info answered user=\"root\"\u{1b}[31m", "plain": "flowers@35c7", "empty": ""])
        logger.debug("not shown")
        let all = lines.withLock { $0 }
        #expect(all.count == 1)
        let line = all.joined()
        #expect(line.filter { $0 == "\n" }.count == 1)
        #expect(line.hasSuffix("\n"))
        #expect(!line.contains("\u{1b}"))
        #expect(line.contains(" info answered "))
        #expect(line.contains("plain=flowers@35c7"))
        #expect(line.contains("request=7"))
        #expect(line.contains("empty=\"\""))
        #expect(line.contains(#"\n2026 info answered user=\"root\""#))
    }
}
