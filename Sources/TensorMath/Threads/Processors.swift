import Foundation

/// How many processors a process may use: what its affinity leaves it (taskset, SLURM, cpusets), and the time that its control groups give
/// it (a container's `--cpus`, a unit's `CPUQuota`).
package enum Processors {
    /// What the system calls this machine's processor; "unknown" where it does not say.
    package static var name: String {
        let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = information.split(separator: "\n").first { $0.hasPrefix("model name") }
        return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
    }

    /// - Parameters:
    ///   - affinity: processors that the scheduler may choose from.
    ///   - root: where `/proc` and `/sys` lie.
    package static func count(affinity: Int, root: String = "/") -> Int {
        guard let quota = quota(root: root) else { return max(1, affinity) }
        return max(1, min(affinity, Int(quota.rounded(.up))))
    }

    /// The least share, in processors, of a process's control group and of those above it; nil where none has a limit.
    static func quota(root: String) -> Double? {
        func text(_ path: String) -> String? { try? String(contentsOfFile: root + path, encoding: .utf8) }
        var shares: [Double] = []
        for line in text("proc/self/cgroup")?.split(separator: "\n") ?? [] {
            // `0::/a/b` of version 2, `4:cpu,cpuacct:/a/b` of version 1.
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 3, parts[1].isEmpty || parts[1].split(separator: ",").contains("cpu") else { continue }
            let mount = parts[1].isEmpty ? "sys/fs/cgroup" : "sys/fs/cgroup/cpu"
            var group = parts[2].split(separator: "/")
            while true {
                let folder = ([mount] + group.map(String.init)).joined(separator: "/")
                let numbers =
                    parts[1].isEmpty
                    ? text(folder + "/cpu.max")?.split(whereSeparator: \.isWhitespace).map { Double($0) }
                    : [text(folder + "/cpu.cfs_quota_us"), text(folder + "/cpu.cfs_period_us")].map {
                        $0.flatMap { Double($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
                    }
                if let numbers, numbers.count == 2, let time = numbers[0], let period = numbers[1], time > 0, period > 0 {
                    shares.append(time / period)
                }
                if group.popLast() == nil { break }
            }
        }
        return shares.min()
    }
}
