import Foundation
import TensorFiles

/// What accompanies the pairs of a LoRA file and changes their numbers: PEFT's `adapter_config.json`, the same as JSON in the
/// metadata of diffusers' files, or kohya's metadata. What is not computed here is refused by name.
struct LowRankConfiguration {
    /// The file that said it.
    let file: String
    /// What kohya's scripts note of a training in the metadata, and their own loader passes over: each layer's tensor says its alpha.
    let isNote: Bool
    private var rank: Int?
    private var alpha: Double?
    /// alpha / sqrt(rank) (arXiv 2312.03732) in place of alpha / rank.
    private var isRankStabilised = false
    private var ranks: [LayerPattern<Int>] = []
    private var alphas: [LayerPattern<Double>] = []

    /// The folder's or the neighbour's `adapter_config.json`, else the file's metadata; nil where nothing is said.
    init?(of weights: TensorFile, config: String?) throws {
        if let config, let text = try DiffusersFolder.text(config) {
            try self.init(text.withoutByteOrderMark, file: config)
        } else if let text = ["lora_adapter_metadata", "adapter_config", "peft_config", "lora_config"].lazy.compactMap({ weights.metadata[$0] }).first {
            try self.init(Data(text.utf8), file: weights.path)
        } else {
            let alphas = try Self.numbers(weights, ["ss_network_alpha", "lora_alpha", "network_alpha", "alpha"])
            guard let said = alphas.first else { return nil }
            let isNote = said.key == "ss_network_alpha"
            let ranks = try Self.numbers(weights, isNote ? ["ss_network_dim"] : ["r", "rank", "lora_rank", "network_dim"])
            self.init(file: weights.path, alpha: said.number, rank: ranks.first.flatMap { Int(exactly: $0.number) }, isNote: isNote)
        }
    }

    private init(file: String, alpha: Double, rank: Int?, isNote: Bool) {
        (self.file, self.alpha, self.rank, self.isNote) = (file, alpha, rank, isNote)
    }

    /// The numbers under these keys of a file's metadata, or under these with a component's or adapter's name before them, as in "unet.r".
    /// - Throws: where one is no number, or two of one key differ.
    private static func numbers(_ file: TensorFile, _ keys: [String]) throws -> [(key: String, number: Double)] {
        try keys.compactMap { key in
            let found = file.metadata.filter { ($0.key == key || $0.key.hasSuffix("." + key)) && !isOfTextEncoder($0.key) }.sorted {
                ($0.key.count, $0.key) < ($1.key.count, $1.key)
            }
            // "Dynamic" stands in files whose ranks were reduced layer by layer: each tensor says its own.
            let numbers = try found.filter { !["none", "dynamic"].contains($0.value.lowercased()) }.map { name, text in
                guard let number = Double(text), number.isFinite else {
                    throw AdapterFormatError.badMetadata(file: file.path, key: name, reason: "'\(text)' is no number")
                }
                return (name, number)
            }
            if let other = numbers.first(where: { $0.1 != numbers[0].1 }) {
                throw AdapterFormatError.badMetadata(file: file.path, key: key, reason: "'\(numbers[0].0)' is \(numbers[0].1), and '\(other.0)' is \(other.1)")
            }
            return numbers.first.map { (key, $0.1) }
        }
    }

    /// Pairs of a text encoder are refused by their own names; what is said of them changes nothing here.
    private static func isOfTextEncoder(_ key: String) -> Bool { key.hasPrefix("text_encoder") }

    private init(_ json: Data, file: String) throws {
        self.file = file
        isNote = false
        guard let object = try? JSONSerialization.jsonObject(with: json) as? [String: Any] else {
            throw AdapterFormatError.badJSON(file: file, reason: "it is no JSON object")
        }
        let fields = try Self.fields(of: object, file: file)
        try Self.refuseOthers(fields, file: file)
        rank = try Self.value(fields["r"], "r", file)
        alpha = try Self.value(fields["lora_alpha"], "lora_alpha", file)
        isRankStabilised = try Self.value(fields["use_rslora"], "use_rslora", file) ?? false
        ranks = try LayerPattern.list(fields["rank_pattern"], key: "rank_pattern", in: json, file: file)
        alphas = try LayerPattern.list(fields["alpha_pattern"], key: "alpha_pattern", in: json, file: file)
    }

