#!/usr/bin/env python3
"""What composing, guiding, caching, pruning and merging cost and give, as tables; each is one command.

    tools/run                                     builds, and fills the store
    tools/bench/composing.py guidance             cfg, domain and an interval per domain, at equal seeds
    tools/bench/composing.py cache                the sampling cache beside fewer steps, at 50 steps
    tools/bench/composing.py pruning              pruned while trained against pruned afterwards
    tools/bench/composing.py sites                four sites merged, even and class-skewed, against pooled training

Nothing in the store is changed: a copy is worked on.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = ["food", "scenes", "fungi", "objects", "birds", "art", "flowers", "cars"]


class Bench:
    def __init__(self, options, folder: Path):
        self.options, self.folder = options, folder
        self.store = folder / "store"
        shutil.copytree(options.store, self.store)

    def json(self, *arguments):
        command = [self.options.adapterctl, *arguments, "--json"] + ([] if arguments[0] == "draw" else ["--store", self.store])
        found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if found.returncode:
            raise SystemExit(f"{' '.join(map(str, command))} failed: {found.stderr.strip()}")
        return json.loads(found.stdout)["data"]

    def eval(self, *arguments):
        return self.json("eval", *arguments, "--n", self.options.images, "--precision", self.options.precision)["groups"]

    def train(self, name: str, data: str, *arguments):
        """An adapter of so many steps; returns its file."""
        file = self.folder / f"{name}.safetensors"
        self.json(
            "train", name, "--data", data, "-o", file, "--precision", self.options.precision, "--samples-every", 0, "--steps", self.options.steps, *arguments
        )
        return file

    def measured(self, file: Path):
        """Held-out error and Fréchet figure of an adapter's file against its domain."""
        group = self.eval("--base-file", self.base_file, "--adapter-file", file, "--data", f"synthetic:{self.options.domain}")[0]
        return group["subjects"][0]["held_out"]["mean"], group["subjects"][0]["samples"][0]["frechet"]["distance"]

    @property
    def base_file(self):
        return next((self.store / "bases").glob("*.safetensors"))


def figure(estimate, digits=3):
    return f"{estimate['value']:.{digits}g} ± {estimate['standard_error']:.1g}"


def table(head, rows):
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def guidance(bench):
    settings = ["guidance=cfg,scale=3", "guidance=domain,scale=3", "guidance=cfg,scale=3,interval=0.1..0.8", "guidance=none"]
    rows = []
    for domain in bench.options.domains:
        group = bench.eval(domain, "--held-out", 0, *(part for setting in settings for part in ("--compare", setting)))[0]
        samples = group["subjects"][0]["samples"]
        rows.append([domain, figure(group["floor"]["distance"])] + [f"{figure(s['frechet']['distance'])}, {s['seconds_per_image']:.3f} s" for s in samples])
    table(["domain", "real images", *(setting.replace("guidance=", "") for setting in settings)], rows)


def cache(bench):
    bench.json("calibrate", bench.options.domain, "--steps", 50)
    settings = ["steps=50", "steps=50,cache=balanced", "steps=50,cache=fast"] + [f"steps={n}" for n in (25, 17, 15, 12, 10)]
    group = bench.eval(bench.options.domain, "--held-out", 0, *(part for setting in settings for part in ("--compare", setting)))[0]
    samples = group["subjects"][0]["samples"]
    rows = [
        [
            setting,
            f"{s['seconds_per_image']:.3f}",
            f"{samples[0]['seconds_per_image'] / s['seconds_per_image']:.2f}",
            figure(s["frechet"]["distance"]),
            figure(s["frechet"]["change"]) if s["frechet"].get("change") else "-",
            f"{s['psnr']['median']:.1f} dB" if s.get("psnr") else "-",
        ]
        for setting, s in zip(settings, samples, strict=True)
    ]
    table(["setting", "s an image", "speed-up", "Fréchet figure", "change", "paired PSNR"], rows)
    print(f"\nReal images: {figure(group['floor']['distance'])}.")


