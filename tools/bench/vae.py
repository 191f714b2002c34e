"""Time and peak memory of the SD autoencoder, or with --tiny of TAESD: adapterctl beside diffusers, both with random weights of one shape.

Usage: python3 tools/bench/vae.py [--adapterctl .build/release/adapterctl] [--pixels 256 512] [--precisions bf16 f32] [--runs 5] [--encode] [--tiny]

Processor time (one run, all threads) is hardly changed by what else the machine does; the time that passes is. Each measurement is
a process of its own, on as many threads as this process may use, and they take turns. Needs torch and diffusers.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

SHAPE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 256,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}


def torch_side(pixels, precision, runs, encode, tiny):
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    vae = (AutoencoderTiny() if tiny else AutoencoderKL(**SHAPE)).eval().to(dtype)
    x = torch.randn(*((1, 3, pixels, pixels) if encode else (1, 4, pixels // 8, pixels // 8)), dtype=dtype)
    results = []
    with torch.inference_mode():
        # The faster of torch's two layouts counts.
        for layout in [torch.contiguous_format, torch.channels_last]:
            vae, x = vae.to(memory_format=layout), x.contiguous(memory_format=layout)
            work, seconds = vae.encode if encode else vae.decode, []
            work(x)
            before = time.process_time()
            for _ in range(runs):
                start = time.perf_counter()
                work(x)
                seconds.append(time.perf_counter() - start)
            results.append(((time.process_time() - before) / runs, sorted(seconds)[len(seconds) // 2]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    processor, seconds = min(results)
    print(json.dumps({"processor": processor, "seconds": seconds, "peak": peak}))


def swift_side(program, pixels, precision, runs, encode, tiny):
    command = [program, "bench", "decode", "--pixels", str(pixels), "--precision", precision, "--runs", str(runs), "--json"]
    data = json.loads(subprocess.check_output(command + ["--encode"] * encode + ["--decoder", "tiny"] * tiny))["data"]
    return {"processor": data["processor_seconds"], "seconds": data["timing"]["median_seconds"], "peak": data["peak_bytes"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapterctl", default=".build/release/adapterctl")
    parser.add_argument("--pixels", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--precisions", nargs="+", default=["bf16", "f32"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--torch-side", nargs=2, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.torch_side:
        torch_side(int(a.torch_side[0]), a.torch_side[1], a.runs, a.encode, a.tiny)
        return
    # Variables that pin a library's kernels for another purpose would touch one side only.
    for name in ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]:
        os.environ.pop(name, None)
    print(f"{'':22}{'processor time':>24}{'ratio':>7}{'time passed':>24}{'ratio':>7}{'peak':>18}")
    for pixels in a.pixels:
        for precision in a.precisions:
            ours = swift_side(a.adapterctl, pixels, precision, a.runs, a.encode, a.tiny)
            command = [sys.executable, __file__, "--torch-side", str(pixels), precision, "--runs", str(a.runs)]
            command += ["--encode"] * a.encode + ["--tiny"] * a.tiny
            theirs = json.loads(subprocess.check_output(command))
            line = f"{'encode' if a.encode else 'decode'} {pixels} px {precision}".ljust(22)
            for key in ["processor", "seconds"]:
                line += f"{ours[key]:11.3f}{theirs[key]:11.3f} s{ours[key] / theirs[key]:7.2f}"
            print(line + f"{ours['peak'] / 1e6:9.0f}{theirs['peak'] / 1e6:7.0f} MB", flush=True)


main()
