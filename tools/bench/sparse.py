"""A sparse base beside the dense one that it was made of: what is lost, and what comes back.

Usage: python3 tools/bench/sparse.py [--domains flowers,cars] [--n 210] [--recovery-steps 1000] [--train-steps 4000] [--store DIR]
       python3 tools/bench/sparse.py --forward       memory and seconds of one network call of DiT-XL/2 (build first: swift build -c release)

In a store of its own (--store keeps it, and what it holds already is not made again) the shipped base is made 2:4 sparse by magnitude and by
second-order saliency, trained with half of its weights, and recovered by a DiffFit and a LoRA adapter. Adapters of the dense base come over
by `adapterctl recover`; where nothing was recovered, through a recovery that learned nothing (one step at a rate of 1e-12). Every variant
samples the same seeds and classes: PSNR is the median over pictures against the dense base's, the Fréchet figure is that of the dense
base's features between a variant's pictures and the dense base's own of other seeds. The held-out error is the network's own loss on new
pictures of the domain.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import few_rows

sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "adapters"
LORA = ["--method", "lora", "--rank", "16", "--targets", "all"]
# Variant: its base, and the options of its recovery; None learns nothing.
VARIANTS = {
    "magnitude": ("magnitude", None),
    "second-order": ("second-order", None),
    "second-order, DiffFit recovery": ("second-order", []),
    "second-order, LoRA recovery": ("second-order", LORA),
    "straight-through": ("trained", None),
    "straight-through, DiffFit recovery": ("trained", []),
}


def adapterctl(*arguments) -> dict:
    command = [str(few_rows.PROGRAM), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)["data"]


def names(verb: list[str]) -> set[str]:
    return {row["name"] for row in adapterctl(*verb)}


def make(options: argparse.Namespace, folder: Path) -> None:
    """Everything that is measured, as far as the store lacks it."""
    domains = options.domains.split(",")
    if not (Path(os.environ["DIFFFIT_STORE"]) / "data.mdb").exists():
        adapterctl("init")
        adapterctl("base", "import", SHIPPED / "base.safetensors", "--name", "dense")
    for domain in domains:
        if domain not in names(["list"]):
            adapterctl("add", domain, SHIPPED / f"{domain}.safetensors", "--base", "dense")
    for saliency in ("magnitude", "second-order"):
        if saliency not in names(["base", "list"]):
            adapterctl("base", "sparsify", "dense", "--pattern", "2:4", "--saliency", saliency, "--name", saliency, "--add")
    if "trained" not in names(["base", "list"]) and any(base == "trained" for base, _ in chosen(options).values()):
        trained = folder / "trained.safetensors"
        train = ["--data", "synthetic:mixture", "--steps", options.train_steps, "--learning-rate", "3e-4", "--precision", "bf16"]
        # The store's own file, so that the dense base that the result names is the one here.
        dense = adapterctl("base", "show", "dense")["file"]
        adapterctl("base", "train", "--from", dense, "--pattern", "2:4", *train, "--name", "trained", "-o", trained)
        adapterctl("base", "import", trained, "--name", "trained")
    for variant, (base, recovery) in chosen(options).items():
        name = slug(variant)
        if name not in names(["list"]):
            learn = ["--train-steps", 1, "--batch", 1, "--learning-rate", "1e-12"] if recovery is None else recovery
            steps = [] if recovery is None else ["--train-steps", options.recovery_steps, "--batch", options.batch]
            adapterctl("distill", "recovery", *domains, "--base", base, "-o", folder / f"{name}.safetensors", "--add", *learn, *steps)
        for domain in domains:
            if f"{domain}-{name}" not in names(["list"]):
                adapterctl("recover", domain, "--through", name, "--name", f"{domain}-{name}")


def chosen(options: argparse.Namespace) -> dict:
    wanted = [name.strip() for name in options.variants.split(";")]
    return {name: VARIANTS[name] for name in wanted}


def slug(variant: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in variant.lower()).replace("--", "-")


def sampled(reference: str, base: str, data: str, options: argparse.Namespace, folder: Path) -> tuple[float, np.ndarray, list[str]]:
    """The held-out error of a domain on a base, its pictures and their classes in turn."""
    command = ["eval", reference, "--base", base, "--data", f"synthetic:{data}", "--n", options.n, "--held-out", 512, "--reference", 64]
    group = adapterctl(*command, "--lessons", 0, "--resamples", 2, "--precision", "bf16", "--npz", folder / "images.npz", *few_rows.TEACHER)["groups"][0]
    subject = group["subjects"][0]
    return subject["held_out"]["mean"]["value"], np.load(folder / "images.npz")["arr_0"], group["classes"]


def to_dense(pictures: np.ndarray, classes: list[str], reference: str, options: argparse.Namespace, folder: Path) -> float:
    """The Fréchet figure between pictures and the dense base's of other seeds."""
    own = folder / "pictures"
    few_rows.write_folder(own, pictures, classes)
    command = ["eval", reference, "--base", "dense", "--data", own, "--n", options.n, "--held-out", 0, "--lessons", 0, "--no-cache"]
    group = adapterctl(*command, "--resamples", 2, "--precision", "bf16", "--seed", 7, *few_rows.TEACHER)["groups"][0]
    subprocess.run(["rm", "-r", str(own)], check=True)
    return group["subjects"][0]["samples"][0]["frechet"]["distance"]["value"]


