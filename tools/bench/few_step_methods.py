"""The objectives of `adapterctl distill steps` against each other: Fréchet figure, classes, variety, sharpness and nearness at equal seconds.

Usage: python3 tools/bench/few_step_methods.py [--domains flowers,cars] [--seconds 120] [--steps 4,2,1] [-o FILE]
(build first: swift build -c release)
One vector for each step is trained over all the domains given, as biases and scales and as low-rank pairs of rank 16, with every
objective. A run that is a little longer than a round of the teacher's trajectories is watched for what a step costs, so that every
objective gets the steps that fit into the seconds of the whole command, trajectories and the search for times included: of processor
time over the cores, so that other work on the machine counts little. Distribution matching goes on from vectors that had half of the
seconds for the trajectory's objective.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

import few_rows

OBJECTIVES = {
    "trajectory": ["--objective", "trajectory"],
    "reflow": ["--objective", "reflow"],
    "consistency": ["--objective", "consistency"],
    "adversarial": ["--objective", "consistency", "--adversarial", "0.3"],
    "distribution": ["--objective", "distribution"],
}
KINDS = {
    "DiffFit": ["--learning-rate", "2e-3"],
    "LoRA 16": ["--method", "lora", "--rank", "16", "--targets", "all", "--learning-rate", "1e-3"],
}
# Steps between checkpoints, and of a round of the teacher's trajectories.
FEW, ROUND = 8, 64


class Run:
    """A training command, and the processor seconds over the cores that it took by each checkpoint, of every `FEW` steps."""

    def __init__(self, command: list[str], checkpoint: Path, cores: int):
        self.seconds: list[float] = []
        checkpoint.unlink(missing_ok=True)
        seen = 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            self.total = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") / cores
            written = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
            if written > seen:
                seen = written
                self.seconds.append(self.total)
            time.sleep(0.1)
        if process.returncode:
            raise SystemExit(process.stderr.read())

    def start_and_each(self) -> tuple[float, float]:
        """The seconds before the first step, and those of a step."""
        each = (self.seconds[ROUND // FEW] - self.seconds[0]) / ROUND
        return self.seconds[0] - FEW * each, each


class Trainer:
    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder, self.cores = options, folder, len(os.sched_getaffinity(0))

    def train(self, name: str, flags: list[str], steps: int) -> Run:
        command = [str(few_rows.PROGRAM), "distill", "steps", *self.options.domains.split(","), *few_rows.TEACHER, "--teacher-steps", "20"]
        command += ["--precision", "bf16", "--batch", "16", "--train-steps", str(steps), "--validate-every", str(steps), "--samples-every", "0"]
        command += ["--checkpoint-every", str(FEW), "--restart", "--add", "--replace", *flags, "-o", str(self.folder / f"{name}.safetensors")]
        return Run(command, self.folder / f"{name}.run/checkpoint.safetensors", self.cores)

    def trained(self, name: str, flags: list[str], seconds: float) -> tuple[int, float]:
        """Trains for about so long; how many steps that were, and how long it took."""
        probe = self.train("probe", flags, 2 * FEW + ROUND)
        start, each = probe.start_and_each()
        # What comes after the last step: the measurement against the teacher.
        end = probe.total - probe.seconds[-1] - FEW * each
        steps = max(FEW, round((seconds - start - end) / each))
        return steps, self.train(name, flags, steps).total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", default="flowers,cars")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--steps", default="4,2,1", help="of the sampler")
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--sets", default=",".join(KINDS))
    parser.add_argument("--n", type=int, default=210)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    domains = options.domains.split(",")
    lines = [
        "| steps | objective | set | trained | seconds | " + " | ".join(f"Fréchet, {name}" for name in domains) + " | in class | variety | sharpness | PSNR |"
    ]
    lines.append("|---" * (9 + len(domains)) + "|")
    with tempfile.TemporaryDirectory() as name:
        folder, truths = Path(name), {}
        trainer = Trainer(options, folder)

        def add(*columns: str) -> None:
            lines.append("| " + " | ".join(columns) + " |")
            print(lines[-1], flush=True)

        def measured(suffix: str, flags: list[str]) -> list[str]:
            figures, rows = [], []
            for domain in domains:
                found, pictures, classes = few_rows.sampled(domain, domain + suffix, flags, options.n, folder)
                truth = truths.setdefault(domain, pictures)
                distance = found["frechet"]["distance"]
                figures.append(f"{distance['value']:.1f} ± {distance['standard_error']:.1f}")
                rows.append(few_rows.measures(pictures, truth, classes) | {"class": found["agreement"]["class"]["value"]})
            mean = {key: sum(row[key] or 0 for row in rows) / len(rows) for key in rows[0]}
            psnr = f"{mean['psnr']:.1f} dB" if mean["psnr"] else ""
            return [*figures, f"{100 * mean['class']:.0f} %", f"{mean['variety']:.2f}", f"{mean['sharpness']:.2f}", psnr]

        add("40", "the teacher", "", "", "", *measured("", few_rows.TEACHER))
        for steps in options.steps.split(","):
            add(steps, "multistep", "", "", "", *measured("", [*few_rows.TEACHER, "--steps", steps]))
            for kind in options.sets.split(","):
                flags = KINDS[kind]
                for objective in options.objectives.split(","):
                    vector = f"{objective}{steps}{kind.replace(' ', '').lower()}"
                    own = [*flags, *OBJECTIVES[objective], "--steps", steps]
                    if objective == "distribution":
                        half = f"half{vector}"
                        first = trainer.trained(half, [*flags, *OBJECTIVES["trajectory"], "--steps", steps], options.seconds / 2)
                        gentle = ["--learning-rate", "1e-4", "--from", half, *OBJECTIVES[objective]]
                        second = trainer.trained(vector, gentle, options.seconds / 2)
                        trained, seconds = f"{first[0]} + {second[0]}", first[1] + second[1]
                    else:
                        count, seconds = trainer.trained(vector, own, options.seconds)
                        trained = str(count)
                    add(steps, objective, kind, trained, f"{seconds:.0f}", *measured(f"+{vector}", []))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
