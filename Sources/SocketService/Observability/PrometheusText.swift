extension PrometheusRegistry {
    /// The Prometheus text format, version 0.0.4; in a fixed order.
    package func text(help: [String: String] = [:]) -> String {
        var text = ""
        var last = ""
        for (key, series) in all.sorted(by: { ($0.key.name, $0.key.labelText) < ($1.key.name, $1.key.labelText) }) {
            if key.name != last {
                if let help = help[key.name] { text += "# HELP \(key.name) \(help)\n" }
                text += "# TYPE \(key.name) \(series.kind.rawValue)\n"
                last = key.name
            }
            text += series.lines(key)
        }
        return text
    }
}

extension PrometheusRegistry.Key {
    fileprivate var labelText: String { labels.map(\.text).joined(separator: ",") }

    /// `name_suffix{labels,extra}`
    fileprivate func line(_ suffix: String = "", _ extra: String? = nil, _ value: String) -> String {
        let inside = (labels.map(\.text) + (extra.map { [$0] } ?? [])).joined(separator: ",")
        return name + suffix + (inside.isEmpty ? "" : "{\(inside)}") + " \(value)\n"
    }
}

extension PrometheusRegistry.Label {
    /// No value can end its quotes or its line.
    fileprivate var text: String {
        let safe = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
        return "\(name)=\"\(safe)\""
    }
}

extension Series {
    fileprivate func lines(_ key: PrometheusRegistry.Key) -> String {
        let numbers = numbers
        guard kind == .histogram else { return key.line("", nil, number(numbers.value)) }
        var text = ""
        var total = 0
        for (bound, count) in zip(bounds, numbers.buckets) {
            total += count
            text += key.line("_bucket", "le=\"\(number(bound))\"", "\(total)")
        }
        return text + key.line("_bucket", "le=\"+Inf\"", "\(numbers.count)") + key.line("_sum", nil, number(numbers.value))
            + key.line("_count", nil, "\(numbers.count)")
    }
}

private func number(_ value: Double) -> String { value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)" }
