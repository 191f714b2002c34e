#!/usr/bin/env python3
"""The paper's claims on the shipped base, each trained with `adapterctl train` and measured with `adapterctl eval --json`.

    tools/bench/claims.py --quick             a small pass through everything, minutes
    tools/bench/claims.py --tune              each method's learning rate, by held-out error on one domain
    tools/bench/claims.py --time              each method's seconds a step and memory (`bench train`); wants a quiet machine
    tools/bench/claims.py                     the table of methods and then the studies, hours; goes on where it was stopped
    tools/bench/claims.py --table             only prints what is there so far
    tools/bench/claims.py --curves            only draws it: OUT/curves.png, with matplotlib
    tools/bench/claims.py --photographs DIR   the same on photographs: DIR has a folder of classes for each domain. A fifth of each class is
                                              kept apart to measure on, a tenth of the rest is held out for early stopping

A run is a folder below OUT with what was trained, train.json and eval.json; what is there is not done again. The tables go to standard
output and OUT/claims.md.
"""

import argparse
import csv
import hashlib
import json
import math
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
# Learning rates are tried this factor apart.
TUNING_FACTOR, MOST_TRIED = 3, 6
TUNING_DOMAIN, TUNING_SEED = "flowers", 101
BASE_RATE = 1e-3
SMOOTHED_STEPS = 25

# Of photographs, for all methods alike.
STOPPED_EARLY = ["--flip", "--validation", "0.1", "--validate-every", "25", "--early-stop", "4"]
# What DiffFit is varied in, one thing at a time, or methods side by side where a row begins with a method's name; "same time" has its
# steps stretched until it has taken as long as the first variant.
VALIDATED = ["--validation", "0.1", "--validate-every", "20"]
LARGE = ["--resolution", "64", "--batch", "16", *VALIDATED]
STUDIES = {
    "gammas of the first blocks": {f"{blocks} of 8": ["--gamma-depth", str(blocks)] for blocks in (0, 2, 4, 8)},
    "steps": {f"{times} x": [] for times in (1, 2, 3)},
    "learning rate over the base's": {f"x{factor}": ["--learning-rate", f"{BASE_RATE * factor:g}"] for factor in (1, 3, 10, 30)},
    "loss weight": {
        "constant": [*VALIDATED],
        "min-snr:5": ["--loss-weight", "min-snr:5", *VALIDATED],
        "soft-min-snr:5": ["--loss-weight", "soft-min-snr:5", *VALIDATED],
    },
    "token cut": {
        "none": [],
        "route:0.5, same steps": ["--token-cut", "route:0.5"],
        "route:0.5, same time": ["--token-cut", "route:0.5"],
    },
    "64 px": {"positions as they are": LARGE, "positions halved": [*LARGE, "--position-scale", "2"]},
    "pictures of a class": {
        f"{method}, {count or 'all'}": ["--per-class", str(count)] if count else []
        for count in (10, 30, 100, None)
        for method in ("full", "difffit", "lora-16")
    },
    "pictures": {"all, 1000 a class": [], "40 % picked": ["--pick", "0.4"], "40 % at random": ["--per-class", "400"]},
}


class TrainingFailed(SystemExit):
    pass