    /// The settings themselves, whatever names stand before them: diffusers puts the component's before every key ("transformer.r"), and
    /// some keep an object for each adapter.
    /// - Throws: where two of them say two things of one setting.
    private static func fields(of object: [String: Any], file: String) throws -> [String: Any] {
        var fields: [String: (name: String, value: Any)] = [:]
        func take(_ name: String, as key: String, _ value: Any) throws {
            guard !(value is NSNull) else { return }
            if let (other, known) = fields[key], try canonical(known) != canonical(value) {
                throw AdapterFormatError.badMetadata(file: file, key: key, reason: "'\(other)' and '\(name)' differ, and one LoRA has one setting")
            }
            fields[key] = fields[key] ?? (name, value)
        }
        for (name, value) in object.sorted(by: { $0.key < $1.key }) where !isOfTextEncoder(name) {
            if let inner = value as? [String: Any], inner["r"] != nil || inner["lora_alpha"] != nil {
                for (key, value) in inner { try take("\(name).\(key)", as: key, value) }
            } else {
                try take(name, as: name.split(separator: ".").last.map(String.init) ?? name, value)
            }
        }
        return fields.mapValues(\.value)
    }

    private static func canonical(_ value: Any) throws -> Data { try JSONSerialization.data(withJSONObject: [value], options: .sortedKeys) }

    private static func value<Value>(_ value: Any?, _ key: String, _ file: String) throws -> Value? {
        guard let value else { return nil }
        if Value.self == Double.self, let number = jsonNumber(value), number.isFinite, let result = number as? Value { return result }
        guard let result = value as? Value else {
            throw AdapterFormatError.badMetadata(file: file, key: key, reason: "'\(value)' is not of the kind it should be")
        }
        return result
    }

    /// Other methods, and options that make another function of the same pairs or other matrices of the base.
    private static func refuseOthers(_ fields: [String: Any], file: String) throws {
        func refuse(_ what: String) -> AdapterFormatError { .otherMethod(file: file, what: what) }
        if let type = fields["peft_type"] as? String, type != "LORA" { throw refuse("is \(a: type) adapter; LoRA's are read here") }
        func isSet(_ key: String) -> Bool {
            switch fields[key] {
            case nil: false
            case let text as String: !text.isEmpty
            case let list as [Any]: !list.isEmpty
            case let object as [String: Any]: !object.isEmpty
            case let value?: jsonNumber(value) != 0
            }
        }
        if isSet("use_dora") { throw refuse("is a DoRA adapter (use_dora), which scales the matrices themselves; LoRA's are read here") }
        let changing = [
            "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "arrow_config", "target_parameters", "trainable_token_indices",
            "kasa_config", "velora_config", "monteclora_config",
        ]
        // Later options of these forms are not known here, and may change the numbers.
        let unknown = fields.keys.sorted().filter { key in
            key.hasPrefix("use_") && !["use_rslora", "use_dora"].contains(key)
        }
        if let key = (changing + unknown).first(where: isSet) { throw refuse("was trained with '\(key)', which makes other numbers of the same pairs") }
        if let start = fields["init_lora_weights"] as? String {
            let name = start.lowercased()
            // Those that begin with parts of the base's matrices take them out of it.
            if ["pissa", "olora", "corda", "loftq", "lora_ga", "lora-ga"].contains(where: name.hasPrefix) {
                throw refuse(
                    "begins from '\(start)', which changes the base's own matrices: save it as plain LoRA (PEFT's path_initial_model_for_weight_conversion)")
            }
        }
    }