def loss(options: argparse.Namespace) -> list[str]:
    lines = ["| domain | base | held-out error | over the dense one's | PSNR | Fréchet to the dense one's |", "|---" * 6 + "|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(options, folder)
        for domain, data in [("base", "mixture")] + [(domain, domain) for domain in options.domains.split(",")]:
            error, truth, classes = sampled(domain, "dense", data, options, folder)
            figure = to_dense(truth, classes, domain, options, folder)
            lines.append(f"| {domain} | dense | {error:.5f} | 1 | | {figure:.1f} |")
            print(lines[-1], flush=True)
            for variant, (base, _) in chosen(options).items():
                own = slug(variant) if domain == "base" else f"{domain}-{slug(variant)}"
                found, pictures, _ = sampled(own, base, data, options, folder)
                squares = ((pictures.astype(np.float64) - truth) ** 2).reshape(len(truth), -1).mean(1) / 255**2
                figure = to_dense(pictures, classes, domain, options, folder)
                lines.append(f"| {domain} | {variant} | {found:.5f} | {found / error:.3f} | {-10 * np.log10(np.median(squares)):.1f} dB | {figure:.1f} |")
                print(lines[-1], flush=True)
    return lines


def forward() -> list[str]:
    lines = ["| precision | rows | packed with zeros | without | times less | seconds | over with zeros | by the least times |", "|---" * 8 + "|"]
    for precision in ("bf16", "int8"):
        for rows in (1, 2, 8):
            found = adapterctl("bench", "forward", "--model", "DiT-XL/2", "--rows", rows, "--precision", precision, "--pattern", "2:4", "--runs", 7)
            whole, own = found["packed_bytes_whole"], found["packed_bytes"]
            lines.append(
                f"| {precision} | {rows} | {whole / 1e6:.0f} MB | {own / 1e6:.0f} MB | {whole / own:.2f} | {found['forward']['median_seconds']:.3f} "
                f"| {found['sparse_over_whole']:.3f} | {found['sparse_over_whole_least']:.3f} |"
            )
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", default="flowers,cars")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="parted by ;")
    parser.add_argument("--n", type=int, default=210)
    parser.add_argument("--recovery-steps", type=int, default=1000)
    parser.add_argument("--train-steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64, help="of a recovery")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--program", type=Path, default=few_rows.PROGRAM)
    parser.add_argument("--forward", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    few_rows.PROGRAM = options.program
    with tempfile.TemporaryDirectory() as name:
        os.environ["DIFFFIT_STORE"] = str(options.store or Path(name) / "store")
        lines = forward() if options.forward else loss(options)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
