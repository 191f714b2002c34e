#!/usr/bin/env python3
"""The paper's table on the shipped base: eight domains x methods x seeds, each trained with `adapterctl train` and measured with
`adapterctl eval --json`.

    tools/bench/claims.py --quick             a small pass through everything, minutes
    tools/bench/claims.py                     the whole table, hours; goes on where it was stopped
    tools/bench/claims.py --tune              first: each method's learning rate, by held-out error on one domain

A run is a folder, OUT/DOMAIN/METHOD/seed-N, with what was trained, train.json and eval.json; what is there is not done again.
The table goes to standard output and OUT/table.md. Seconds and memory are the training process's own: take them from a quiet machine.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = ["food", "scenes", "fungi", "objects", "birds", "art", "flowers", "cars"]
# Options of `train`, and the largest learning rate where none was tuned.
METHODS = {
    "full": (["--method", "full"], 5e-4),
    "bitfit": (["--method", "bitfit"], 5e-3),
    "difffit-a": (["--method", "difffit-a"], 5e-3),
    "difffit": (["--method", "difffit"], 5e-3),
    "lora-8": (["--method", "lora", "--rank", "8"], 1e-3),
    "lora-16": (["--method", "lora", "--rank", "16"], 1e-3),
}
TUNING_FACTORS = [1 / 3, 1, 3]
TUNING_DOMAIN, TUNING_SEED = "flowers", 101


def main():
    options = parse()
    runs = [(d, m, s) for s in options.seeds for d in options.domains for m in options.methods]
    if options.tune:
        for method in options.methods:
            tune(method, options)
    rates = {method: learning_rate(method, options) for method in options.methods}
    for number, (domain, method, seed) in enumerate(runs, 1):
        print(f"{number}/{len(runs)} {domain} {method} seed {seed}", file=sys.stderr, flush=True)
        folder = options.out / domain / method / f"seed-{seed}"
        train(folder, domain, method, seed, rates[method], options)
        evaluate(folder, domain, method, options, images=options.images)
    text = table(options)
    (options.out / "table.md").write_text(text)
    print(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "out/claims")
    parser.add_argument("--adapterctl", type=Path, default=ROOT / ".build/release/adapterctl")
    parser.add_argument("--base-file", type=Path, default=ROOT / "adapters/base.safetensors")
    parser.add_argument("--domains", type=listed(DOMAINS), default=DOMAINS)
    parser.add_argument("--methods", type=listed(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--images", type=int, default=1024, help="sampled for each Frechet figure")
    parser.add_argument("--held-out", type=int, default=512)
    parser.add_argument("--tune", action="store_true", help="choose each method's learning rate before the table")
    parser.add_argument("--quick", action="store_true", help="two domains, one seed, 60 steps, 64 images")
    options = parser.parse_args()
    if options.quick:
        options.domains, options.seeds, options.steps = options.domains[:2], options.seeds[:1], 60
        options.images, options.held_out, options.out = 64, 32, options.out.with_name(options.out.name + "-quick")
    for path in (options.adapterctl, options.base_file):
        if not path.exists():
            parser.error(f"there is no '{path}': run tools/run first")
    return options


def listed(known):
    def read(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return names

    return read


def result_file(folder, method):
    return folder / ("base.safetensors" if method == "full" else "adapter.safetensors")


def train(folder, domain, method, seed, rate, options):
    facts = {"steps": options.steps, "learning_rate": rate}
    if done(folder / "train.json", facts):
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        options.adapterctl, "train", domain, "--data", f"synthetic:{domain}", "--base-file", options.base_file, "--steps", options.steps,
        "--seed", seed, "--learning-rate", rate, *METHODS[method][0], "-o", result_file(folder, method),
    ]
    start = time.monotonic()
    with open(folder / "train.log", "w") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"training {domain} {method} failed; see {folder / 'train.log'}")
    seconds = time.monotonic() - start
    (folder / "eval.json").unlink(missing_ok=True)
    store(
        folder / "train.json",
        facts | {
            "seconds_per_step": seconds / options.steps,
            "processor_seconds_per_step": (usage.ru_utime + usage.ru_stime) / options.steps,
            "peak_bytes": usage.ru_maxrss * 1024,
            "values": values(result_file(folder, method)),
            "bytes": result_file(folder, method).stat().st_size,
        },
    )


def evaluate(folder, domain, method, options, images):
    facts = {"images": images, "held_out_images": options.held_out}
    if done(folder / "eval.json", facts):
        return
    kind = "--tuned" if method == "full" else "--adapter-file"
    command = [
        options.adapterctl, "eval", "--base-file", options.base_file, kind, result_file(folder, method), "--data", f"synthetic:{domain}",
        "--n", images, "--held-out", options.held_out, "--json",
    ]
    found = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if found.returncode:
        raise SystemExit(f"measuring {domain} {method} failed: {found.stderr.strip()}")
    group = json.loads(found.stdout)["data"]["groups"][0]
    subject = group["subjects"][0]
    measured = {"held_out": subject["held_out"]["mean"]}
    if images:
        sample = subject["samples"][0]
        measured |= {"frechet": sample["frechet"]["distance"], "floor": group["floor"]["distance"], "agreement": sample["agreement"]}
    store(folder / "eval.json", facts | measured)


def tune(method, options):
    """Three learning rates a factor of three apart around the usual one; the one of least held-out error is kept."""
    chosen = options.out / "tuning" / f"{method}.json"
    if done(chosen, {"steps": options.steps}):
        return
    errors = {}
    for factor in TUNING_FACTORS:
        rate = METHODS[method][1] * factor
        folder = options.out / "tuning" / method / f"{rate:.2g}"
        print(f"tuning {method}: {rate:.2g}", file=sys.stderr, flush=True)
        train(folder, TUNING_DOMAIN, method, TUNING_SEED, rate, options)
        evaluate(folder, TUNING_DOMAIN, method, options, images=0)
        errors[rate] = json.loads((folder / "eval.json").read_text())["held_out"]["value"]
    store(chosen, {"steps": options.steps, "learning_rate": min(errors, key=errors.get), "errors": errors})


def learning_rate(method, options):
    chosen = options.out / "tuning" / f"{method}.json"
    return json.loads(chosen.read_text())["learning_rate"] if chosen.exists() else METHODS[method][1]


def done(path, facts):
    """Whether a file tells of the same settings."""
    if not path.exists():
        return False
    known = json.loads(path.read_text())
    return all(known.get(key) == value for key, value in facts.items())


def store(path, facts):
    """Whole or not at all: a run that is stopped here is done again."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    os.replace(temporary, path)


