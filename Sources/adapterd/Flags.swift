import ArgumentParser

/// The flags; each has a twin in the environment, `--token-file` for instance DIFFFIT_TOKEN_FILE.
struct Flags: ParsableArguments {
    @Option(help: "The store's folder (else the user's data folder).") var store: String?
    @Option(help: "The base, by name or digest, where the store has several.") var base: String?
    @Option(help: "The autoencoder of a base that makes latents (else the one imported with the base).") var vae: String?
    @Option(help: "original or diffusers, in place of what the base's card says.") var preset: String?
    @Option(help: "The Unix socket to listen on (else under $XDG_RUNTIME_DIR, else in the store).") var socket: String?
    @Option(help: "Also listen on this port of 127.0.0.1; 0 takes a free one. Needs --token-file.") var port: String?
    @Option(help: "A file with the secret that calls over TCP must show; only you may read it.") var tokenFile: String?
    @Option(help: "Names beside localhost's that clients may call the server by over TCP, with commas between.") var allowedHosts: String?
    @Option(help: "What becomes of a request for a size that an adapter does not make: refuse, or nearest.") var foreignSize: String?
    @Option(help: "trace, debug, info, notice, warning, error, critical.") var logLevel: String?
    @Option(help: "After SIGTERM, finish what runs for at most this long.") var drainSeconds: Int?
    @Option(help: "For an idle connection, a body that trickles, a reply that is not taken.") var patienceSeconds: Int?
    @Option(help: "Results of ended jobs are kept this long.") var jobsKeptSeconds: Int?
    @Option(help: "An engine that does not answer within this time is not ready.") var readySeconds: Int?
    @Option(help: "A comment goes into a silent event stream this often.") var pingSeconds: Int?
    @Option(help: "Rows of one network call; a guided image takes two.") var rows: Int?
    @Option(help: "Adapter slots: adapters in memory at once.") var domains: Int?
    @Option(help: "Images that may wait.") var queue: Int?
    @Option(help: "Images of one client that may wait.") var clientShare: Int?
    @Option(help: "Largest sum of network rows over all images and network calls of one request, with what composing its recipe costs.") var maxCost: Int?
    @Option(help: "auto (bf16 where this processor multiplies it, else f32), f32, bf16, int8 or int8-careful: the arithmetic of the network.") var precision:
        String?
    @Option(help: "Threads that compute (else one per core).") var threads: Int?
    @Option(help: "Megabytes of adapters that stay in memory.") var residentMb: Int?
    @Option(help: "Connections at one time, per address.") var maxConnections: Int?
    @Option(help: "Images of one request.") var maxImages: Int?
    @Option(help: "Steps of one image.") var maxSteps: Int?
    @Option(help: "Terms of one recipe.") var maxRecipeTerms: Int?
    @Option(help: "Arguments of ties, dare and majority in one recipe.") var maxMergeTerms: Int?
    @Option(help: "Recipes that are composed at a time.") var composers: Int?
    @Option(help: "Megabytes held for images of other sizes than the base's own; what runs is never let go.") var networkMb: Int?
    @Option(help: "Jobs that have not ended.") var maxJobs: Int?
    @Option(help: "This server's name among several behind one proxy; every job's id then carries it.") var replica: String?
}
