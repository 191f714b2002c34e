"""Trains a class-conditional base of photographs in PyTorch, on a GPU or a CPU, and writes it as this package imports bases.

    pip install torch numpy safetensors pillow
    python tools/bench/train_photographs.py DATA --minutes 20 -o photographs.safetensors
    adapterctl base import photographs.safetensors

DATA has a folder of square pictures per class, all of one size, which becomes the network's. Network and loss are pixel_dit.py's,
equal to this package's own. What `adapterctl train --validation 0.02 --seed 1` would hold out is held out here too, so
`adapterctl eval base --data DATA --n 0` measures the same pictures as the lines that this prints.

The defaults were chosen on Tiny ImageNet at 32 px, 400 pictures of each of its 200 classes (for research only: say so with --terms).
There `--minutes 10.5` on part of an H200, 16.5 million pictures seen, reach a held-out error of 0.2007; `--minutes 23.2 --weight-decay 0.05`
on the whole of it reach 0.1971 after 53 million, from where it rises by 0.0002 to the end. With `--patch 2 --batch 512
--learning-rate 6e-4`, which costs over three times the work, 15.6 million reach 0.1972, still falling.

Beside the file, FILE.run/ holds the checkpoint that `--resume` goes on from, a sheet of sampled pictures for every look at the
held-out ones, and log.jsonl. The learning rate is constant for half of the time given and then falls on a cosine. Of two averages of
the weights, the file has the one that did best on the held-out pictures at any look.
"""

import argparse
import concurrent.futures
import copy
import hashlib
import json
import math
import os
import pathlib
import time

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from pixel_dit import TIME_SCALE, DiT, mixed, sampled, velocity_errors

# Times of the held-out error, and decays of the two averages.
TIMES = 16
AVERAGES = (0.999, 0.9997)


# The pictures


class Pictures:
    """RGB bytes (n, 3, S, S) and labels (n) on the device."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor):
        self.pixels, self.labels, self.device = pixels, labels, pixels.device

    def __len__(self):
        return len(self.labels)

    def images(self, chosen) -> torch.Tensor:
        return self.pixels[chosen].float() / 127.5 - 1

    def batch(self, count: int):
        chosen = torch.randint(len(self), (count,), device=self.device)
        x0 = self.images(chosen)
        flips = torch.rand(count, 1, 1, 1, device=self.device) < 0.5
        return torch.where(flips, x0.flip(3), x0), self.labels[chosen]


def decoded(path: str) -> np.ndarray:
    with Image.open(path) as image:
        if image.width != image.height:
            raise SystemExit(f"'{path}' is {image.width}x{image.height}; pictures must be square")
        return np.asarray(image.convert("RGB"))


def read_folder(folder: pathlib.Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Class names, pixels (n, S, S, 3) and labels, all in the order of names."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files = [(label, str(file)) for label, name in enumerate(names) for file in sorted((folder / name).iterdir()) if not file.name.startswith(".")]
    if not files:
        raise SystemExit(f"'{folder}' has no folders of pictures in it")
    with concurrent.futures.ProcessPoolExecutor() as pool:
        pictures = list(pool.map(decoded, [file for _, file in files], chunksize=256))
    for (_, file), picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise SystemExit(f"'{file}' is {len(picture)} pixels wide, '{files[0][1]}' {len(pictures[0])}; pictures must be of one size")
    return names, np.stack(pictures), np.array([label for label, _ in files])


def data_digest(names: list[str], pixels: np.ndarray, labels: np.ndarray) -> str:
    """As TrainingData.digest has it."""
    header = "\n".join([*names, ",".join(map(str, labels))])
    return hashlib.sha256(header.encode() + pixels.tobytes()).hexdigest()


def uniforms(seed: int, stream: int, count: int) -> list[int]:
    """The first numbers of a NoiseStream (Philox 4x32-10), as whole numbers below 2^24."""
    numbers = []
    for block in range((count + 3) // 4):
        c, k = [block, 0, stream & 0xFFFFFFFF, stream >> 32], [seed & 0xFFFFFFFF, seed >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        numbers += [word >> 8 for word in c]
    return numbers[:count]


def held_out_indices(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The pictures that `adapterctl train --validation` holds out (HeldOut.swift)."""
    chosen = []
    for label in np.unique(labels):
        images = np.flatnonzero(labels == label)
        count = min(max(1, math.floor(len(images) * share + 0.5)), len(images) - 1)
        draws = uniforms(seed, 3 << 60 | int(label), len(images))
        chosen += [images[i] for i in sorted(range(len(images)), key=lambda i: (draws[i], i))[:count]]
    return np.array(sorted(chosen))


# The objective


def training_times(count: int, device) -> torch.Tensor:
    """sigmoid(N(-0.3, 1)) for most, and uniform for one in seven, so that both ends are seen."""
    normal = torch.sigmoid(torch.randn(count, device=device) - 0.3)
    return torch.where(torch.rand(count, device=device) < 1 / 7, torch.rand(count, device=device), normal)


