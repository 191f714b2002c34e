"""A small request beside large ones: how long it takes alone, beside one neighbour, beside fifty, and beside clients that compose.

Usage: python3 tools/bench/neighbour.py [--requests 40] [--steps 40]      (build first: swift build -c release)
The neighbours' requests are the largest that --max-cost lets in (n 16, 1,000 steps); the small one makes one image. The last column is
its p99 over the p99 alone, which is at most ten. /healthz is asked all the while, and its slowest answer printed.
"""

import argparse
import threading
import time

from adapterd import DOMAINS, Adapterd

LARGE = {"class": "class:0", "n": 16, "steps": 1000}


def share(values: list[float], of: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, int(of * len(values)))]


def small(server: Adapterd, requests: int, steps: int) -> list[float]:
    """One request after the other over one connection, each of another seed."""
    client, seconds = server.client(), []
    for number in range(requests):
        body = {"model": DOMAINS[number % len(DOMAINS)], "class": "class:0", "seed": number, "steps": steps, "user": "small"}
        start = time.monotonic()
        client.generate(body)
        seconds.append(time.monotonic() - start)
    return seconds


class Health:
    """Asks /healthz until the block is left, and keeps the slowest answer."""

    def __init__(self, server: Adapterd):
        self.server, self.slowest, self.stop = server, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        client = self.server.client()
        while not self.stop.wait(0.01):
            start = time.monotonic()
            if client.request("GET", "/healthz").status != 200:
                raise SystemExit("/healthz was not answered with 200")
            self.slowest = max(self.slowest, time.monotonic() - start)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def large(server: Adapterd, count: int, user) -> list:
    """Neighbours that have sent their request and wait for its answer."""
    clients, watcher = [], server.client()
    for number in range(count):
        body = LARGE | {"model": DOMAINS[number % len(DOMAINS)], "seed": number} | user(number)
        client = server.client()
        client.send("POST", "/v1/images/generations", body)
        clients.append(client)
    for _ in range(6000):
        if watcher.ready()["active_images"] > 0:
            return clients
        time.sleep(0.01)
    raise SystemExit("no neighbour has begun")


def composing(server: Adapterd, stop: threading.Event):
    """A client that asks for the largest merge that the server takes, another one each time."""
    client, number = server.client(), 0
    limit = client.capabilities()["limits"]["merge_terms"]
    while not stop.is_set():
        terms = ",".join(f"{1 + (number * limit + k) % 997}*{DOMAINS[k % len(DOMAINS)]}" for k in range(limit))
        body = {"model": f"ties({terms};0.5)", "class": "class:0", "steps": 1, "user": f"composer {threading.get_ident()}"}
        client.request("POST", "/v1/images/generations", body)
        number += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    print("| beside | p50 s | p99 s | slowest /healthz ms | set aside | times alone (p99) |\n|---|---|---|---|---|---|")
    reference = None

    def row(name: str, server: Adapterd):
        nonlocal reference
        before = server.client().metric("difffit_set_aside_total")
        with Health(server) as health:
            seconds = small(server, options.requests, options.steps)
        reference = reference or share(seconds, 0.99)
        print(
            f"| {name} | {share(seconds, 0.5):.3f} | {share(seconds, 0.99):.3f} | {health.slowest * 1e3:.0f} | "
            f"{server.client().metric('difffit_set_aside_total') - before:.0f} | {share(seconds, 0.99) / reference:.1f} |",
            flush=True,
        )

    beside = [
        ("one neighbour", 1, lambda _: {"user": "large"}),
        ("fifty neighbours", 50, lambda number: {"user": f"large {number}"}),
        ("fifty connections of nobody", 50, lambda _: {}),
    ]
    with Adapterd("--queue", "1024", "--client-share", "1024") as server:
        watcher = server.client()
        small(server, 5, options.steps)
        row("nobody", server)
        for name, count, user in beside:
            clients = large(server, count, user)
            row(name, server)
            for client in clients:
                client.close()
            for _ in range(6000):
                if watcher.ready()["active_images"] == 0:
                    break
                time.sleep(0.01)
        stop = threading.Event()
        composers = [threading.Thread(target=composing, args=(server, stop)) for _ in range(2)]
        for composer in composers:
            composer.start()
        row("two that compose", server)
        stop.set()
        for composer in composers:
            composer.join()


main()