    /// What the product of a layer's pair is multiplied by; nil where only ranks are said.
    /// - Throws: where the configuration gives the layer another rank than its tensors have.
    func scale(of layer: String, rank own: Int) throws -> Double? {
        let stated = ranks.first { $0.matches(layer) }?.value ?? rank
        if let stated, stated != own {
            throw AdapterFormatError.badMetadata(
                file: file, key: isNote ? "ss_network_dim" : "r", reason: "'\(layer)' should have rank \(stated), and its pair has \(own)")
        }
        guard let alpha = alphas.first(where: { $0.matches(layer) })?.value ?? alpha else { return nil }
        return isRankStabilised ? alpha / Double(own).squareRoot() : alpha / Double(own)
    }

    /// What a note of kohya's says of a layer and its tensors do not: a sentence; nil where they agree.
    func contradiction(_ layer: String, alpha own: Double, rank: Int) -> String? {
        guard isNote else { return nil }
        let differs = [
            alpha.flatMap { $0 == own ? nil : "ss_network_alpha \(shown($0)), the tensor of '\(layer)' \(shown(own))" },
            self.rank.flatMap { $0 == rank ? nil : "ss_network_dim \($0), the pair of '\(layer)' has rank \(rank)" },
        ].compactMap(\.self)
        return differs.isEmpty ? nil : "the metadata of '\(file)' says \(differs.joined(separator: "; and ")): the tensors count, as in kohya's own loader"
    }

    private func shown(_ number: Double) -> String { Int(exactly: number).map(String.init) ?? "\(number)" }
}

/// A value for the layers whose names end as a pattern says: PEFT matches `(.*\.)?(PATTERN)$` and takes the first that fits.
struct LayerPattern<Value> {
    let value: Value
    private let regex: Regex<AnyRegexOutput>

    /// A file from outside brings the patterns: few and simple ones are tried, so that none takes long.
    static var longest: Int { 200 }

    static func list(_ object: Any?, key: String, in json: Data, file: String) throws -> [LayerPattern] {
        guard let object else { return [] }
        func fault(_ reason: String) -> AdapterFormatError { .badMetadata(file: file, key: key, reason: reason) }
        guard let fields = object as? [String: Any], fields.count <= 4096 else { throw fault("it is no object with a number for each pattern of layers") }
        let text = String(decoding: json, as: UTF8.self)
        guard let start = text.range(of: "\(key)\"")?.upperBound else { return [] }
        let rest = text[start...]
        // The first that fits counts, and a dictionary has forgotten their order.
        let ordered = try fields.map { pattern, value in
            let quoted = String(
                decoding: try JSONSerialization.data(withJSONObject: pattern, options: [.fragmentsAllowed, .withoutEscapingSlashes]), as: UTF8.self)
            return (pattern, value, rest.range(of: quoted)?.lowerBound ?? rest.endIndex)
        }.sorted { ($0.2, $0.0) < ($1.2, $1.0) }
        return try ordered.map { pattern, value, _ in
            let number = jsonNumber(value)
            guard let value = Value.self == Int.self ? number.flatMap({ Int(exactly: $0) }) as? Value : number as? Value else {
                throw fault("'\(pattern)' has no number")
            }
            guard pattern.utf8.count <= longest, pattern.count(where: { "*+{".contains($0) }) <= 3, let regex = try? Regex("(.*\\.)?(\(pattern))$") else {
                throw fault("'\(pattern)' is no pattern of names that is taken here: \(longest) characters and three repetitions at most")
            }
            return LayerPattern(value: value, regex: regex)
        }
    }

    func matches(_ layer: String) -> Bool { ((try? regex.prefixMatch(in: layer)) ?? nil) != nil }
}

/// A number or truth value of JSON.
private func jsonNumber(_ value: Any) -> Double? {
    (value as? NSNumber)?.doubleValue ?? value as? Double ?? (value as? Int).map(Double.init) ?? (value as? Bool).map { $0 ? 1 : 0 }
}