def pruning(bench):
    domain = bench.options.domain
    dense = bench.train("dense", f"synthetic:{domain}")
    bench.json("add", "dense", dense)
    rows = [["none", "-", *row(bench, dense, "dense")]]
    for sparsity in (0.5, 0.8, 0.9):
        file = bench.train(f"progressive-{sparsity}", f"synthetic:{domain}", "--sparsity", sparsity)
        bench.json("add", f"progressive-{sparsity}", file)
        rows.append([f"{sparsity:.0%}", "while trained", *row(bench, file, f"progressive-{sparsity}")])
        bench.json("sparsify", "dense", "--sparsity", sparsity, "--as", f"once-{sparsity}")
        once = bench.folder / f"once-{sparsity}.safetensors"
        bench.json("export", f"once-{sparsity}", "-o", once)
        rows.append([f"{sparsity:.0%}", "at the end", *row(bench, once, f"once-{sparsity}")])
    table(["pruned", "when", "stored bytes", "held-out error", "Fréchet figure"], rows)


def row(bench, file, name):
    error, distance = bench.measured(file)
    return bench.json("show", name)["summary"]["stored_bytes"], figure(error, 4), figure(distance)


def sites(bench):
    """Each picture lies at one site. Skewed: seven of ten pictures of a class at one site."""
    domain, each = bench.options.domain, bench.options.per_class
    drawn = bench.folder / "drawn"
    bench.json("draw", domain, "--folder", drawn, "--per-class", 4 * each)
    classes = sorted(path.name for path in drawn.iterdir())
    rows = [["pooled", 4 * each * len(classes), *map(figure, bench.measured(bench.train("pooled", drawn)))]]
    for split in ("even", "skewed"):
        counts = [0] * 4
        for number, name in enumerate(classes):
            for k, picture in enumerate(sorted((drawn / name).iterdir())):
                site = k % 4 if split == "even" or k % 10 >= 7 else number % 4
                target = bench.folder / split / f"site-{site}" / name
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(picture, target)
                counts[site] += 1
        start = []
        for turn in range(1, 1 + bench.options.rounds):
            # As many steps at each site over all rounds as the pooled run takes.
            files = [
                bench.train(f"{split}-{site}-{turn}", bench.folder / split / f"site-{site}", *start, "--steps", bench.options.steps // bench.options.rounds)
                for site in range(4)
            ]
            if turn == 1:
                rows.append([f"{split}: the first site alone", counts[0], *map(figure, bench.measured(files[0]))])
            merged = bench.folder / f"{split}-round-{turn}.safetensors"
            bench.json("merge", f"{split}-{turn}", *(f"{file}={count}" for file, count in zip(files, counts, strict=True)), "-o", merged)
            rows.append([f"{split}: four sites, round {turn} of {bench.options.rounds}", sum(counts), *map(figure, bench.measured(merged))])
            start = ["--from", merged]
    table(["trained on", "pictures", "held-out error", "Fréchet figure"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["guidance", "cache", "pruning", "sites"])
    parser.add_argument("--adapterctl", type=Path, default=ROOT / ".build/release/adapterctl")
    parser.add_argument("--store", type=Path, default=Path(os.environ.get("DIFFFIT_STORE") or Path.home() / ".local/share/difffit"))
    parser.add_argument("--domain", default="flowers")
    parser.add_argument("--domains", type=lambda text: text.split(","), default=DOMAINS)
    parser.add_argument("--images", type=int, default=384, help="sampled for each Fréchet figure")
    parser.add_argument("--steps", type=int, default=600, help="of each training run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--per-class", type=int, default=100, help="pictures of a class at each of the four sites, where they are even")
    parser.add_argument("--precision", default="bf16", help="of training and of sampling")
    options = parser.parse_args()
    for path in (options.adapterctl, options.store):
        if not path.exists():
            parser.error(f"there is no '{path}': run tools/run first")
    with tempfile.TemporaryDirectory() as folder:
        globals()[options.what](Bench(options, Path(folder)))


if __name__ == "__main__":
    main()