def main():
    options = parse()
    if options.time:
        take_times(options)
        return
    if options.photographs:
        for domain in options.domains:
            part_photographs(domain, options)
    if options.tune:
        for method in options.methods:
            tune(method, options)
    if options.curves:
        draw_curves(options)
        return
    work = runs(options)
    for number, run in enumerate([] if options.table else work, 1):
        print(f"{number}/{len(work)} {run['folder'].relative_to(options.out)}", file=sys.stderr, flush=True)
        train(run, options)
        evaluate(run, options)
    text = methods_table(options) + "".join(study_table(name, options) for name in options.studies)
    (options.out / "claims.md").write_text(text)
    print(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "out/claims")
    parser.add_argument("--photographs", type=Path, help="a folder with a folder of classes for each domain, such as ../shared/photos unpacked")
    parser.add_argument("--adapterctl", type=Path, default=ROOT / ".build/release/adapterctl")
    parser.add_argument("--base-file", type=Path, help="default: the shipped one, of photographs theirs")
    parser.add_argument("--domains", type=listed(DOMAINS), default=DOMAINS)
    parser.add_argument("--methods", type=listed(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--studies", type=listed(STUDIES), default=list(STUDIES), help="separated by commas, or none")
    parser.add_argument("--study-domains", type=listed(DOMAINS), default=["flowers", "birds"])
    parser.add_argument("--study-seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--images", type=int, default=1024, help="sampled for each Frechet figure")
    parser.add_argument("--held-out", type=int, default=512)
    # Guidance costs variety, and the more of it the better the class is known: the methods are compared without.
    parser.add_argument("--setting", default="guidance=none", help="sampled as `eval --compare` says it; the precision is added")
    parser.add_argument("--precision", default="f32", help="of training, and of sampling")
    parser.add_argument("--tune", action="store_true", help="choose each method's learning rate before the table")
    parser.add_argument("--time", action="store_true", help="only measure each method's step")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--curves", action="store_true", help="only draw the curves of what is there")
    parser.add_argument("--quick", action="store_true", help="two domains, one seed, 40 steps, 64 images")
    options = parser.parse_args()
    if options.quick:
        options.domains, options.study_domains, options.seeds, options.steps = options.domains[:2], ["flowers"], [1], 40
        options.images, options.held_out, options.out = 64, 32, options.out.with_name(options.out.name + "-quick")
    options.base_file = options.base_file or ROOT / "adapters" / ("photographs/base.safetensors" if options.photographs else "base.safetensors")
    for path in (options.adapterctl, options.base_file, *([options.photographs / domain for domain in options.domains] if options.photographs else [])):
        if not path.exists():
            parser.error(f"there is no '{path}'" + ("" if options.photographs else ": run tools/run first"))
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def listed(known):
    def read(text):
        names = [] if text == "none" else text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return names

    return read


def runs(options):
    """The table first, seed by seed, then the studies."""
    found = [method_run(d, m, s, options) for s in options.seeds for d in options.domains for m in options.methods]
    return found + [
        study_run(name, label, domain, seed, options)
        for name in options.studies
        for seed in options.study_seeds
        for domain in options.study_domains
        for label in STUDIES[name]
    ]


def part_photographs(domain, options):
    """OUT/data/DOMAIN in parts, test and train: links to the pictures, a fifth of each class for the test, chosen by their names."""
    for picture in sorted((options.photographs / domain).glob("*/*")):
        draw = hashlib.sha256(f"{picture.parent.name}/{picture.name}".encode()).digest()[0]
        link = options.out / "data" / domain / ("test" if draw < 256 / 5 else "train") / picture.parent.name / picture.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(picture.resolve())


def data(domain, options):
    return options.out / "data" / domain if options.photographs else f"synthetic:{domain}"


def method_run(domain, method, seed, options):
    return {
        "folder": options.out / domain / method / f"seed-{seed}",
        "domain": domain,
        "seed": seed,
        "is_full": method == "full",
        "arguments": [*METHODS[method][0], "--learning-rate", f"{learning_rate(method, options):g}"],
        "steps": options.steps,
    }


def study_run(name, label, domain, seed, options):
    folder = options.out / "studies" / slug(name) / domain
    if seed != 1:
        folder /= f"seed-{seed}"
    arguments, steps = STUDIES[name][label], options.steps
    method, *varied = label.split(",") if label.split(",")[0] in METHODS else ["difffit", label]
    if varied == [" all"]:
        return method_run(domain, method, seed, options) | {"study": name, "label": label}
    if "--learning-rate" not in arguments:
        arguments = [*METHODS[method][0], *arguments, "--learning-rate", f"{learning_rate(method, options):g}"]
    if name == "steps":
        steps *= int(label.split()[0])
    if "same time" in label:
        # Processor time, since what else the machine does hardly changes it.
        seconds = [read_json(folder / slug(other) / "train.json") for other in list(STUDIES[name])[:2]]
        if all(seconds):
            steps = round(steps * seconds[0]["processor_seconds_per_step"] / seconds[1]["processor_seconds_per_step"])
    return {
        "folder": folder / slug(label),
        "domain": domain,
        "seed": seed,
        "is_full": method == "full",
        "arguments": arguments,
        "steps": steps,
        "study": name,
        "label": label,
    }


def slug(label):
    return "".join(c if c.isalnum() else "-" for c in label)


def result_file(run):
    return run["folder"] / ("base.safetensors" if run["is_full"] else "adapter.safetensors")


def train(run, options):
    if "same time" in run.get("label", ""):
        run |= study_run(run["study"], run["label"], run["domain"], run["seed"], options)
    arguments = [*run["arguments"], *(STOPPED_EARLY if options.photographs else [])]
    facts = {"steps": run["steps"], "arguments": arguments, "precision": options.precision}
    if done(run["folder"] / "train.json", facts):
        return
    run["folder"].mkdir(parents=True, exist_ok=True)
    command = [
        options.adapterctl,
        "train",
        run["domain"],
        "--data",
        data(run["domain"], options),
        "--base-file",
        options.base_file,
        "--steps",
        run["steps"],
        "--seed",
        run["seed"],
        "--precision",
        options.precision,
        "--samples-every",
        0,
        *arguments,
        "-o",
        result_file(run),
    ]
    start = time.monotonic()
    with open(run["folder"] / "train.log", "w") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise TrainingFailed(f"training failed; see {run['folder'] / 'train.log'}")
    (run["folder"] / "eval.json").unlink(missing_ok=True)
    taken = curve(run["folder"], "loss")[-1][0]
    store(
        run["folder"] / "train.json",
        facts
        | {
            "steps_taken": taken,
            "seconds_per_step": (time.monotonic() - start) / taken,
            "processor_seconds_per_step": (usage.ru_utime + usage.ru_stime) / taken,
            "values": values(result_file(run)),
            "bytes": result_file(run).stat().st_size,
            "validation": validation(run["folder"]),
        },
    )


def validation(folder):
    """[step, held-out error] as the run saw them."""
    return curve(folder, "held_out_error")


def curve(folder, column):
    """[step, value] of a column of the run's loss.csv, where it has a value."""
    with open(next(folder.glob("*.run")) / "loss.csv", newline="") as file:
        return [[int(row["step"]), float(row[column])] for row in csv.DictReader(file) if row[column]]


def evaluate(run, options, images=None):
    facts = {
        "images": options.images if images is None else images,
        "held_out_images": options.held_out,
        "setting": f"precision={options.precision},{options.setting}",
    }
    if done(run["folder"] / "eval.json", facts):
        return
    kind = "--tuned" if run["is_full"] else "--adapter-file"
    command = [
        options.adapterctl,
        "eval",
        "--base-file",
        options.base_file,
        kind,
        result_file(run),
        "--data",
        data(run["domain"], options),
        *(["--split", "test", "--lessons", "20"] if options.photographs else []),
        "--n",
        facts["images"],
        "--held-out",
        options.held_out,
        "--compare",
        facts["setting"],
        "--json",
    ]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"measuring {run['folder']} failed: {found.stderr.strip()}")
    group = json.loads(found.stdout)["data"]["groups"][0]
    subject = group["subjects"][0]
    measured = {"held_out": subject["held_out"]["mean"]}
    if facts["images"]:
        sample = subject["samples"][0]
        measured |= {"frechet": sample["frechet"]["distance"], "agreement": sample["agreement"], "manifold": sample["manifold"]}
        # Of photographs there are none beyond those that the figure compares with.
        if "floor" in group:
            measured["floor"] = group["floor"]["distance"]
    store(run["folder"] / "eval.json", facts | measured)


def tune(method, options):
    """Learning rates from the usual one outwards, until the one of least held-out error has a worse one on either side."""
    chosen = options.out / "tuning" / f"{method}.json"
    if done(chosen, {"steps": options.steps, "factor": TUNING_FACTOR}):
        return
    errors = {}
    while len(errors) < MOST_TRIED:
        best = min(errors, key=errors.get, default=0)
        untried = next((power for power in (best, best - 1, best + 1) if power not in errors), None)
        if untried is None:
            break
        errors[untried] = tuning_error(method, METHODS[method][1] * TUNING_FACTOR**untried, options)
    tried = {METHODS[method][1] * TUNING_FACTOR**power: error for power, error in sorted(errors.items())}
    store(chosen, {"steps": options.steps, "factor": TUNING_FACTOR, "learning_rate": min(tried, key=tried.get), "errors": tried})


def tuning_error(method, rate, options):
    print(f"tuning {method}: {rate:.2g}", file=sys.stderr, flush=True)
    run = method_run(TUNING_DOMAIN, method, TUNING_SEED, options)
    run |= {"folder": options.out / "tuning" / method / f"{rate:.2g}", "arguments": [*METHODS[method][0], "--learning-rate", f"{rate:g}"]}
    try:
        train(run, options)
    except TrainingFailed:
        if "no longer a finite number" in (run["folder"] / "train.log").read_text():
            return math.inf
        raise
    evaluate(run, options, images=0)
    return read_json(run["folder"] / "eval.json")["held_out"]["value"]


def learning_rate(method, options):
    chosen = read_json(options.out / "tuning" / f"{method}.json")
    return chosen["learning_rate"] if chosen else METHODS[method][1]


def take_times(options):
    """Seconds and memory of one step of 64 images, each method in a process of its own."""
    times = {}
    for method in options.methods:
        for precision in ["f32", "bf16"]:
            command = [options.adapterctl, "bench", "train", *METHODS[method][0], "--precision", precision, "--runs", "9", "--json"]
            data = json.loads(subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True).stdout)["data"]
            times[f"{method} {precision}"] = {"seconds": data["step"]["median_seconds"], "peak_bytes": data["peak_bytes"]}
            print(f"{method} {precision}: {data['step']['median_seconds']:.3f} s, {data['peak_bytes'] / 1e6:.0f} MB", flush=True)
    store(options.out / "times.json", times)


