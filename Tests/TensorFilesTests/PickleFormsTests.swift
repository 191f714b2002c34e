import Foundation
import TensorFiles
import Testing

/// Torch files as people have them: sections, wrappers, whole modules, and the pickles of other Pythons.
@Suite struct PickleFormsTests {
    private typealias S = TorchSample

    private func dictionary(_ pairs: [(String, [UInt8])]) -> [UInt8] { [0x7d, 0x28] + pairs.flatMap { S.text($0.0) + $0.1 } + [0x75] }

    private func tensor(_ name: String = "a", _ offset: Int = 0) -> [UInt8] { S.tensor(SampleTensor(offset: offset, shape: [2], strides: [1])) }

    private func scalar() -> [UInt8] { S.tensor(SampleTensor(offset: 0, shape: [], strides: [])) }

    /// What is read of a dictionary: the section and each name's first value.
    private func read(_ root: [UInt8]) throws -> (section: String?, values: [String: Float], arguments: [String: String]) {
        try withFile(S.archive([0x80, 2] + root + [0x2e])) { path in
            let file = try TensorFile(path: path)
            return (file.section, Dictionary(uniqueKeysWithValues: try file.entries.map { ($0.name, try file.floats($0.name)[0]) }), file.arguments)
        }
    }

    @Test func anEmptyOrScalarSectionHidesNoGoodOne() throws {
        let good = dictionary([("blocks.0.w", tensor("w", 1))])
        let forms: [([(String, [UInt8])], String)] = [
            ([("ema", dictionary([])), ("model", good)], "model"), ([("ema", dictionary([("decay", scalar())])), ("state_dict", good)], "state_dict"),
            ([("model_state_dict", good), ("epoch", S.integer(3))], "model_state_dict"),
            ([("params_ema", good), ("params", dictionary([("x.w", tensor())]))], "params_ema"),
            ([("ema", dictionary([("decay", scalar()), ("shadow", good)])), ("model", dictionary([("x.w", tensor())]))], "ema.shadow"),
            ([("module", good), ("optimizer", dictionary([("x.w", tensor())]))], "module"), ([("ema_state_dict", good)], "ema_state_dict"),
            ([("optimizer_state_dict", dictionary([("x.w", tensor())])), ("my_network", good)], "my_network"),
            ([("net", dictionary([("x.w", tensor())])), ("net_ema", good), ("ema_decay", scalar())], "net_ema"),
        ]
        for (pairs, section) in forms {
            let found = try read(dictionary(pairs))
            #expect(found.section == section, "\(section): \(found)")
            #expect(found.values == ["blocks.0.w": 2], "\(section): \(found)")
        }
    }

    /// Averages without names take those of the model beside them.
    @Test func aListOfAveragesIsNamedByTheModel() throws {
        let list = { (items: [[UInt8]]) in [0x5d, 0x28] + items.joined() + [0x65] }
        let model = dictionary([("pos_embed", tensor("p", 0)), ("a.w", tensor("w", 0)), ("b.w", tensor("w", 0))])
        let whole = try read(
            dictionary([("ema", dictionary([("decay", scalar()), ("shadow_params", list([tensor("", 2), tensor("", 1), tensor("", 2)]))])), ("model", model)]))
        #expect(whole.section == "ema.shadow_params")
        #expect(whole.values == ["pos_embed": 3, "a.w": 2, "b.w": 3])
        let bare = try read(dictionary([("model", model), ("ema", list([tensor("", 2), tensor("", 1), tensor("", 2)]))]))
        #expect(bare.section == "ema")
        #expect(bare.values == whole.values)
        // What was never trained has no average.
        let trained = try read(dictionary([("shadow_params", list([tensor("", 1), tensor("", 2)])), ("model", model)]))
        #expect(trained.section == "shadow_params")
        #expect(trained.values == ["pos_embed": 1, "a.w": 2, "b.w": 3])
        let other = try read(dictionary([("shadow_params", list([tensor("", 1)])), ("model", model)]))
        #expect(other.section == "model")
    }

