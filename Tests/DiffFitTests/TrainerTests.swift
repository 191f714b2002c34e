import DiffFit
import Foundation
import ImageFiles
import ProgramRunner
import Testing

/// Training through the library: the program's adapter, stopped and resumed to the same.
@Suite(.heavy) struct TrainerTests {
    private static func pictures(in folder: String) throws {
        for (label, shade) in [("dark", 30), ("light", 200)] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(label)", withIntermediateDirectories: true)
            for number in 0..<3 {
                try RGBImage(width: 20, height: 16, filledWith: (UInt8(shade + number), UInt8(shade), 90)).writePNG(to: "\(folder)/\(label)/\(number).png")
            }
        }
    }

    private static func trainer(_ place: borrowing Workplace, _ output: String) throws -> AdapterTrainer {
        var trainer = AdapterTrainer(
            "shades", images: place.path + "/pictures", base: try DiffFitBase(path: golden("dit-pixel")), output: "\(place.path)/\(output)",
            settings: TrainingSettings(steps: 4, batch: 4, seed: 3))
        trainer.threads = 2
        return trainer
    }

    @Test func anAdapterIsTheProgramsAndAResumedRunIsTheSame() async throws {
        let place = try Workplace(adapters: [])
        try Self.pictures(in: place.path + "/pictures")
        let program = try place.adapterctl(
            "train", "shades", "--data", place.path + "/pictures", "--base-file", golden("dit-pixel"), "--steps", "4", "--batch", "4", "--seed", "3",
            "--shards", "2", "-o", place.path + "/program.safetensors")
        #expect(program.code == 0, "\(program.errors)")
        let base = try DiffFitBase(path: golden("dit-pixel"))
        let reference = try DiffFitPipeline(base).loadAdapter(path: place.path + "/program.safetensors", as: "shades")

        let other = #expect(throws: DiffFitError.self) { try place.store.addAdapter(path: place.path + "/program.safetensors", as: "shades") }
        #expect(other?.kind == .incompatible)
        #expect(other.map { "\($0)".contains("is for the layout") } == true)

        var steps: [Int] = []
        for try await progress in try Self.trainer(place, "stream.safetensors").progress() {
            steps.append(progress.step)
            #expect(progress.total == 4)
            #expect(progress.loss.isFinite)
            #expect(progress.heldOutError == nil)
        }
        #expect(steps == [1, 2, 3, 4])
        #expect(try DiffFitPipeline(base).loadAdapter(path: place.path + "/stream.safetensors", as: "shades") == reference)

        let trainer = try Self.trainer(place, "resumed.safetensors")
        let (second, reached) = AsyncStream.makeStream(of: Void.self), gate = DispatchSemaphore(value: 0)
        let stopped = Task {
            defer { reached.finish() }
            return try await trainer.train { progress in
                guard progress.step == 2 else { return }
                reached.yield()
                // Its thread waits here until the task is cancelled.
                gate.wait()
            }
        }
        for await _ in second { break }
        stopped.cancel()
        gate.signal()
        await #expect(throws: CancellationError.self) { try await stopped.value }
        #expect(!FileManager.default.fileExists(atPath: trainer.output))
        let refused = await #expect(throws: DiffFitError.self) { try await trainer.train() }
        #expect(refused?.kind == .inUse)
        #expect(try await trainer.train(resume: true) == reference)
    }

    @Test func whatNoRunCanHaveIsRefused() async throws {
        let place = try Workplace(adapters: [])
        var trainer = try Self.trainer(place, "x.safetensors")
        let missing = await #expect(throws: DiffFitError.self) { try await trainer.train() }
        #expect(missing?.kind == .notFound)
        trainer.settings.steps = 0
        let steps = await #expect(throws: DiffFitError.self) { try await trainer.train() }
        #expect(steps?.kind == .invalidRequest)
    }
}