def values(path):
    """Numbers in a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    count = 0
    for name, entry in header.items():
        if name not in ("__metadata__", "pos_embed"):
            product = 1
            for side in entry["shape"]:
                product *= side
            count += product
    return count


def table(options):
    whole = values(options.base_file)
    lines = [
        f"{options.steps} steps, seeds {', '.join(map(str, options.seeds))}; {options.images} images a figure, {options.held_out} held out; mean over domains "
        "and seeds, ± the deviation between seeds.",
        "",
        "| method | learning rate | values | of all | Frechet figure | held-out error | right class | s/step | peak memory | file |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method in options.methods:
        trained, measured = ([read(options, method, seed, name) for seed in options.seeds] for name in ("train.json", "eval.json"))
        first = trained[0][0]
        share = 100.0 if method == "full" else 100 * first["values"] / whole
        lines.append(
            f"| {method} | {first['learning_rate']:.2g} | {first['values']} | {share:.2f} % "
            f"| {over(measured, lambda run: run['frechet']['value'])} | {over(measured, lambda run: run['held_out']['value'])} "
            f"| {over(measured, lambda run: run['agreement']['class']['value'])} | {over(trained, lambda run: run['seconds_per_step'])} "
            f"| {max(run['peak_bytes'] for runs in trained for run in runs) / 1e6:.0f} MB | {first['bytes'] / 1e3:.0f} kB |"
        )
    lines += ["", "Frechet figure per domain:", "", "| method | " + " | ".join(options.domains) + " |", "|---" * (len(options.domains) + 1) + "|"]
    for method in options.methods:
        cells = []
        for position in range(len(options.domains)):
            cells.append(over([[read(options, method, seed, "eval.json")[position]] for seed in options.seeds], lambda run: run["frechet"]["value"]))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    floors = [run["floor"]["value"] for run in read(options, options.methods[0], options.seeds[0], "eval.json")]
    lines.append("| real images | " + " | ".join(f"{floor:.3g}" for floor in floors) + " |")
    return "\n".join(lines) + "\n"


def read(options, method, seed, name):
    return [json.loads((options.out / domain / method / f"seed-{seed}" / name).read_text()) for domain in options.domains]


def over(seeds, value):
    """Mean over all runs, and the deviation between the seeds' means where there are several."""
    means = [statistics.fmean(value(run) for run in runs) for runs in seeds]
    spread = f" ± {statistics.stdev(means):.2g}" if len(means) > 1 else ""
    return f"{statistics.fmean(means):.3g}{spread}"


if __name__ == "__main__":
    main()