    @Test func wrappersGoInAnyOrderAndContainer() throws {
        let heads = [
            "module.", "_orig_mod.", "model.", "net.", "ema_model.", "diffusion_model.", "_orig_mod.module.", "module._orig_mod.", "model.net.module.",
            "base_model.model.",
        ]
        for head in heads {
            let found = try read(
                dictionary([
                    ("n_averaged", scalar()), (head + "blocks.0._orig_mod.w", tensor("w", 1)), (head + "blocks.0._checkpoint_wrapped_module.v", tensor()),
                ]))
            #expect(found.values == ["blocks.0.w": 2, "blocks.0.v": 1], "\(head)")
            let tensors = [OutgoingTensor(head + "blocks.0.w", shape: [1], [2]), OutgoingTensor(head + "x.v", shape: [1], [1])]
            try withFile(SafetensorsWriter.encoded(tensors)) { path in
                let names = try TensorFile(path: path).entries.map(\.name)
                #expect(Set(names) == ["blocks.0.w", "x.v"], "\(head)")
            }
        }
        // Of an average and what it averages, the average.
        let both = try read(dictionary([("initted", scalar()), ("online_model.w.x", tensor()), ("ema_model.w.x", tensor("x", 2))]))
        #expect(both.section == "ema_model")
        #expect(both.values == ["w.x": 3])
        let wrapped = try read(dictionary([("model.w.x", tensor()), ("ema.module.w.x", tensor("x", 2))]))
        #expect(wrapped.section == "ema")
        #expect(wrapped.values == ["w.x": 3])
        // An average under names without points is that of the model beside it.
        let flat = try read(dictionary([("model.w.x", tensor()), ("model_ema.wx", tensor("x", 2)), ("model_ema.decay", scalar())]))
        #expect(flat.section == "model_ema")
        #expect(flat.values == ["w.x": 3])
        let ofAnother = try read(dictionary([("model.w.x", tensor()), ("model_ema.wy", tensor("x", 2))]))
        #expect(ofAnother.section == "model")
        #expect(ofAnother.values == ["w.x": 1])
    }

    /// `torch.save(model)`: parameters and saved buffers under the names that `state_dict()` gives, and no code.
    @Test func aWholeModuleIsItsParameters() throws {
        func module(_ type: String, _ parameters: [(String, [UInt8])], _ modules: [(String, [UInt8])] = [], buffers: [(String, [UInt8])] = []) -> [UInt8] {
            let passing = S.global("__builtin__", "set") + [0x5d] + S.text("seen") + [0x61, 0x85, 0x52]
            let state = dictionary([
                ("training", [0x89]), ("_parameters", dictionary(parameters)), ("_buffers", dictionary(buffers)), ("_non_persistent_buffers_set", passing),
                ("_modules", dictionary(modules)),
            ])
            return S.global("mynet", type) + [0x29, 0x81] + state + [0x62]
        }
        let linear = module("Linear", [("weight", tensor("w", 1)), ("bias", [0x4e])], buffers: [("kept", tensor("k", 2)), ("seen", tensor())])
        let net = module("Net", [("pos", tensor())], [("proj", linear)])
        for (root, section) in [(net, String?.none), (dictionary([("model", net), ("epoch", S.integer(1))]), "model")] {
            let found = try read(root)
            #expect(found.section == section)
            #expect(found.values == ["pos": 1, "proj.weight": 2, "proj.kept": 3])
        }
    }

    @Test func argumentsOfTheRunAreRead() throws {
        let names =
            S.global("argparse", "Namespace") + [0x29, 0x81]
            + dictionary([("num_classes", S.integer(10)), ("model", S.text("DiT-S/2")), ("rate", [0x47, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0])]) + [0x62]
        let found = try read(dictionary([("model", dictionary([("a.w", tensor())])), ("args", names)]))
        #expect(found.arguments == ["num_classes": "10", "model": "DiT-S/2", "rate": "0.5"])
    }