def done(path, facts):
    """Whether a file tells of the same settings."""
    known = read_json(path)
    return known is not None and all(known.get(key) == value for key, value in facts.items())


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else None


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


def methods_table(options):
    whole, times = values(options.base_file), read_json(options.out / "times.json") or {}
    rows, domain_rows, floors = [], {}, {}
    for method in options.methods:
        by_domain = {d: [run for run in (found(method_run(d, method, seed, options)) for seed in options.seeds) if run] for d in options.domains}
        there = [runs for runs in by_domain.values() if runs]
        if not there:
            continue
        first = there[0][0]["train"]
        share = 100.0 if method == "full" else 100 * first["values"] / whole
        time = [times.get(f"{method} {precision}") for precision in ("f32", "bf16")]
        seconds = " / ".join(f"{t['seconds']:.3f}" if t else "-" for t in time)
        memory = " / ".join(f"{t['peak_bytes'] / 1e6:.0f}" if t else "-" for t in time)
        rows.append(
            f"| {method} | {learning_rate(method, options):.2g} | {first['values']} | {share:.2f} % "
            f"| {over(there, frechet)} | {over(there, lambda run: run['eval']['held_out'])} "
            f"| {over(there, lambda run: run['eval']['agreement']['class'])} | {seconds} | {memory} MB | {first['bytes'] / 1e3:.0f} kB "
            f"| {sum(map(len, there))} |"
        )
        floors |= {domain: run["eval"]["floor"]["value"] for domain, runs in by_domain.items() for run in runs if "floor" in run["eval"]}
        domain_rows[method] = by_domain
    lines = [
        (
            f"{options.steps} steps of 64 images, seeds {', '.join(map(str, options.seeds))}; {options.images} images a figure, {options.held_out} held out; "
            f"sampled by {options.setting}; mean over the domains, ± the deviation between a domain's seeds, or of one seed the error of the mean; "
            "seconds and memory at f32 / bf16."
        ),
        "",
        "| method | learning rate | values | of all | Fréchet figure | held-out error | right class | s/step | peak memory | file | runs |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        *domain_table(domain_rows, options.domains),
        "| real images | " + " | ".join(f"{floors[domain]:.3g}" if domain in floors else "-" for domain in options.domains) + " |",
    ]
    return "\n".join(lines) + "\n"


