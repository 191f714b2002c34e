import Foundation
import ProgramRunner
import Testing

/// `tools/batch` with a server of its own for each call: what it says, and shards of which only some are submitted.
@Suite(.serialized, .heavy) struct BatchToolTests {
    private let program: Program

    init() throws {
        program = try Program()
        try program.run("init")
        try program.run("base", "import", Program.golden("dit-pixel"))
        let result = try program.run(
            "train", "flowers", "--data", "synthetic:flowers", "-o", program.folder + "/flowers.safetensors", "--steps", "1", "--batch", "4",
            "--per-class", "2", "--samples-every", "0", "--add")
        #expect(result.code == 0, "\(result.errors)")
    }

    /// Runs lines of a shell in the test's folder; `generate` and `merge` are the tools.
    private func shell(_ lines: String) throws -> (code: Int32, out: String, errors: String) {
        let script = """
            set -eu; export DIFFFIT_ADAPTERD="$(dirname "$0")/adapterd"; cd "$1"
            generate() { python3 "\(checkout)/tools/batch/generate" "$@"; }
            merge() { python3 "\(checkout)/tools/batch/merge" "$@"; }
            \(lines)
            """
        return try program.run([program.folder], under: ["/bin/bash", "-c", script])
    }

    @Test func theNumberOfShardsIsTheRunsAndNotTheArrays() throws {
        defer { program.remove() }
        let result = try shell(
            """
            # An array of three ran, of which task 2 never started; it is submitted again alone, as --array=2.
            task() { export SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_MIN=$2 SLURM_ARRAY_TASK_MAX=$3 SLURM_ARRAY_TASK_COUNT=$4; shift 4
                generate --adapter flowers --total 7 --steps 1 --shards 3 -o "out/shard-$SLURM_ARRAY_TASK_ID" "$@"; }
            task 1 1 3 3 2> /dev/null; task 3 1 3 3 2> /dev/null
            ! merge out/shard-* -o whole 2> missing; [ ! -e whole ]
            ! merge out/shard-1 out/shard-2 out/shard-3 -o whole 2> none
            task 2 2 2 1 2> /dev/null
            merge out/shard-* -o whole --npz
            # --array=1,3 and --array=1-3:2
            for step in 1 2; do export SLURM_ARRAY_TASK_STEP=$step; task 1 1 3 2 --dry-run; task 3 1 3 2 --dry-run; done
            ls whole/images | wc -l; cat missing none
            """)
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.out.contains("\n7\n") || result.out.contains(" 7\n"), "\(result.out)")
        #expect(result.out.contains("shard 2 of 3 is missing"), "\(result.out)")
        #expect(result.out.contains("'out/shard-2' holds no run"), "\(result.out)")
        for shard in [1, 3] { #expect(result.out.ranges(of: "in this shard (\(shard)/3)").count == 2, "\(result.out)") }
    }

    @Test func failuresOfNowAndOfBeforeAreToldApartWithTheirReasons() throws {
        defer { program.remove() }
        // As spreadsheets write them: a byte order mark, and semicolons where the comma is the decimal sign.
        try Data("\u{feff}id;model;class;seed\na;flowers;rose;1\nb;flowers;nope;1\n".utf8).write(to: URL(filePath: program.folder + "/r.csv"))
        try Data("\u{feff}{\"model\": \"flowers\", \"class\": \"rose\"}\n".utf8).write(to: URL(filePath: program.folder + "/r.jsonl"))
        try (Data("model,class\nflowers,".utf8) + Data([0xe9, 0x0a])).write(to: URL(filePath: program.folder + "/latin.csv"))
        let result = try shell(
            """
            code=0; generate r.csv --steps 1 -o out 2> first || code=$?; echo "code $code"
            code=0; generate r.csv --steps 1 -o out 2> second || code=$?; echo "code $code"
            generate r.jsonl --steps 1 -o lines 2> /dev/null
            code=0; generate latin.csv --steps 1 -o latin 2>&1 || code=$?; echo "code $code"
            code=0; generate r.jsonl -o "" 2>&1 || code=$?; echo "code $code"
            code=0; generate r.jsonl -o first 2>&1 || code=$?; echo "code $code"
            echo FIRST; cat first; echo SECOND; cat second
            """)
        #expect(result.code == 0, "\(result)")
        let parts = result.out.components(separatedBy: "SECOND")
        #expect(parts[0].contains("1 image failed:\n"), "\(result.out)")
        #expect(parts[0].contains("nope"), "\(result.out)")
        #expect(parts[0].contains("(b)"), "\(result.out)")
        #expect(parts[1].contains("1 image failed in an earlier call and not tried again (--retry-failed):"), "\(result.out)")
        #expect(!parts[1].contains("failed:\n"), "\(result.out)")
        #expect(parts[0].ranges(of: "code 3").count == 2)
        #expect(parts[0].ranges(of: "code 2").count == 3)
        #expect(parts[0].contains("is not UTF-8 text"))
        #expect(parts[0].contains("unset variable"))
        #expect(parts[0].contains("is no folder"))
    }