@torch.no_grad()
def held_out_errors(model, pictures: Pictures, chunk: int = 1600) -> list[float]:
    """Error at the middles of equal parts of the path, the same noise for every network."""
    generator = torch.Generator(pictures.device).manual_seed(1)
    errors = []
    for bucket in range(TIMES):
        sums = 0.0
        for at in range(0, len(pictures), chunk):
            x0, y = pictures.images(slice(at, at + chunk)), pictures.labels[at : at + chunk]
            noise = torch.randn(x0.shape, generator=generator, device=x0.device)
            t = torch.full((len(x0),), (bucket + 0.5) / TIMES, device=x0.device)
            with torch.autocast(x0.device.type, torch.bfloat16, enabled=x0.is_cuda):
                sums += velocity_errors(model, x0, noise, t, y).sum().item()
        errors.append(sums / len(pictures))
    return errors


@torch.no_grad()
def largest_attention_logit(model, pictures: Pictures) -> float:
    """Over some held-out pictures in the middle of the path: what grows before attention breaks down."""
    largest, hooks = [], []
    for block in model.blocks:
        attention = block.attn

        def look(_layer, _inputs, qkv, attention=attention):
            q, k, _ = attention.split(qkv.float()).unbind(0)
            largest.append((q @ k.transpose(2, 3)).abs().max().item() / math.sqrt(q.shape[3]))

        hooks.append(attention.qkv.register_forward_hook(look))
    x0 = pictures.images(slice(0, 64))
    t = torch.full((len(x0),), 0.5, device=x0.device)
    model(mixed(x0, torch.randn_like(x0), t), TIME_SCALE * t, pictures.labels[:64])
    for hook in hooks:
        hook.remove()
    return max(largest)


def write_sheet(model, path: pathlib.Path, scale: float, rows: int = 16, columns: int = 8):
    """A row of pictures for each of some classes taken evenly from all."""
    device = model.positions.device
    chosen = torch.arange(min(rows, model.classes), device=device) * model.classes // min(rows, model.classes)
    pictures = sampled(model, chosen.repeat_interleave(columns), scale)
    values = ((pictures + 1) * 127.5).round().clamp(0, 255).byte().unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    image = Image.fromarray(values.cpu().numpy())
    image.resize((3 * image.width, 3 * image.height), Image.Resampling.NEAREST).save(path)


# Training


def write_base(model, path: pathlib.Path, card: dict, matrices: torch.dtype):
    """Matrices in the given type, biases and class table in float32: the form of the shipped base."""
    tensors = {}
    for name, value in model.state_dict().items():
        is_matrix = name.endswith("weight") and "table" not in name
        tensors[name] = value.detach().to(matrices if is_matrix else torch.float32).cpu().contiguous()
    compact = {"sort_keys": True, "separators": (",", ":")}
    metadata = {"config": json.dumps(model.config, **compact), "card": json.dumps(card, **compact), "format": "pt"}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata)
    os.replace(partial, path)


