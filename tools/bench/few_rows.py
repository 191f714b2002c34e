"""Pictures in few network rows beside their teacher's: Fréchet figure, classes, variety, sharpness, nearness and seconds.

Usage: python3 tools/bench/few_rows.py [--domains flowers,fungi] [--n 210] [-o FILE]      (build first: swift build -c release)
The store has the shipped domains and vectors (tools/run). Every setting makes the same seeds and classes. Variety and sharpness are on
pixels: the mean distance of two pictures of one class, and the mean of the absolute Laplacian, both over the teacher's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".build/release/adapterctl"
TEACHER = ["--guidance-interval", "0.1,0.8"]
# Rows an image: a guided step in the interval costs two.
SETTINGS = {
    "teacher": ("{}", TEACHER, 69),
    "distilled": ("{}", ["--guidance", "distilled"], 40),
    "multistep 8": ("{}", [*TEACHER, "--steps", "8"], 14),
    "multistep 4": ("{}", [*TEACHER, "--steps", "4"], 7),
    "distilled, multistep 8": ("{}", ["--guidance", "distilled", "--steps", "8"], 8),
    "distilled, multistep 4": ("{}", ["--guidance", "distilled", "--steps", "4"], 4),
    "turbo4": ("{}+turbo4", [], 4),
}


def sampled(domain: str, setting: str, n: int, folder: Path) -> tuple[dict, np.ndarray, int]:
    """What eval measures of a setting, its pictures as floats, and how many classes they take in turn."""
    reference, options, _ = SETTINGS[setting]
    images = folder / "images.npz"
    command = [PROGRAM, "eval", reference.format(domain), "--data", f"synthetic:{domain}", "--n", n, "--held-out", 0, "--reference", 700]
    command += ["--lessons", 40, "--resamples", 40, "--precision", "bf16", "--npz", images, "--json", *options]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    group = json.loads(done.stdout)["data"]["groups"][0]
    return group["subjects"][0]["samples"][0], np.load(images)["arr_0"].astype(np.float64) / 255, len(group["classes"])


def variety(pictures: np.ndarray, classes: int) -> float:
    distances = []
    for label in range(classes):
        own = pictures[label::classes].reshape(len(pictures[label::classes]), -1)
        squares = (own**2).sum(1)
        apart = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * own @ own.T, 0))
        distances.append(apart.sum() / (len(own) * (len(own) - 1)))
    return float(np.mean(distances))


def sharpness(pictures: np.ndarray) -> float:
    middle = pictures[:, 1:-1, 1:-1]
    around = pictures[:, :-2, 1:-1] + pictures[:, 2:, 1:-1] + pictures[:, 1:-1, :-2] + pictures[:, 1:-1, 2:]
    return float(np.abs(4 * middle - around).mean())


def summary(rows: list[dict]) -> list[str]:
    """A line per setting over all domains: in how many the Fréchet figure is within two errors of the teacher's, and means of the rest."""
    lines = ["| setting | rows | within two errors | in class | variety | of 0.9 or more | sharpness | PSNR | s/image |", "|---" * 9 + "|"]
    teachers = {row["domain"]: row for row in rows if row["psnr"] is None}
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        near = 0
        for row in own:
            teacher = teachers[row["domain"]]
            near += row["frechet"] - teacher["frechet"] <= 2 * np.hypot(row["error"], teacher["error"])
        mean = {key: np.mean([row[key] for row in own]) for key in ("class", "variety", "sharpness", "seconds")}
        psnr = "" if own[0]["psnr"] is None else f"{np.mean([row['psnr'] for row in own]):.1f} dB"
        lines.append(
            f"| {setting} | {SETTINGS[setting][2]} | {near} of {len(own)} | {100 * mean['class']:.0f} % | {mean['variety']:.2f} "
            f"| {sum(row['variety'] >= 0.9 for row in own)} | {mean['sharpness']:.2f} | {psnr} | {mean['seconds']:.3f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", default="food,scenes,objects,birds,art,flowers,fungi,cars")
    parser.add_argument("--settings", default=",".join(SETTINGS).replace("distilled, ", "distilled; "))
    parser.add_argument("--n", type=int, default=210)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    settings = [name.replace("; ", ", ") for name in options.settings.split(",")]
    lines = ["| domain | setting | rows | Fréchet | in class | variety | sharpness | PSNR | s/image |", "|---|---|---|---|---|---|---|---|---|"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for domain in options.domains.split(","):
            truth = None
            for setting in settings:
                found, pictures, classes = sampled(domain, setting, options.n, Path(name))
                truth = pictures if truth is None else truth
                errors = ((pictures - truth) ** 2).reshape(len(pictures), -1).mean(1)
                row = {
                    "domain": domain,
                    "setting": setting,
                    "frechet": found["frechet"]["distance"]["value"],
                    "error": found["frechet"]["distance"]["standard_error"],
                    "class": found["agreement"]["class"]["value"],
                    "variety": variety(pictures, classes) / variety(truth, classes),
                    "sharpness": sharpness(pictures) / sharpness(truth),
                    "psnr": None if truth is pictures else -10 * np.log10(np.median(errors)),
                    "seconds": found["seconds_per_image"],
                }
                rows.append(row)
                psnr = "" if row["psnr"] is None else f"{row['psnr']:.1f} dB"
                lines.append(
                    f"| {domain} | {setting} | {SETTINGS[setting][2]} | {row['frechet']:.1f} ± {row['error']:.1f} | {100 * row['class']:.0f} % "
                    f"| {row['variety']:.2f} | {row['sharpness']:.2f} | {psnr} | {row['seconds']:.3f} |"
                )
                print(lines[-1], flush=True)
    lines += ["", *summary(rows)]
    print("\n".join(["", *summary(rows)]))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
