import TensorFiles

/// How a file says of its matrices that they are sparse: compressed-tensors' `sparsity_config`, here a metadata key.
struct SparsityConfiguration: Codable {
    static let key = "sparsity_config"

    /// How they lie in the file: "sparse-24-bitmask" (`TwoOfFour`), or with their zeros "dense".
    let format: String
    let structure: String?

    enum CodingKeys: String, CodingKey {
        case format
        case structure = "sparsity_structure"
    }

    static let compressed = SparsityConfiguration(format: "sparse-24-bitmask", structure: TwoOfFour.name)
    static let dense = SparsityConfiguration(format: "dense", structure: TwoOfFour.name)
}

extension DiTConfiguration {
    /// Whether a matrix is one of the four of a block that a sparse base holds as two of every four weights.
    package func isSparse(_ name: String) -> Bool { LowRank.Linear.allCases.contains { name.hasPrefix("blocks.") && name.hasSuffix($0.rawValue + ".weight") } }
}

extension BaseFile {
    /// Whether a file's blocks have 2:4 matrices: it holds them so, or says so of matrices that it holds with their zeros.
    /// - Throws: `notTwoOfFour` where that is not so of all of them.
    static func isSparse(_ file: TensorFile, _ configuration: DiTConfiguration) throws -> Bool {
        let stated: SparsityConfiguration? = try metadata(SparsityConfiguration.key, of: file)
        let matrices = try configuration.frozenTensors.filter { configuration.isSparse($0.name) }.map { try file.entry($0.name) }
        guard stated?.structure == TwoOfFour.name || matrices.contains(where: \.isTwoOfFour) else { return false }
        for matrix in matrices where !matrix.hasTwoOfFour { throw AdapterFormatError.notTwoOfFour(file: file.path, name: matrix.name) }
        return true
    }

    /// Whether a base is the dense one that this one was made of, whose adapters come over by a recovery.
    package func isMade(of other: Digest) -> Bool { card.sparsity?.dense == other }

    /// What is said of an adapter of that base: what kept it from this one, and what takes it over.
    package static func denseRefusal(of adapter: String, base: String, sparse: String) -> String {
        "'\(adapter)' was trained on the dense base \(base), and \(sparse) is what was left of it when half of its weights were taken: train a recovery "
            + "with 'adapterctl distill recovery', and take the adapter over through it with 'adapterctl recover'"
    }

    /// Refuses a base that cannot be made 2:4 sparse.
    package func checkMayBecomeSparse() throws(AdapterFormatError) {
        if isSparse { throw .noPattern(base: digest.short, reason: "it is so already") }
        if let reason = configuration.faultOfTwoOfFour { throw .noPattern(base: digest.short, reason: reason) }
    }
}

extension DiTConfiguration {
    /// What keeps matrices of this shape from being 2:4 sparse.
    package var faultOfTwoOfFour: String? {
        frozenTensors.first { isSparse($0.name) && $0.shape[1] % 4 != 0 }.map {
            "the rows of '\($0.name)' have \($0.shape[1], "weight"), which is no multiple of 4"
        }
    }
}