    @Test func tensorsWithoutValuesAreNamed() throws {
        let forms = [
            ("_rebuild_meta_tensor_no_storage", "on torch's 'meta' device"), ("_rebuild_qtensor", "quantised by torch"), ("_rebuild_sparse_tensor", "sparse"),
            ("_rebuild_wrapper_subclass", "a class of its own"), ("_rebuild_device_tensor_from_numpy", "plain storage"),
        ]
        for (function, wanted) in forms {
            let thrown = #expect(throws: TensorFileError.self) {
                _ = try self.read(self.dictionary([("a.w", S.global("torch._utils", function) + [0x29, 0x52])]))
            }
            let said = thrown.map { "\($0)" } ?? ""
            #expect(said.contains("tensor 'a.w'"), "\(said)")
            #expect(said.contains(wanted), "\(said)")
        }
    }

    // MARK: The legacy form

    private static let magic: [UInt8] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]

    /// A legacy file with the storage 1, 2, 3, 4 under the key "k".
    private func legacy(_ magic: [UInt8], _ version: [UInt8], system: [UInt8], _ object: [UInt8], keys: [UInt8]) -> [UInt8] {
        magic + version + system + object + keys + S.bytes(UInt64(4)) + [1, 2, 3, 4].flatMap { S.bytes(Float($0).bitPattern) }
    }

    /// As torch under Python 2 wrote them: byte strings, an ordered dictionary from a list of lists, a tuple by MARK.
    @Test func pythonTwoFilesRead() throws {
        func short(_ text: String) -> [UInt8] { [0x55, UInt8(text.utf8.count)] + text.utf8 }
        let storage = S.tuple(short("storage"), S.global("torch", "FloatStorage"), short("k"), short("cpu"), [0x4b, 4], [0x4e]) + [0x51]
        let value = S.global("torch._utils", "_rebuild_tensor") + S.tuple(storage, [0x4b, 1], [0x4b, 3, 0x85], [0x4b, 1, 0x85]) + [0x52]
        let pair = [0x5d, 0x28] + short("lin.weight") + value + [0x65]
        let object = [0x80, 2] + S.global("collections", "OrderedDict") + [0x5d, 0x28] + pair + [0x65, 0x85, 0x52, 0x2e]
        let system = [0x80, 2, 0x7d, 0x28] + short("little_endian") + [0x88, 0x75, 0x2e]
        let file = legacy(
            [0x80, 2] + Self.magic + [0x2e], [0x80, 2, 0x4d, 0xe9, 3, 0x2e], system: system, object, keys: [0x80, 2, 0x5d, 0x28] + short("k") + [0x65, 0x2e])
        try withFile(file, named: ".pth") { path in
            let file = try TensorFile(path: path)
            #expect(file.entries.map(\.name) == ["lin.weight"])
            #expect(try file.floats("lin.weight") == [2, 3, 4])
        }
    }

    /// Protocol 1 has numbers and truths as lines, protocol 5 frames and a memo of its own.
    @Test(arguments: [1, 3, 4, 5])
    func everyProtocolOfTheLegacyFormReads(number: UInt8) throws {
        let isOld = number == 1, framed = number >= 4
        func pickle(_ body: [UInt8]) -> [UInt8] {
            let head: [UInt8] = isOld ? [] : [0x80, number]
            return head + (framed ? [0x95] + S.bytes(UInt64(body.count + 1)) : []) + body + [0x2e]
        }
        func text(_ text: String) -> [UInt8] { framed ? [0x8c, UInt8(text.utf8.count)] + text.utf8 + [0x94] : S.text(text) }
        func global(_ module: String, _ name: String) -> [UInt8] { framed ? text(module) + text(name) + [0x93] : S.global(module, name) }
        func integer(_ value: Int) -> [UInt8] { isOld ? Array("L\(value)L\n".utf8) : [0x4a] + S.bytes(Int32(value)) }
        let storage = S.tuple(text("storage"), global("torch", "FloatStorage"), text("k"), text("cpu"), integer(4), [0x4e]) + [0x51]
        let value =
            global("torch._utils", "_rebuild_tensor_v2")
            + S.tuple(storage, integer(0), S.tuple(integer(4)), S.tuple(integer(1)), isOld ? Array("I00\n".utf8) : [0x89], [0x7d]) + [0x52]
        let extra = number == 5 ? text("blob") + [0x96] + S.bytes(UInt64(3)) + [1, 2, 3] : []
        let magic = isOld ? Array("L119547037146038801333356L\n".utf8) : Self.magic
        let file = legacy(
            pickle(magic), pickle(integer(1001)), system: pickle([0x7d, 0x28] + text("little_endian") + (isOld ? Array("I01\n".utf8) : [0x88]) + [0x75]),
            pickle([0x7d, 0x28] + text("a.w") + value + extra + [0x75]), keys: pickle([0x5d, 0x28] + text("k") + [0x65]))
        try withFile(file, named: ".pt") { path in
            let values = try TensorFile(path: path).floats("a.w")
            #expect(values == [1, 2, 3, 4])
        }
    }

    // MARK: Shards

    @Test func shardsOfAVariantAndOfTorchAreOne() throws {
        let folder = NSTemporaryDirectory() + "shards-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try SafetensorsWriter.write([OutgoingTensor("module.a.w", shape: [1], [1], as: .f16)], to: folder + "/model.fp16-00001-of-00002.safetensors")
        try SafetensorsWriter.write([OutgoingTensor("module.b.w", shape: [1], [2], as: .f16)], to: folder + "/model.fp16-00002-of-00002.safetensors")
        let map = #"{"module.a.w":"model.fp16-00001-of-00002.safetensors","module.b.w":"model.fp16-00002-of-00002.safetensors"}"#
        for name in ["model.safetensors.index.fp16.json", "model.safetensors.fp16.index.json"] {
            // A byte order mark, as an editor leaves it.
            try Data([0xef, 0xbb, 0xbf] + #"{"metadata":{},"weight_map":\#(map)}"#.utf8).write(to: URL(filePath: "\(folder)/\(name)"))
            let file = try TensorFile(path: "\(folder)/\(name)")
            #expect(try file.floats("a.w") == [1])
            #expect(try file.floats("b.w") == [2])
        }
        try Data(S.archive([0x80, 2] + dictionary([("a.w", tensor("", 3 - 1))]) + [0x2e])).write(
            to: URL(filePath: folder + "/pytorch_model-00001-of-00001.bin"))
        try Data(#"{"weight_map":{"a.w":"pytorch_model-00001-of-00001.bin"}}"#.utf8).write(to: URL(filePath: folder + "/pytorch_model.bin.index.json"))
        #expect(try TensorFile(path: folder + "/pytorch_model.bin.index.json").floats("a.w") == [3, 4])
    }
}
