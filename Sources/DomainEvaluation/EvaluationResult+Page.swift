import Evaluation
import ImageFiles

extension EvaluationResult {
    /// The table, the plots and a sheet of each sample beside real images, on one page.
    package var page: ReportPage {
        ReportPage(
            title: "Evaluation of " + Set(groups.flatMap { $0.subjects.map(\.reference) }).sorted().joined(separator: ", "), verdict: verdict, notes: notes,
            table: table, plots: groups.flatMap(plots), sheets: groups.flatMap(sheets))
    }

    private func plots(_ group: EvaluatedGroup) -> [Plot] { [errorByTime(group), frechetBySetting(group)].compactMap { $0 } }

    private func errorByTime(_ group: EvaluatedGroup) -> Plot? {
        let series = group.subjects.compactMap { subject in
            subject.heldOut.map { error in
                Plot.Series(subject.reference, error.buckets.map { Plot.Point(x: $0.time, y: $0.error.value, error: $0.error.standardError) })
            }
        }
        guard !series.isEmpty else { return nil }
        let title = "Held-out error by timestep, \(group.real.source)"
        return Plot(title: title, xLabel: "t", yLabel: "mean squared error", series: series)
    }

    private func frechetBySetting(_ group: EvaluatedGroup) -> Plot? {
        let settings = group.subjects.first?.samples.map(\.setting.name) ?? []
        guard !settings.isEmpty else { return nil }
        var series = settings.indices.map { setting in
            Plot.Series(
                settings[setting],
                group.subjects.enumerated().compactMap { index, subject in
                    subject.samples[setting].own.frechet.map {
                        Plot.Point(x: Double(index), y: $0.distance.value, error: $0.distance.standardError)
                    }
                })
        }
        if let floor = group.ofReal.first?.frechet {
            let points = group.subjects.indices.map { Plot.Point(x: Double($0), y: floor.distance.value, error: floor.distance.standardError) }
            series.append(Plot.Series("real images", points))
        }
        return Plot(
            title: "Fréchet figure, \(group.real.source)", yLabel: "squared distance", series: series,
            categories: group.subjects.map(\.reference))
    }

    private func sheets(_ group: EvaluatedGroup) -> [ReportPage.Sheet] {
        let columns = 16, shown = 2 * columns
        let sampled = group.subjects.flatMap { subject in
            subject.samples.map { sample in
                ReportPage.Sheet(
                    caption: "\(subject.reference), \(sample.setting.name)", picture: sheet(Array(sample.pictures.prefix(shown)), columns))
            }
        }
        guard !sampled.isEmpty else { return [] }
        let real = ReportPage.Sheet(caption: "\(group.real.source): real images", picture: sheet(group.real.examples(shown), columns))
        return [real] + sampled
    }

    private func sheet(_ pictures: [RGBImage], _ columns: Int) -> RGBImage {
        contactSheet(pictures.map { $0.enlarged(by: max(1, 64 / $0.width)) }, columns: min(columns, pictures.count))
    }
}
