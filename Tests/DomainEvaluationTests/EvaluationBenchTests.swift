import AdapterFormat
import AdapterTraining
import Diffusion
import DomainEvaluation
import Evaluation
import Foundation
import ImageFiles
import SamplingEngine
import SyntheticDomains
import Testing

/// The bench of `eval` as a library, on a small random base: what it tells, keeps and refuses.
@Suite struct EvaluationBenchTests {
    private static func base() throws -> BaseFile {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try BaseFile(path: tests.appending(path: "Goldens/dit-pixel.safetensors").path())
    }

    private static func counts(images: Int, heldOut: Int) -> EvaluationCounts {
        EvaluationCounts(images: images, heldOut: heldOut, reference: 8, lessons: 1, resamples: 4)
    }

    private static func setting(_ bench: EvaluationBench, _ cache: CacheLevel = .exact) -> SamplingSetting {
        SamplingSetting(name: "usual", AskedSampling(steps: 2, scale: 1), cache: cache, precision: .f32)
    }

    private static func subject(_ base: BaseFile, _ data: String) -> EvaluationSubject {
        EvaluationSubject("base", base, BoundAdapter(base), data: data, trained: nil)
    }

    /// One picture, of one class.
    private static func one(_ base: BaseFile) throws -> RealImages {
        try RealImages(folder: "one", taken: DataTaken(split: nil, classes: nil, perClass: nil, seed: 0), size: base.configuration.inputSize, trained: nil) {
            _, size, _ in
            TrainingData(classNames: ["grey"], size: size, images: [RGBImage(width: size, height: size, filledWith: (9, 9, 9))], labels: [0], summary: "one")
        }
    }

    @Test func whatIsMeasuredIsToldAndRealFeaturesAreKept() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "difffit-bench-\(UUID())").path()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let base = try Self.base(), flowers = try #require(SyntheticDomain.named("flowers"))
        let real = RealImages(flowers, size: base.configuration.inputSize)
        var tables: [[[String]]] = [], told: [String] = []
        for _ in 0..<2 {
            told = []
            let bench = try EvaluationBench(frozen: base, counts: Self.counts(images: 4, heldOut: 2), seed: 1, featureFolder: folder) { event in
                switch event {
                case .phase(let name): told.append(name)
                case .note(let line): told.append(line)
                case .sampling: break
                }
            }
            let group = try await bench.evaluate([Self.subject(base, real.source)], real, [Self.setting(bench)])
            #expect(group.subjects[0].samples[0].pictures.count == 4)
            // The last column is the time.
            tables.append(bench.result([group]).table.map { $0.dropLast() })
            // The reference, as many others, and a lesson of each of eight domains.
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 10)
        }
        #expect(
            told == [
                "base: denoising error of 2 held-out images", "measuring", "base, usual: 4 images", "sampling", "comparing",
                "synthetic:flowers: 8 real images, and the classifier's",
            ])
        #expect(tables[0] == tables[1])
        #expect(tables[0].map { $0[0] } == ["DOMAIN", "base", "real images"])
        #expect(tables[0][0].contains("PRECISION"))
        #expect(Set(tables[0][0]).isDisjoint(with: ["AGAINST", "SETTING", "MEMORISED"]))
    }

    /// One alone is told beside real images; of two that are the same, and of one that is far off, it is said whether that is certain.
    @Test func theVerdictIsInPlainWords() async throws {
        let base = try Self.base(), flowers = try #require(SyntheticDomain.named("flowers"))
        let real = RealImages(flowers, size: base.configuration.inputSize)
        let bench = try EvaluationBench(frozen: base, counts: Self.counts(images: 6, heldOut: 4), seed: 1)
        let alone = try await bench.evaluate([Self.subject(base, real.source)], real, [Self.setting(bench)])
        let one = bench.result([alone]).verdict
        #expect(one.count == 1 && one[0].hasPrefix("base against synthetic:flowers: a Fréchet figure of ") && one[0].contains("real images in its place have"))
        let strange = BoundAdapter(base), moved = TunableVector(strange.vector.values.map { $0 + 3 }, layout: base.layout)
        let other = EvaluationSubject(
            "strange", base, BoundAdapter(name: "strange", digest: base.digest, vector: moved, classes: strange.classes, grid: nil), data: real.source,
            trained: nil)
        let twin = EvaluationSubject("twin", base, BoundAdapter(base), data: real.source, trained: nil)
        let several = try await bench.evaluate([Self.subject(base, real.source), twin, other], real, [Self.setting(bench)])
        let verdict = bench.result([several]).verdict
        #expect(verdict.count == 2)
        #expect(verdict[0].hasPrefix("twin and base cannot be told apart"))
        #expect(verdict[1].hasPrefix("strange is worse than base") && verdict[1].contains("held-out error"), "\(verdict)")
    }

    @Test func aFolderOfOnePictureHasAnErrorButNoFigure() async throws {
        let base = try Self.base(), real = try Self.one(base), subject = Self.subject(base, real.source)
        let errors = try EvaluationBench(frozen: base, counts: Self.counts(images: 0, heldOut: 5), seed: 1)
        let group = try await errors.evaluate([subject], real, [Self.setting(errors)])
        #expect(errors.result([group]).table.last?.last?.contains(" ± ") == true)
        let figures = try EvaluationBench(frozen: base, counts: Self.counts(images: 2, heldOut: 0), seed: 1)
        await #expect(throws: EvaluationError.fewPictures(1, source: "one")) { _ = try await figures.evaluate([subject], real, [Self.setting(figures)]) }
        #expect(
            EvaluationError.fewPictures(1, source: "one").description
                == "'one' has 1 picture; the Fréchet figure compares with two or more: give --n 0")
    }

    @Test func onlyWhatTheStoreHoldsHasACalibratedCache() async throws {
        let base = try Self.base(), real = try Self.one(base)
        let bench = try EvaluationBench(frozen: base, counts: Self.counts(images: 2, heldOut: 0), seed: 1)
        await #expect(throws: EvaluationError.noCache(reference: "base")) {
            _ = try await bench.evaluate([Self.subject(base, real.source)], real, [Self.setting(bench, .fast)])
        }
    }
}
