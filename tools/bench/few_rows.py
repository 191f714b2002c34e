"""Pictures in few network rows beside their teacher's: Fréchet figures, classes, variety, sharpness, nearness and seconds.

Usage: python3 tools/bench/few_rows.py [--domains flowers,fungi] [--n 210] [-o FILE]      (build first: swift build -c release)
The store has the shipped domains and vectors (tools/run). Every setting makes the same seeds and classes. The first Fréchet figure is to
real pictures, the second (--to-teacher) to the teacher's own. Variety and sharpness are on pixels: the mean distance of two pictures of
one class, and the mean of the absolute Laplacian, both over the teacher's. Settings with a vector or a cache profile that the store has
not by itself are for --settings: +NAME is any step vector in it.
"""

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
import zlib
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
    "distilled, multistep 16": ("{}", ["--guidance", "distilled", "--steps", "16"], 16),
    "multistep 8": ("{}", [*TEACHER, "--steps", "8"], 14),
    "multistep 4": ("{}", [*TEACHER, "--steps", "4"], 7),
    "distilled, multistep 8": ("{}", ["--guidance", "distilled", "--steps", "8"], 8),
    "distilled, multistep 4": ("{}", ["--guidance", "distilled", "--steps", "4"], 4),
    "turbo4": ("{}+turbo4", [], 4),
}
MORE = {
    "cache balanced": ("{}", [*TEACHER, "--cache", "balanced"], None),
    "cache fast": ("{}", [*TEACHER, "--cache", "fast"], None),
}


def setting_named(name: str) -> tuple[str, list[str], int | None]:
    if not name.startswith("+"):
        return (SETTINGS | MORE)[name]
    command = [str(PROGRAM), "show", name[1:], "--json"]
    shown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["data"]
    return "{}" + name, [], len(shown["manifest"]["distillation"]["solver"]["times"])


def evaluated(reference: str, options: list[str], data: str, n: int, more: list) -> dict:
    """What eval prints of a recipe's pictures in classes of the data's."""
    command = [PROGRAM, "eval", reference, "--data", data, "--n", n, "--held-out", 0, "--reference", 700]
    command += ["--resamples", 40, "--precision", "bf16", "--json", *options, *more]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)["data"]["groups"][0]


def sampled(domain: str, reference: str, options: list[str], n: int, folder: Path) -> tuple[dict, np.ndarray, list[str]]:
    """What eval measures, the pictures as bytes, and the classes that they take in turn: of a blend those of its first domain."""
    images = folder / "images.npz"
    first = re.fullmatch(r"(?:[\d.]+\*)?([\w-]+)(?:\+.*)?", domain)
    group = evaluated(reference, options, f"synthetic:{first[1] if first else domain}", n, ["--lessons", 40, "--npz", images])
    return group["subjects"][0]["samples"][0], np.load(images)["arr_0"], group["classes"]


def write_folder(folder: Path, pictures: np.ndarray, classes: list[str]) -> None:
    """Pictures as a folder with a folder for each class."""
    for index, picture in enumerate(pictures):
        own = folder / classes[index % len(classes)]
        own.mkdir(parents=True, exist_ok=True)
        write_png(own / f"{index:05d}.png", picture)


def write_png(path: Path, picture: np.ndarray) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = picture.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b""))


def measures(pictures: np.ndarray, truth: np.ndarray, classes: list[str]) -> dict:
    """Variety and sharpness over the teacher's, and nearness to it."""
    own, all_of_it = pictures.astype(np.float64) / 255, truth.astype(np.float64) / 255
    errors = ((own - all_of_it) ** 2).reshape(len(own), -1).mean(1)
    return {
        "variety": variety(own, len(classes)) / variety(all_of_it, len(classes)),
        "sharpness": sharpness(own) / sharpness(all_of_it),
        "psnr": None if truth is pictures else -10 * np.log10(np.median(errors)),
    }


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
    lines = ["| setting | rows | within two errors | to teacher | in class | variety | of 0.9 or more | sharpness | PSNR | s/image |", "|---" * 10 + "|"]
    teachers = {row["domain"]: row for row in rows if row["psnr"] is None}
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        near = 0
        for row in own:
            teacher = teachers[row["domain"]]
            near += row["frechet"] - teacher["frechet"] <= 2 * np.hypot(row["error"], teacher["error"])
        mean = {key: np.mean([row[key] for row in own]) for key in ("class", "to_teacher", "variety", "sharpness", "seconds")}
        psnr = "" if own[0]["psnr"] is None else f"{np.mean([row['psnr'] for row in own]):.1f} dB"
        lines.append(
            f"| {setting} | {own[0]['rows']} | {near} of {len(own)} | {mean['to_teacher']:.1f} | {100 * mean['class']:.0f} % | {mean['variety']:.2f} "
            f"| {sum(row['variety'] >= 0.9 for row in own)} | {mean['sharpness']:.2f} | {psnr} | {mean['seconds']:.3f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", default="food,scenes,objects,birds,art,flowers,fungi,cars", help="or blends of them, as in 0.5*food+0.5*art")
    parser.add_argument("--settings", default=";".join(SETTINGS), help=f"parted by ;, of these and {'; '.join(MORE)}; the first is the teacher")
    parser.add_argument("--n", type=int, default=210)
    parser.add_argument("--to-teacher", action="store_true", help="measure the Fréchet figure to the teacher's pictures too")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    settings = [name.strip() for name in options.settings.split(";")]
    lines = ["| domain | setting | rows | Fréchet | to teacher | in class | variety | sharpness | PSNR | s/image |", "|---" * 10 + "|"]
    rows = []
    for domain in options.domains.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder, truth = Path(name), None
            for setting in settings:
                reference, flags, count = setting_named(setting)
                found, pictures, classes = sampled(domain, reference.format(domain), flags, options.n, folder)
                if truth is None:
                    truth = pictures
                    write_folder(folder / "pictures", pictures, classes)
                to_teacher = 0.0
                if options.to_teacher:
                    # Other seeds, so that the teacher's own figure is what two samples of it differ by.
                    flags = [*flags, "--lessons", "0", "--seed", "7"]
                    group = evaluated(reference.format(domain), flags, str(folder / "pictures"), options.n, [])
                    to_teacher = group["subjects"][0]["samples"][0]["frechet"]["distance"]["value"]
                row = {
                    "domain": domain,
                    "setting": setting,
                    "rows": count,
                    "frechet": found["frechet"]["distance"]["value"],
                    "error": found["frechet"]["distance"]["standard_error"],
                    "to_teacher": to_teacher,
                    "class": found["agreement"]["class"]["value"],
                    "seconds": found["seconds_per_image"],
                } | measures(pictures, truth, classes)
                rows.append(row)
                psnr = "" if row["psnr"] is None else f"{row['psnr']:.1f} dB"
                lines.append(
                    f"| {domain} | {setting} | {count} | {row['frechet']:.1f} ± {row['error']:.1f} | {to_teacher:.1f} | {100 * row['class']:.0f} % "
                    f"| {row['variety']:.2f} | {row['sharpness']:.2f} | {psnr} | {row['seconds']:.3f} |"
                )
                print(lines[-1], flush=True)
    lines += ["", *summary(rows)]
    print("\n".join(["", *summary(rows)]))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
