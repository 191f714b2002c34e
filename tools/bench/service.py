"""Throughput and latency of adapterd: clients x domain mixes, beside a server that never mixes domains and beside no server.

Usage: python3 tools/bench/service.py [--seconds 10] [--rounds 5] [--steps 40]      (build first: swift build -c release)
"""

import argparse
import json
import random
import statistics
import threading
import time

from adapterd import DOMAINS, ROOT, Adapterd


def mixes(generator: random.Random) -> dict:
    skewed = ["flowers"] * 14 + DOMAINS
    return {
        "one domain": lambda: "flowers",
        "eight, uniform": lambda: generator.choice(DOMAINS),
        "eight, skewed": lambda: generator.choice(skewed),
    }


def load(server: Adapterd, clients: int, seconds: float, steps: int, choose) -> dict:
    """Closed loop: each client sends its next request when the last is answered."""
    latencies, failures, lock, stop = [], [], threading.Lock(), time.monotonic() + seconds

    def ask(number: int):
        client, sent = server.client(), 0
        while time.monotonic() < stop:
            body = {"model": choose(), "class": "class:0", "seed": number, "index_offset": sent, "steps": steps, "user": f"c{number}"}
            start = time.monotonic()
            status = client.request("POST", "/v1/images/generations", body).status
            with lock:
                (latencies if status == 200 else failures).append(time.monotonic() - start)
            sent += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - start
    latencies.sort()

    def at(share: float) -> float:
        return latencies[min(len(latencies) - 1, int(share * len(latencies)))]

    return {
        "clients": clients,
        "images": len(latencies),
        "failures": len(failures),
        "per_second": len(latencies) / wall,
        "p50": at(0.5),
        "p99": at(0.99),
    }


def paired(server: Adapterd, unmixed: Adapterd, rounds: int, seconds: float, steps: int, generator: random.Random) -> dict:
    """Ratios of neighbouring runs, the median over the rounds: the machine's speed drifts, a ratio within a round does not."""
    choose, ratios = mixes(generator), {"mixed": [], "never mixed": [], "service": [], "engine mixed": []}
    for _ in range(rounds):
        single = load(server, 32, seconds, steps, choose["one domain"])["per_second"]
        mixed = load(server, 32, seconds, steps, choose["eight, uniform"])["per_second"]
        separate = load(unmixed, 32, seconds, steps, choose["eight, uniform"])["per_second"]
        alone = json.loads(server.ctl("bench", "sample", "--n", "32", "--runs", "1", "--steps", str(steps), "--json"))["data"]
        ratios["mixed"].append(mixed / single)
        ratios["never mixed"].append(mixed / separate)
        ratios["service"].append(1 / alone["single_seconds_per_image"] / single)
        ratios["engine mixed"].append(alone["throughput_ratio"])
    return {name: statistics.median(values) for name, values in ratios.items()}


def row(name: str, result: dict):
    print(f"| {name} | {result['clients']} | {result['per_second']:.2f} | {result['p50']:.2f} | {result['p99']:.2f} | {result['failures']} |", flush=True)


def freed_after_disconnect(server: Adapterd) -> float:
    leaver, watcher = server.client(), server.client()
    leaver.send("POST", "/v1/images/generations", {"model": "flowers", "class": "rose", "n": 8, "steps": 900})
    for _ in range(2000):
        if watcher.ready()["active_images"] > 0:
            break
    leaver.close()
    start = time.monotonic()
    for _ in range(5000):
        if watcher.ready()["active_images"] == 0:
            return time.monotonic() - start
    raise SystemExit("the slot was not freed")


def first_image_after_add(server: Adapterd, steps: int) -> tuple[float, float]:
    """Seconds that add takes, and from its end to the first image of the new name."""
    start = time.monotonic()
    server.ctl("add", "fresh", f"{ROOT}/adapters/flowers.safetensors")
    added = time.monotonic()
    server.client().generate({"model": "fresh", "class": "rose", "steps": steps})
    return added - start, time.monotonic() - added


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    generator = random.Random(1)
    print("| load | clients | images/s | p50 s | p99 s | failures |\n|---|---|---|---|---|---|")
    with Adapterd() as server:
        load(server, 8, 2, options.steps, lambda: "flowers")
        for clients in (1, 8, 32):
            for name, choose in mixes(generator).items():
                row(name, load(server, clients, options.seconds, options.steps, choose))
        with Adapterd("--domains", "1") as unmixed:
            for clients in (8, 32):
                row("eight, uniform, never mixed in a batch", load(unmixed, clients, options.seconds, options.steps, mixes(generator)["eight, uniform"]))
            ratio = paired(server, unmixed, options.rounds, options.seconds, options.steps, generator)
        print(
            f"at 32 clients, medians of {options.rounds} rounds: eight domains mixed over one domain {ratio['mixed']:.3f}; mixed over never mixed "
            f"{ratio['never mixed']:.3f}"
        )
        print(
            f"the engine alone is {100 * (ratio['service'] - 1):.1f} % faster than the service at 32 clients; alone it mixes at "
            f"{ratio['engine mixed']:.3f} of one domain's throughput"
        )
        print(f"a slot is free {freed_after_disconnect(server) * 1e3:.0f} ms after its client disconnects")
        add, first = first_image_after_add(server, options.steps)
        print(f"adapterctl add takes {add * 1e3:.0f} ms; {first * 1e3:.0f} ms later the new adapter's first image of {options.steps} steps is served")
        print(f"idle, {server.terminate() * 1e3:.0f} ms from SIGTERM to the end")


main()