class Run:
    def __init__(self, options, names, training: Pictures, held_out: Pictures, digest: str):
        self.options, self.names, self.training, self.held_out, self.digest = options, names, training, held_out, digest
        torch.manual_seed(options.seed)
        size = training.pixels.shape[2]
        self.model = DiT(size, options.patch, options.width, options.depth, options.heads, len(names)).to(training.device)
        self.averages = [copy.deepcopy(self.model).requires_grad_(False) for _ in AVERAGES]
        cuda = training.device.type == "cuda"
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=options.weight_decay, fused=cuda)
        self.loss = torch.compile(self.batch_loss) if cuda else self.batch_loss
        self.step, self.before, self.best, self.losses = 0, 0.0, math.inf, []
        self.folder = options.output.with_suffix(".run")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def batch_loss(self, x0, noise, t, y):
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=x0.is_cuda):
            return velocity_errors(self.model, x0, noise, t, y).mean()

    def rate(self) -> float:
        share = min(1, self.seconds / (60 * self.options.minutes))
        fall = 1 if share < 0.5 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (2 * share - 1)))
        return self.options.learning_rate * min(1, (self.step + 1) / self.options.warmup) * fall

    def advance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; its loss and the length of its gradient."""
        x0, y = self.training.batch(self.options.batch)
        y = torch.where(torch.rand(y.shape, device=y.device) < self.options.class_dropout, self.model.classes, y)
        loss = self.loss(x0, torch.randn_like(x0), training_times(len(x0), x0.device), y)
        loss.backward()
        length = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.param_groups[0]["lr"] = self.rate()
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            for average, decay in zip(self.averages, AVERAGES, strict=True):
                # Over about the last ninth of the steps, until that is longer than the decay's own length.
                weight = 1 - min(decay, (1 + self.step) / (10 + self.step))
                torch._foreach_lerp_(list(average.parameters()), list(self.model.parameters()), weight)
        self.step += 1
        return loss.detach(), length

    def card(self, error: float) -> dict:
        o = self.options
        recent = self.losses[-max(1, len(self.losses) // 10) :]
        training = {
            "batch": o.batch,
            "data": o.data_name,
            "data_digest": self.digest,
            "held_out_error": error,
            "images": len(self.training) + len(self.held_out),
            "learning_rate": o.learning_rate,
            "loss": sum(recent) / len(recent),
            "loss_weighting": "constant",
            "seed": o.seed,
            "steps": self.step,
            "validation_share": o.validation,
        }
        card = {"class_names": self.names, "name": o.name, "path": "linear", "prediction": "x0", "time_scale": TIME_SCALE, "training": training}
        return card | ({"terms": o.terms} if o.terms else {})

    def look(self) -> DiT:
        """Held-out errors of the averages, of which the better is returned; the file, the checkpoint and a sheet are written."""
        errors = [held_out_errors(average, self.held_out) for average in self.averages]
        means = [sum(values) / len(values) for values in errors]
        chosen = min(range(len(means)), key=means.__getitem__)
        if means[chosen] < self.best:
            self.best = means[chosen]
            for suffix, matrices in (("", torch.bfloat16), (".f32", torch.float32)):
                path = self.options.output
                write_base(self.averages[chosen], path.with_name(path.stem + suffix + path.suffix), self.card(self.best), matrices)
        self.say(
            held_out=[round(value, 5) for value in means],
            by_time=[round(value, 4) for value in errors[chosen]],
            best=round(self.best, 5),
            largest_logit=round(largest_attention_logit(self.model, self.held_out), 1),
        )
        state = {
            "model": self.model.state_dict(),
            "averages": [average.state_dict() for average in self.averages],
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "losses": self.losses,
        }
        torch.save(state, self.folder / "checkpoint.partial")
        os.replace(self.folder / "checkpoint.partial", self.folder / "checkpoint.pt")
        write_sheet(self.averages[chosen], self.folder / f"{self.step:06d}.png", scale=2)
        return self.averages[chosen]

    def resume(self):
        state = torch.load(self.folder / "checkpoint.pt", map_location=self.training.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for average, values in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(values)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.before, self.best, self.losses = state["step"], state["seconds"], state["best"], state["losses"]
        torch.manual_seed(self.options.seed + self.step)

    def say(self, **values):
        line = json.dumps({"step": self.step, "seconds": round(self.seconds, 1), "images": self.step * self.options.batch} | values)
        print(line, flush=True)
        with open(self.folder / "log.jsonl", "a") as log:
            log.write(line + "\n")

    def train(self):
        o, looked = self.options, self.seconds
        while self.seconds < 60 * o.minutes:
            loss, length = self.advance()
            if self.step % o.log_every == 0 or self.step == 1:
                loss, length = loss.item(), length.item()
                if not math.isfinite(loss):
                    raise SystemExit(f"the loss is {loss} at step {self.step}: go on with --resume and a lower --learning-rate")
                self.losses.append(loss)
                self.say(loss=round(loss, 5), gradient=round(length, 4), rate=round(self.rate(), 7))
            if self.seconds - looked > o.look_every:
                self.look()
                looked = self.seconds
        average = self.look()
        for scale in (1, 2, 3):
            write_sheet(average, self.folder / f"final-{scale}.png", scale)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="a folder with one sub-folder of pictures per class")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="the .safetensors to write; FILE.f32.safetensors comes beside it")
    parser.add_argument("--minutes", type=float, default=20, help="of training; the learning rate falls over the second half")
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=9)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup", type=int, default=500, help="steps")
    parser.add_argument("--class-dropout", type=float, default=0.1)
    parser.add_argument("--validation", type=float, default=0.02, help="share of each class that is held out")
    parser.add_argument("--look-every", type=float, default=120, help="seconds between looks at the held-out pictures")
    parser.add_argument("--log-every", type=int, default=100, help="steps between lines about the loss")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="photographs", help="on the base's card")
    parser.add_argument("--data-name", default="photographs", help="on the base's card: what the pictures are")
    parser.add_argument("--terms", help="on the base's card: sources and terms of the pictures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resume", action="store_true", help="go on from FILE.run/")
    options = parser.parse_args()
    if options.width % options.heads or options.width % 4:
        parser.error(f"--width must be a multiple of --heads and of 4, not {options.width}")
    if not 0 < options.validation < 1:
        parser.error(f"--validation lies between 0 and 1, not at {options.validation}")

    names, pixels, labels = read_folder(options.data)
    if pixels.shape[1] % options.patch:
        raise SystemExit(f"pictures of {pixels.shape[1]} pixels do not divide into patches of {options.patch}")
    digest = data_digest(names, pixels, labels)
    held = held_out_indices(labels, options.validation, options.seed)
    kept = np.setdiff1d(np.arange(len(labels)), held)

    def part(indices):
        chosen = torch.from_numpy(pixels[indices]).permute(0, 3, 1, 2).contiguous()
        return Pictures(chosen.to(options.device), torch.from_numpy(labels[indices]).to(options.device))

    run = Run(options, names, part(kept), part(held), digest)
    if options.resume:
        run.resume()
    weights = sum(value.numel() for value in run.model.parameters())
    print(f"{len(kept)} pictures of {len(names)} classes to train on, {len(held)} held out, {weights:,} weights, data {digest[:12]}", flush=True)
    run.train()


if __name__ == "__main__":
    main()