    /// Tables and lines as people have them, read without a server; what is wrong is one sentence.
    @Test func tablesAreReadAsTheyAreWritten() throws {
        defer { program.remove() }
        let result = try shell(
            #"""
            python3 - <<'PYTHON'
            import argparse, sys
            sys.path[:0] = ["TOOLS/batch", "TOOLS/client"]
            import images
            options = argparse.Namespace(seed=1, steps=None, sampler=None, guidance=None, guidance_scale=None, strength=None, cache=None, decoder=None,
                no_metadata=False)
            def read(name, text):
                with open(name, "wb") as file: file.write(text.encode())
                return [image.body for image in images.images_of_file(name, options)]
            def refused(name, text, words):
                try: read(name, text)
                except images.InputError as wrong: assert words in str(wrong), wrong
                else: assert False, text
            rose = {"model": "flowers", "class": "rose"}
            def holds(name, text, **more):
                [body] = read(name, text)
                wanted = rose | more
                assert {key: body.get(key) for key in wanted} == wanted, (text, body)
            holds("a.csv", "model, Class ,seed\nflowers, rose, 3.0\n,,\n", seed=3)
            holds("a.csv", "sep=;\r\nmodel;class;strength;guidance_interval\r\nflowers;rose;0,5;0,2 0,8\r\n", strength=0.5, guidance_interval=[0.2, 0.8])
            holds("a.csv", "model,class,decoder\nflowers,rose,tiny\n", decoder="tiny")
            holds("a.tsv", "\ufeff\nmodel\tclass\nflowers\trose\n")
            holds("a.csv", 'model,class\n"ties(flowers,art;0.5)",rose\n', model="ties(flowers,art;0.5)")
            holds("a.jsonl", '{"model": "flowers", "class": "rose", "sampler": null}\n')
            refused("a.csv", "model,class,seed\nties(flowers,art;0.5),rose,1\n", "line 2: ")
            refused("a.csv", "model,class\nties(flowers,art),rose\n", "3 cells under 2 names")
            refused("a.csv", "model,class,class\nflowers,rose,tulip\n", "'class' stands there twice")
            refused("a.csv", "model,clas\nflowers,rose\n", "did you mean class?")
            refused("a.csv", ",model\n0,flowers\n", "column 1 has no name")
            refused("a.csv", "model,strength\nflowers,nan\n", "'strength' is a number")
            refused("a.csv", 'model,class\n"flowers,rose\n', "unexpected end")
            refused("a.csv", "model,class\nflowers," + "x" * 200000 + "\n", "limit")
            refused("a.jsonl", '{"model": 5}', "'model' is a text")
            refused("a.jsonl", '{"model": "flowers", "seed": 1, "index_offset": "2"}', "'index_offset' is a whole number")
            refused("a.jsonl", '{"model": "flowers", "seed": 1, "seed": 2}', "'seed' stands there twice")
            refused("a.jsonl", '{"model": "flowers", "strength": NaN}', "NaN")
            refused("a.jsonl", "[" * 100000, "not JSON")
            PYTHON
            mkdir -p other/images; echo mine > other/images/000000.png
            code=0; generate --adapter flowers --total 1 --steps 1 -o other 2>&1 || code=$?; echo "code $code"; cat other/images/000000.png
            generate --adapter flowers --total 1 --steps 1 -o one 2> /dev/null
            echo 5 >> one/results.jsonl; merge one -o whole
            echo x > one/images/000000.png; ! merge one -o again 2>&1
            echo '[]' > one/run.json; ! merge one -o again 2>&1
            code=0; generate --adapter flowers --total 1 --socket "" -o two 2>&1 || code=$?; echo "code $code"
            """#.replacing("TOOLS", with: checkout + "/tools"))
        #expect(result.code == 0, "\(result)")
        #expect(result.out.contains("other/run.json"), "\(result.out)")
        #expect(result.out.contains("\nmine\n"), "\(result.out)")
        #expect(result.out.contains("is not the image that was made"), "\(result.out)")
        #expect(result.out.contains("cannot be read as the facts"), "\(result.out)")
        #expect(result.out.contains("--socket is empty"), "\(result.out)")
        #expect(result.out.ranges(of: "code 2").count == 2, "\(result.out)")
    }
}