def domain_table(rows, domains):
    """The Fréchet figure of each domain; `rows` has by a row's name the runs of each domain."""
    return [
        "Fréchet figure per domain:",
        "",
        "| | " + " | ".join(domains) + " |",
        "|---" * (len(domains) + 1) + "|",
        *(f"| {label} | " + " | ".join(over([runs[d]], frechet) if runs[d] else "-" for d in domains) + " |" for label, runs in rows.items()),
    ]


def study_table(name, options):
    rows, domain_rows = [], {}
    reached = {}
    for label in STUDIES[name]:
        by_domain = {
            d: [run for run in (found(study_run(name, label, d, seed, options)) for seed in options.study_seeds) if run] for d in options.study_domains
        }
        measured = [runs for runs in by_domain.values() if runs]
        if not measured:
            continue
        domain_rows[label] = by_domain
        every = [run["train"] for runs in measured for run in runs]
        looks = {domain: runs[0]["train"]["validation"] for domain, runs in by_domain.items() if runs and runs[0]["train"]["validation"]}
        reached = reached or {domain: curve[-1] for domain, curve in looks.items()}
        cells = [
            f"{statistics.fmean(train['steps_taken'] for train in every):.0f}",
            f"{statistics.fmean(train['processor_seconds_per_step'] * train['steps_taken'] for train in every):.0f} s",
            over(measured, frechet),
            over(measured, lambda run: run["eval"]["held_out"]),
            over(measured, memorised) if all(run["eval"]["manifold"].get("memorised") for runs in measured for run in runs) else "-",
            f"{statistics.fmean(curve[-1][1] for curve in looks.values()):.4f}" if looks else "-",
            " / ".join(str(first_at(looks[domain], reached[domain][1])) for domain in looks if domain in reached) if looks else "-",
        ]
        rows.append(f"| {label} | " + " | ".join(cells) + " |")
    head = [
        "",
        (
            f"{name[0].upper()}{name[1:]} ({', '.join(options.study_domains)}; {'' if name == 'pictures of a class' else 'DiffFit, '}"
            f"seeds {', '.join(map(str, options.study_seeds))}); means, processor time:"
        ),
        "",
        "| | steps | training | Fréchet figure | held-out error | memorised | error in training | steps to the first row's last error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, "", *domain_table(domain_rows, options.study_domains)]) + "\n" if rows else ""


def draw_curves(options):
    """The methods' losses, the mean of the domains that have them all; and the held-out errors of the studies that look at them."""
    from matplotlib import pyplot

    studies = [name for name in options.studies if any("--validation" in arguments for arguments in STUDIES[name].values())]
    figure, panels = pyplot.subplots(1, 1 + len(studies), figsize=(5 * (1 + len(studies)), 3.8), layout="constrained")
    seed = options.seeds[0]
    domains = [d for d in options.domains if all(found(method_run(d, method, seed, options)) for method in options.methods)]
    for method in options.methods if domains else []:
        losses = [[loss for _, loss in curve(method_run(d, method, seed, options)["folder"], "loss")] for d in domains]
        means = [statistics.fmean(step) for step in zip(*losses, strict=False)]
        ends = range(SMOOTHED_STEPS, len(means) + 1)
        panels[0].plot(ends, [statistics.fmean(means[end - SMOOTHED_STEPS : end]) for end in ends], label=method)
    panels[0].set(title=f"Loss, mean of {SMOOTHED_STEPS} steps and {len(domains)} domains", xlabel="step")
    for panel, name in zip(panels[1:], studies, strict=True):
        domain = options.study_domains[0]
        for label in STUDIES[name]:
            if run := found(study_run(name, label, domain, options.study_seeds[0], options)):
                panel.plot(*zip(*run["train"]["validation"], strict=True), label=label)
        panel.set(title=f"{name}: held-out error ({domain})", xlabel="step")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    figure.savefig(options.out / "curves.png", dpi=110)


def first_at(curve, error):
    return next((step for step, value in curve if value <= error), "not reached")


def found(run):
    trained, measured = read_json(run["folder"] / "train.json"), read_json(run["folder"] / "eval.json")
    return {"train": trained, "eval": measured} if trained and measured else None


def frechet(run):
    return run["eval"]["frechet"]


def memorised(run):
    return run["eval"]["manifold"]["memorised"]


def over(domains, estimate):
    """Mean over domains, each a list of its seeds' runs; and the mean deviation between a domain's seeds, or of one seed the mean's own error."""
    found = [[estimate(run) for run in runs] for runs in domains]
    values = [[one["value"] for one in seeds] for seeds in found]
    spreads = [statistics.stdev(seeds) for seeds in values if len(seeds) > 1]
    errors = [one["standard_error"] for seeds in found for one in seeds]
    spread = statistics.fmean(spreads) if spreads else math.hypot(*errors) / len(errors)
    return f"{statistics.fmean(statistics.fmean(seeds) for seeds in values):.3g} ± {float(f'{spread:.1g}'):g}"


if __name__ == "__main__":
    main()
