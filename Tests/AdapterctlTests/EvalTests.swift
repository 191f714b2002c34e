import Foundation
import ImageFiles
import ProgramRunner
import Testing

/// `eval` as a user meets it, on a small random base: what it prints and writes, not how good the base is.
@Suite(.serialized, .heavy) struct EvalTests {
    private static let small = ["--n", "6", "--held-out", "2", "--reference", "12", "--resamples", "4", "--lessons", "1", "--steps", "2", "--no-cache"]

    private func object(_ text: String) throws -> [String: Any] { try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) }

    @Test func aBaseFileIsMeasuredAtTwoSettingsAndReported() throws {
        let program = try Program()
        defer { program.remove() }
        let (html, png) = (program.folder + "/page.html", program.folder + "/page.png")
        let arguments =
            ["eval", "base", "--base-file", Program.golden("dit-pixel"), "--data", "synthetic:flowers", "--json"] + Self.small
            + ["--compare", "guidance=cfg,scale=3", "--compare", "guidance=none", "--report", html, "--report", png]
        let first = try program.run(arguments)
        #expect(first.code == 0, "\(first.errors)")
        let data = try #require(try object(first.out)["data"] as? [String: Any])
        #expect((data["features"] as? String)?.contains("block 1 of 3 of the frozen base") == true)
        let group = try #require((data["groups"] as? [[String: Any]])?.first)
        #expect(group["data"] as? String == "synthetic:flowers")
        #expect(group["reference_images"] as? Int == 12)
        #expect(group["floor"] != nil)
        let subject = try #require((group["subjects"] as? [[String: Any]])?.first)
        #expect(((subject["held_out"] as? [String: Any])?["buckets"] as? [Any])?.count == 16)
        let samples = try #require(subject["samples"] as? [[String: Any]])
        try #require(samples.count == 2)
        #expect(samples[0]["psnr"] == nil)
        #expect(samples[1]["psnr"] != nil)
        for sample in samples {
            let distance = try #require((sample["frechet"] as? [String: Any])?["distance"] as? [String: Double])
            #expect(try #require(distance["value"]) > 0)
            #expect(distance["standard_error"] != nil)
        }
        #expect((samples[1]["frechet"] as? [String: Any])?["change"] != nil)
        #expect(samples[1]["agreement"] != nil)

        let page = try String(contentsOfFile: html, encoding: .utf8)
        #expect(page.contains("Not the FID"))
        #expect(page.components(separatedBy: "data:image/png;base64,").count == 4)
        #expect(try RGBImage(contentsOf: png).width > 1000)

        func withoutTimes(_ text: String) -> String { text.replacing(/"seconds_per_image":[0-9.e-]+/, with: "") }
        #expect(withoutTimes(try program.run(arguments).out) == withoutTimes(first.out))
    }

    /// The error belongs to a precision and is measured once for each; a change is against the first one's, image by image.
    @Test func precisionsAreComparedByErrorAndImages() throws {
        let program = try Program()
        defer { program.remove() }
        let arguments =
            ["eval", "base", "--base-file", Program.golden("dit-pixel"), "--data", "synthetic:flowers"] + Self.small
            + ["--compare", "precision=f32", "--compare", "precision=bf16", "--compare", "precision=bf16,guidance=none"]
        let result = try program.run(arguments + ["--json"])
        #expect(result.code == 0, "\(result.errors)")
        let group = try #require(((try object(result.out)["data"] as? [String: Any])?["groups"] as? [[String: Any]])?.first)
        let subject = try #require((group["subjects"] as? [[String: Any]])?.first)
        let others = try #require(subject["other_precisions"] as? [[String: Any]])
        guard !result.errors.contains("computing in f32") else { return #expect(others.isEmpty) }
        try #require(others.count == 1)
        #expect(others[0]["precision"] as? String == "bf16")
        let change = try #require((others[0]["change"] as? [String: Double])?["value"])
        let error = try #require(((subject["held_out"] as? [String: Any])?["mean"] as? [String: Double])?["value"])
        #expect(change != 0)
        #expect(abs(change) < 0.01 * error)
        let psnr = try #require(((subject["samples"] as? [[String: Any]])?[1]["psnr"] as? [String: Any])?["median"] as? Double)
        #expect(psnr > 25)

        let lines = try program.run(arguments).out.split(separator: "\n")
        #expect(lines.count { $0.contains(" ± ") && $0.hasPrefix("base") } == 3, "\(lines)")
        let cached = try program.run(Array(arguments.prefix(6)) + Self.small + ["--compare", "cache=balanced"])
        #expect(cached.code == 2, "\(cached.errors)")
        #expect(cached.errors.contains("only what is in the store has a calibrated cache"), "\(cached.errors)")
    }

    /// Four pictures of each of seven classes, of which a run holds out one each; another seed holds out others.
    @Test func aFolderIsMeasuredOnWhatTheRunHeldOut() throws {
        let program = try Program()
        defer { program.remove() }
        let pictures = program.folder + "/pictures"
        #expect(try program.run(["draw", "flowers", "--folder", pictures, "--per-class", "4", "--size", "16"]).code == 0)
        let base = ["--base-file", Program.golden("dit-pixel")]
        func train(_ name: String, _ options: [String]) throws -> String {
            let file = "\(program.folder)/\(name).safetensors"
            let small = ["--steps", "2", "--batch", "4", "--samples-every", "0"]
            let result = try program.run(["train", name, "--data", pictures, "-o", file] + base + small + options)
            #expect(result.code == 0, "\(result.errors)")
            return file
        }
        func measure(_ files: [String]) throws -> (code: Int32, out: String, errors: String) {
            try program.run(
                ["eval", "--data", pictures, "--n", "0", "--held-out", "100", "--resamples", "4"] + base + files.flatMap { ["--adapter-file", $0] })
        }
        let first = try train("first", ["--validation", "0.25"])
        let held = try measure([first])
        #expect(held.code == 0, "\(held)")
        #expect(held.errors.contains("denoising error of 7 held-out images"), "\(held)")
        #expect(!held.out.contains("may be ones"), "\(held)")
        let other = try train("other", ["--validation", "0.25", "--seed", "2"])
        let both = try measure([first, other])
        #expect(both.errors.contains("what the first of them held out, others saw"), "\(both)")
        let all = try measure([try train("all", [])])
        #expect(all.errors.contains("denoising error of 28 held-out images"), "\(all)")
        #expect(all.out.contains("may be ones that were trained on"), "\(all)")
        // A picture more, and what was held out is no longer known.
        try FileManager.default.copyItem(atPath: "\(pictures)/rose/000000.png", toPath: "\(pictures)/rose/extra.png")
        #expect(try measure([first]).out.contains("may be ones that were trained on"))
    }

    /// A run on two pictures of each class of the training part: what it was not trained on is held out, whatever part is measured on.
    @Test func picturesThatARunDidNotTakeAreHeldOut() throws {
        let program = try Program()
        defer { program.remove() }
        let pictures = program.folder + "/pictures"
        for (part, seed) in [("train", "1"), ("test", "2")] {
            let drawn = ["draw", "flowers", "--folder", "\(pictures)/\(part)", "--per-class", part == "train" ? "4" : "3", "--size", "16", "--seed", seed]
            #expect(try program.run(drawn).code == 0)
        }
        let base = ["--base-file", Program.golden("dit-pixel")], file = program.folder + "/few.safetensors"
        let small = ["--per-class", "2", "--steps", "2", "--batch", "4", "--samples-every", "0"]
        let trained = try program.run(["train", "few", "--data", pictures, "-o", file] + base + small)
        #expect(trained.code == 0, "\(trained)")
        func measured(_ options: [String]) throws -> (code: Int32, out: String, errors: String) {
            try program.run(
                ["eval", "--adapter-file", file, "--data", pictures, "--n", "0", "--held-out", "100", "--resamples", "4"] + base + options)
        }
        for (options, count) in [(["--split", "test"], 21), ([], 14), (["--per-class", "2"], 14)] {
            let result = try measured(options)
            #expect(result.code == 0, "\(result)")
            #expect(result.errors.contains("denoising error of \(count) held-out images"), "\(options): \(result)")
            #expect(result.out.contains("may be ones that were trained on") == (options == ["--per-class", "2"]), "\(options): \(result)")
        }
    }

    /// A second judge: trained by base train, asked for with --judge, and nothing else than a classifier is one.
    @Test func aClassifierJudgesBesideTheBase() throws {
        let program = try Program()
        defer { program.remove() }
        let judge = program.folder + "/judge.safetensors", base = Program.golden("dit-pixel")
        let small = ["--per-class", "8", "--size", "16", "--width", "24", "--depth", "2", "--heads", "2", "--steps", "2", "--batch", "8"]
        let trained = try program.run(
            ["base", "train", "--prediction", "classes", "--data", "synthetic:flowers", "--validation", "0.25", "-o", judge] + small)
        #expect(trained.code == 0, "\(trained)")
        #expect(trained.out.contains("--judge"), "\(trained)")
        let measure = ["eval", "base", "--base-file", base, "--data", "synthetic:flowers", "--n", "6", "--held-out", "0", "--reference", "14"]
        let few = ["--lessons", "2", "--resamples", "4", "--steps", "2", "--no-cache"]
        let judged = try program.run(measure + few + ["--judge", judge, "--json"])
        #expect(judged.code == 0, "\(judged)")
        let data = try #require(try object(judged.out)["data"] as? [String: Any])
        #expect((data["judge"] as? String)?.contains("of the classifier") == true, "\(data)")
        let group = try #require((data["groups"] as? [[String: Any]])?.first)
        let sample = try #require(((group["subjects"] as? [[String: Any]])?.first?["samples"] as? [[String: Any]])?.first)
        for place in [sample["judge"], group["judge_on_real"]] {
            let judgement = try #require(place as? [String: Any])
            #expect(judgement["frechet"] != nil && judgement["agreement"] != nil && judgement["manifold"] != nil)
        }
        let other = try program.run(measure + few + ["--judge", base])
        #expect(other.code == 2, "\(other)")
        #expect(other.errors.contains("is no classifier"), "\(other)")
        #expect(try program.run(["init", "--store", program.folder + "/store"]).code == 0)
        let imported = try program.run(["base", "import", judge, "--store", program.folder + "/store"])
        #expect(imported.code == 2, "\(imported)")
        #expect(imported.errors.contains("give it to eval as --judge"), "\(imported)")
    }

    @Test func aBaseOfLatentsIsMeasuredThroughItsAutoencoder() throws {
        let program = try Program()
        defer { program.remove() }
        let pictures = program.folder + "/pictures"
        #expect(try program.run(["draw", "flowers", "--folder", pictures, "--per-class", "1", "--size", "16"]).code == 0)
        let measure = ["eval", "base", "--base-file", Program.golden("dit-tiny"), "--data", pictures, "--n", "0", "--held-out", "5", "--resamples", "4"]
        let missing = try program.run(measure)
        #expect(missing.code == 2, "\(missing)")
        #expect(missing.errors.contains("give its autoencoder with --vae"), "\(missing)")
        let result = try program.run(measure + ["--vae", Program.golden("vae-small"), "--latent-cache", program.folder + "/latents", "--json"])
        #expect(result.code == 0, "\(result)")
        #expect(result.errors.contains("7 images as latents, 7 of them encoded now"), "\(result)")
        let group = try #require(((try object(result.out)["data"] as? [String: Any])?["groups"] as? [[String: Any]])?.first)
        let subject = try #require((group["subjects"] as? [[String: Any]])?.first)
        // The small network's random answer leaves noise of variance one, and more, unexplained.
        let error = try #require(((subject["held_out"] as? [String: Any])?["mean"] as? [String: Double])?["value"])
        #expect(error > 1)
        #expect(error < 10)
    }

    @Test func theImagesAreWrittenAsFIDToolsReadThem() throws {
        let program = try Program()
        defer { program.remove() }
        let file = program.folder + "/samples.npz"
        let result = try program.run(
            ["eval", "base", "--base-file", Program.golden("dit-pixel"), "--data", "synthetic:flowers", "--npz", file] + Self.small)
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.out.contains("written to \(file)"), "\(result.errors)")
        #expect(result.out.contains("FRÉCHET"), "\(result.errors)")
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: file)))
        try #require(bytes.starts(with: [0x50, 0x4b, 3, 4]))
        #expect(bytes[30..<41].elementsEqual("arr_0.npy".utf8 + [0x93, 0x4e]))
        let header = String(decoding: bytes[49..<167], as: UTF8.self)
        #expect(header.hasPrefix("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 16, 16, 3), }"))
        #expect(header.hasSuffix("\n"))
        // Local header, name, array, then the directory and its end.
        #expect(bytes.count == 39 + 128 + 6 * 16 * 16 * 3 + 55 + 22)
    }

    @Test func everyMistakeHasItsSentenceAndCode() throws {
        let program = try Program()
        defer { program.remove() }
        let base = ["--base-file", Program.golden("dit-pixel")]
        func fails(_ code: Int32, _ sentence: String, _ arguments: [String]) throws {
            let result = try program.run(["eval"] + arguments)
            #expect(result.code == code, "\(arguments): \(result.code) \(result.errors)")
            #expect(result.errors.contains(sentence), "\(arguments): \(result.code) \(result.errors)")
        }
        try fails(10, "no adapter store", ["flowers"])
        try fails(2, "give at least one domain or recipe", [])
        try fails(2, "name adapters by --adapter-file", ["flowers"] + base)
        try fails(2, "give --data synthetic:DOMAIN", ["base"] + base)
        try fails(4, "there is no synthetic domain 'flowrs'", ["base", "--data", "synthetic:flowrs"] + base)
        try fails(4, "there is no folder", ["base", "--data", program.folder + "/nothing"] + base)
        let known = ["base", "--data", "synthetic:flowers"] + base
        try fails(2, "a report ends in .html or .png", known + ["--report", "a.pdf"])
        try fails(2, "'scael' in 'scael=3' is none of them", known + ["--compare", "scael=3"])
        try fails(2, "there is no guidance 'fast'", known + ["--compare", "guidance=fast"])
        try fails(2, "interval in 'interval=2..1' is two noise levels", known + ["--compare", "interval=2..1"])
        try fails(2, "--n is 0 or between 2 and 50000", known + ["--n", "1"])
        try fails(2, "images of one domain and one setting", known + ["--compare", "guidance=none", "--compare", "scale=2", "--npz", "x.npz"])
        let latent = ["base", "--base-file", Program.golden("dit-tiny"), "--data"]
        try fails(2, "held-out error alone: give --n 0", latent + ["synthetic:flowers"])
        try fails(2, "give --data a folder of pictures", latent + ["synthetic:flowers", "--n", "0"])
    }
}
