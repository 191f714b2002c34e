import DiffFit

let store = try AdapterStore.create(at: "store")
try store.importBase(path: "adapters/base.safetensors")
try store.addAdapter(path: "adapters/flowers.safetensors", as: "flowers")

let pipeline = try DiffFitPipeline(store: store)
let images = try await pipeline.sample("flowers", class: "rose", seed: 1)
try images[0].writePNG(to: "rose.png")
print("rose.png: \(images[0].width)x\(images[0].height), adapter \(images[0].digest.short)")
