import Diffusion
import TensorMath

/// The choice of a solver's times among those at which a teacher calls the network, by dynamic programming: the sum over the steps
/// of each step's squared error, as least squares leave it from the teacher's own latents, carried to the end of the path.
///
/// It needs no network call beyond the teacher's, since all of these fits follow from the products of the teacher's latents and
/// predictions with each other. A solver goes on from its own latents, though, so what the sum finds best is compared, in that, with
/// even times and with a curve, and moved as long as that helps.
struct TimeSearch {
    private let teacher: any Teacher
    private let plan: SamplingPlan
    private let labels: [Int]
    private let channels: Int
    private let trajectories: Trajectories
    private let calls: Int
    private let path: DiffusionPath
    private let times: [Double]
    /// Products of the latents before calls 0...calls and of the predictions of calls 0..<calls with each other, over all images.
    private let products: [Double]
    /// Squared error of the jump from noise to each call; nil where the first call is at the path's beginning.
    private let startErrors: [Double]?
    /// What a squared error in the latent before each call becomes by the end.
    private let gains: [Double]

    init(_ teacher: any Teacher, _ plan: SamplingPlan, labels: [Int], seed: UInt64, channels: Int) {
        let calls = plan.evaluations, count = teacher.latentCount, path = teacher.convention.path
        (self.teacher, self.plan, self.labels, self.channels) = (teacher, plan, labels, channels)
        let all = 2 * calls + 1
        let memory = Memory(capacity: labels.count * Memory.paddedCount(all * count) + Memory.paddedCount(all * all))
        let rows = labels.map { _ in memory.take(all, count) }
        let gram = memory.take(all, all)
        teacher.sample(plan, labels: labels, seed: seed) { call, image, latent in
            rows[image].row(call).copy(from: latent)
        } onData: {
            call, image, data in
            rows[image].row(calls + 1 + call).copy(from: data)
        }
        var products = [Double](repeating: 0, count: all * all)
        for image in rows {
            multiply(.plain(image), .transposed(image), into: gram)
            gram.withSpan { gram in for i in gram.indices { products[i] += Double(gram[i]) } }
        }
        trajectories = Trajectories(labels: labels, latents: Dictionary(uniqueKeysWithValues: (0...calls).map { call in (call, rows.map { $0.row(call) }) }))
        times = plan.rules.map(\.time)
        self.calls = calls
        self.path = path
        self.products = products
        let moments = Moments(rows.map { $0.row(calls) }, channels: channels)
        gains = times.map { time in
            let level = path.level(time)
            return moments.variance / (level.noise * level.noise + moments.variance * level.data * level.data)
        }
        // Where the path begins at noise alone, nothing is known before the first call.
        guard path.level(times[0]).data > 0 else {
            startErrors = nil
            return
        }
        let jumped = Memory(capacity: Memory.paddedCount(count)).take(count)
        let begin = times[0]
        startErrors = times.indices.map { call in
            let start = path.analyticStart(from: begin, to: plan.rules[call].time, moments)
            return rows.reduce(0.0) { sum, image in
                jumped.copy(from: image.row(0))
                start.apply(to: jumped)
                return sum + squaredDistance(jumped, image.row(call))
            }
        }
    }

    /// The least squared error of a step from call `place` to `next`, after a call at `before`.
    private func error(_ before: Int?, _ place: Int, _ next: Int) -> Double {
        let all = 2 * calls + 1
        let vectors = [place, calls + 1 + place, calls + 1 + (before ?? 0), next]
        let fit = SolverStepFit(hasPrevious: before != nil) { products[vectors[$0] * all + vectors[$1]] }
        let step = fit.step(.consistent, from: times[place], to: next < calls ? times[next] : nil, on: path)
        return fit.error(of: step) * (next < calls ? gains[next] : 1)
    }

    /// The teacher's calls whose times are best, ascending.
    func best(steps: Int) -> [Int] {
        var known: [[Int]: Double] = [:]
        func error(_ places: [Int]) -> Double {
            if let found = known[places] { return found }
            let run = SolverRun(trajectories, teacher, plan, places: places, family: .consistent, fittedTo: labels.indices, channels: channels)
            known[places] = run.error
            return run.error
        }
        // Where the path begins at noise alone, the first call is there.
        let free = (startErrors == nil ? 1 : 0)..<max(1, steps)
        func moved(_ start: [Int]) -> [Int] {
            var best = start
            for stride in [4, 2, 1] {
                for place in free {
                    for shift in [-stride, stride] {
                        var other = best
                        other[place] += shift
                        if isAscending(other), error(other) < error(best) { best = other }
                    }
                }
            }
            return best
        }
        let starts = Set([leastSum(steps: steps), start(steps, uniform: true), start(steps, uniform: false)])
        return starts.sorted { error($0) < error($1) }.map(moved).min { error($0) < error($1) } ?? []
    }

    private func isAscending(_ places: [Int]) -> Bool {
        zip(places, places.dropFirst()).allSatisfy { $0 < $1 } && places.allSatisfy((0..<calls).contains)
    }

    /// Even places, or the curve that arXiv 2505.21114 found for rectified flow: more calls near the noise.
    private func start(_ steps: Int, uniform: Bool) -> [Int] {
        var places: [Int] = []
        for step in 0..<steps {
            let s = Double(step) / Double(steps)
            let t = uniform ? s : s * (0.43 + s * (-0.97 + s * (3.51 - 1.96 * s)))
            places.append(max((places.last ?? -1) + 1, Int((t * Double(calls)).rounded())))
        }
        return places
    }

    /// The calls of the least sum of errors.
    private func leastSum(steps: Int) -> [Int] {
        /// How a pair of calls, the latest and the one before, is reached at least cost.
        struct Reached {
            var cost = Double.infinity
            var before: Int?
        }
        let none = calls
        // table[k][latest][before]: after k + 1 calls.
        var table: [[[Reached]]] = []
        var first = [[Reached]](repeating: [Reached](repeating: Reached(), count: calls + 1), count: calls)
        if let startErrors {
            for call in 0..<calls { first[call][none].cost = startErrors[call] * gains[call] }
        } else {
            first[0][none].cost = 0
        }
        table.append(first)
        var errors: [Int: Double] = [:]
        func known(_ before: Int, _ place: Int, _ next: Int) -> Double {
            let key = (before * (calls + 1) + place) * (calls + 1) + next
            if let found = errors[key] { return found }
            let found = error(before == none ? nil : before, place, next)
            errors[key] = found
            return found
        }
        for k in 1..<max(steps, 1) {
            var now = [[Reached]](repeating: [Reached](repeating: Reached(), count: calls + 1), count: calls)
            for place in 0..<calls {
                for before in Array(0..<place) + [none] where table[k - 1][place][before].cost.isFinite {
                    for next in (place + 1)..<max(calls, place + 1) where next < calls {
                        let cost = table[k - 1][place][before].cost + known(before, place, next)
                        if cost < now[next][place].cost { now[next][place] = Reached(cost: cost, before: before) }
                    }
                }
            }
            table.append(now)
        }
        var best = (cost: Double.infinity, place: 0, before: none)
        for place in 0..<calls {
            for before in 0...none where table[steps - 1][place][before].cost.isFinite {
                let cost = table[steps - 1][place][before].cost + known(before, place, calls)
                if cost < best.cost { best = (cost, place, before) }
            }
        }
        var places = [best.place], (place, before) = (best.place, best.before)
        for k in (1..<max(steps, 1)).reversed() where before != none {
            let earlier = table[k][place][before].before ?? none
            places.append(before)
            (place, before) = (before, earlier)
        }
        return places.reversed()
    }
}
