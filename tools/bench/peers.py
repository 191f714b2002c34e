"""Times one network call here, in PyTorch and in OpenVINO, in turns, and prints ratios.

    pip install torch openvino nncf            (in a virtual environment; the CPU wheels do)
    swift build -c release --product adapterctl
    python3 tools/bench/peers.py prepare --model DiT-XL/2 --rows 2     converts and quantises for OpenVINO, once
    python3 tools/bench/peers.py forward --model DiT-XL/2 --rows 2
    python3 tools/bench/peers.py train --model DiT-S/2 --rows 8        DiffFit's gradient step, f32 and bf16
    python3 tools/bench/peers.py error --model DiT-XL/2                OpenVINO's int8 against PyTorch's f32

Every contender runs in a process of its own, one call of each after the other for as many rounds as asked for: what else the machine
does falls on all alike. The weights are random and of the same distribution everywhere; times do not depend on them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / ".build/release/adapterctl"
PEERS = ["torch-f32", "torch-bf16", "openvino-f32", "openvino-bf16", "openvino-int8"]


def folder(a) -> Path:
    return Path(a.cache) / f"{a.model.replace('/', '-')}-{a.pixels}-{a.rows}"


def inputs(a, t: float = 500):
    import torch

    generator = torch.Generator().manual_seed(1)
    side = a.pixels // 8
    x = torch.randn(a.rows, 4, side, side, generator=generator)
    return x, torch.full((a.rows,), t), torch.ones(a.rows, dtype=torch.long)


def network(a, gammas: bool = False):
    import torch

    from peer_dit import DiT

    torch.manual_seed(0)
    return DiT(a.model, a.pixels, gammas)


def prepare(a):
    """One float32 and one int8 model of OpenVINO (NNCF after training, transformer preset) on disk."""
    import nncf
    import openvino as ov
    import torch

    folder(a).mkdir(parents=True, exist_ok=True)
    example = inputs(a)
    model = ov.convert_model(network(a).eval(), example_input=example, input=[list(v.shape) for v in example])
    ov.save_model(model, folder(a) / "f32.xml", compress_to_fp16=False)
    samples = []
    for t in [20, 260, 500, 740, 999]:
        torch.manual_seed(t)
        samples.append((torch.randn_like(example[0]).numpy(), inputs(a, t)[1].numpy(), example[2].numpy()))
    quantised = nncf.quantize(model, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples), fast_bias_correction=True)
    ov.save_model(quantised, folder(a) / "int8.xml", compress_to_fp16=False)


def openvino_call(a, kind: str):
    import openvino as ov

    core = ov.Core()
    model = core.read_model(folder(a) / ("int8.xml" if kind == "openvino-int8" else "f32.xml"))
    hint = "f32" if kind == "openvino-f32" else "bf16"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": os.cpu_count(), "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda t=500: request.infer([v.numpy() for v in inputs(a, t)])[0]


def torch_call(a, kind: str):
    import torch

    torch.set_num_threads(os.cpu_count())
    dtype = torch.bfloat16 if kind == "torch-bf16" else torch.float32
    model = network(a).eval().to(dtype)

    @torch.inference_mode()
    def call(t=500):
        x, t, y = inputs(a, t)
        return model(x.to(dtype), t, y).float().numpy()

    return call


def torch_step(a, kind: str):
    """Forward and back with gradients of biases, gammas, norms and class table alone."""
    import resource

    import torch

    torch.set_num_threads(os.cpu_count())
    dtype = torch.bfloat16 if kind == "torch-bf16" else torch.float32
    model = network(a, gammas=True).to(dtype)
    for key, value in model.named_parameters():
        value.requires_grad = "bias" in key or "gamma" in key or "norm" in key or "classes" in key
    x, t, y = inputs(a)

    def call():
        model.zero_grad(set_to_none=True)
        model(x.to(dtype), t, y).float().square().sum().backward()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    return call


def worker(a):
    """One call per line of standard input; answers with its seconds."""
    make = torch_step if a.step else openvino_call if a.kind.startswith("openvino") else torch_call
    call = make(a, a.kind)
    call()
    for _ in sys.stdin:
        start = time.perf_counter()
        answer = call()
        print(json.dumps({"seconds": time.perf_counter() - start, "bytes": answer if a.step else None}), flush=True)


class Contender:
    """A process that makes one call per line."""

    def __init__(self, a, kind: str, step: bool):
        self.kind, self.seconds, self.bytes = kind, [], None
        common = ["--model", a.model, "--rows", str(a.rows), "--pixels", str(a.pixels)]
        if kind.startswith("ours"):
            precision = kind.removeprefix("ours-")
            verb = ["train", "--batch", str(a.rows)] if step else ["forward", "--rows", str(a.rows)]
            command = [a.ours, "bench", *verb, "--model", a.model, "--pixels", str(a.pixels), "--precision", precision, "--turns"]
        else:
            command = [sys.executable, __file__, "worker", *common, "--cache", a.cache, "--kind", kind] + (["--step"] if step else [])
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def turn(self, counts: bool):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.bytes = answer.get("bytes") or self.bytes
        if counts:
            self.seconds.append(answer["seconds"])

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def in_turns(a, kinds: list[str], step: bool):
    contenders = [Contender(a, kind, step) for kind in kinds]
    for turn in range(a.runs + 1):
        for contender in contenders:
            contender.turn(counts=turn > 0)
    for contender in contenders:
        contender.end()
    medians = {c.kind: statistics.median(c.seconds) for c in contenders}
    least = {c.kind: min(c.seconds) for c in contenders}
    print(f"{a.model} at {a.pixels} px, {a.rows} rows, {'gradient step' if step else 'network call'}, {a.runs} rounds")
    for c in contenders:
        peers = [k for k in medians if not k.startswith("ours") and c.kind.startswith("ours")]
        # By medians, and by the least times, where what else the machine does weighs least.
        ratios = "".join(f"  {medians[c.kind] / medians[k]:.2f} ({min(c.seconds) / least[k]:.2f}) of {k}" for k in peers)
        memory = f"  {c.bytes / 1e6:.0f} MB" if c.bytes else ""
        print(f"  {c.kind:<18} median {medians[c.kind]:.3f} s, least {min(c.seconds):.3f} s{memory}{ratios}")


def error(a):
    """Root mean square of the difference over that of PyTorch's f32 output, as `adapterctl bench forward --error` has it."""
    exact = torch_call(a, "torch-f32")
    for kind in ["torch-bf16", "openvino-bf16", "openvino-int8"]:
        call = torch_call(a, kind) if kind.startswith("torch") else openvino_call(a, kind)
        for t in [20, 500, 999]:
            b = exact(t)
            print(f"  {kind:<14} t = {t:<4} {float((((call(t) - b) ** 2).sum() / (b**2).sum()) ** 0.5):.2e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["prepare", "forward", "train", "error", "worker"])
    parser.add_argument("--model", default="DiT-XL/2")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", help="kinds separated by commas, as ours-bf16,torch-bf16")
    parser.add_argument("--cache", default=str(ROOT / ".build/peers"))
    parser.add_argument("--ours", default=str(OURS), help="the adapterctl to time")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.verb == "forward":
        usual = ["ours-f32", "ours-bf16", "ours-int8", "ours-int8-careful", *PEERS]
        in_turns(a, a.only.split(",") if a.only else usual, step=False)
    elif a.verb == "train":
        usual = ["ours-f32", "ours-bf16", "torch-f32", "torch-bf16"]
        in_turns(a, a.only.split(",") if a.only else usual, step=True)
    else:
        {"prepare": prepare, "error": error, "worker": worker}[a.verb](a)


if __name__ == "__main__":
    main()
