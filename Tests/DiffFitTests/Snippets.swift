import DiffFit

/// The code of `Library.md`, piece by piece between markers: compiled here, and outside of the package by tools/check-consumer.
enum Snippets {
    static func files() throws {
        // snippet: files
        let file = try TensorFile(path: "dit.safetensors")
        for entry in file.entries { print(entry.name, entry.dtype.rawValue, entry.shape) }

        let bias = try file.floats("final_layer.linear.bias")
        let tensors = [OutgoingTensor("bias", shape: [bias.count], bias, as: .bf16)]
        try SafetensorsWriter.write(tensors, metadata: ["from": file.path], to: "bias.safetensors")
        // end
    }

    static func adapters() throws {
        // snippet: store
        let store = try AdapterStore.open(at: "store")
        for entry in try store.list() { print(entry.name ?? "", entry.digest, entry.storedBytes) }

        try store.rename("flowers", to: "garden")
        let digest = try store.lookup("garden").digest
        try store.remove("garden")
        print(try store.lookup("\(digest)").classCount)  // the content stays until prune

        print(try store.prune().bytes)
        print(try store.snapshot(at: "copy").adapters)
        // end
    }

    static func batch(_ store: AdapterStore) async throws {
        // snippet: batch
        let pipeline = try DiffFitPipeline(store: store, precision: .bf16)
        let requests = [
            ImageRequest("flowers", class: "rose", count: 4, seed: 7),
            ImageRequest("birds", class: "owl", guidanceScale: 2),
            ImageRequest("0.7*flowers+0.3*art", class: "flowers/rose"),
        ]
        let images = try await pipeline.sample(requests, numInferenceSteps: 30, sampler: .heun) { progress in
            print("\(progress.step) of \(progress.total)")
        }
        for (number, image) in images.enumerated() { try image.writePNG(to: "\(number)-\(image.seed)-\(image.index).png") }
        // end
    }

    static func withoutStore() async throws {
        // snippet: file
        let base = try DiffFitBase(path: "DiT-XL-2-256/")
        let pipeline = try DiffFitPipeline(base)
        try pipeline.loadAdapter(path: "food.safetensors", as: "food")
        let image = try await pipeline.sample("food", class: "class:3", seed: 1)[0]
        print(image.width, image.height, image.pixels.count)
        // end
    }

    static func cancellation(_ pipeline: DiffFitPipeline) async throws {
        // snippet: cancel
        let drawing = Task { try await pipeline.sample("flowers", count: 64) }
        drawing.cancel()
        do {
            _ = try await drawing.value
        } catch is CancellationError {
            print("given up before the next network call")
        }
        // end
    }

    static func training(_ store: AdapterStore) async throws {
        // snippet: train
        var settings = TrainingSettings(steps: 2000, batch: 32, seed: 1)
        settings.validationShare = 0.1
        let trainer = AdapterTrainer(
            "pets", images: "pictures/pets", base: try DiffFitBase(in: store), output: "pets.safetensors", settings: settings)
        for try await progress in trainer.progress(resume: true) where progress.step % 100 == 0 {
            print(progress.step, progress.loss, progress.heldOutError ?? .nan)
        }
        try store.addAdapter(path: trainer.output, as: trainer.name)
        // end
    }

    static func errors(_ pipeline: DiffFitPipeline) async throws {
        // snippet: errors
        do {
            _ = try await pipeline.sample("flowrs", class: "rose")
        } catch StoreError.notFound(let reference, let nearest) {
            print("no '\(reference)': did you mean \(nearest)?")
        } catch let error as DiffFitError where error.kind == .notFound {
            print(error)  // the classes that there are
        }
        // end
    }
}
