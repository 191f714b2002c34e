"""A server at twice its capacity while names come and go and clients misbehave; then killed under load and started again.

Every image must be byte-equal to its twin made alone, refusals must be 429 and nothing else, memory must not grow, and the
store must verify clean. Ends with 1 and a sentence where that does not hold.

Usage: python3 tools/bench/soak.py [--seconds 600]      (build first: swift build -c release)
"""

import argparse
import json
import random
import signal
import threading
import time
from collections import Counter

from adapterd import DOMAINS, ROOT, Adapterd
from difffit import StatusError

STEPS = 6
BAD_BODIES = [
    {"model": "flowrs", "class": "rose"},
    {"model": "flowers", "class": "ros"},
    {"model": "flowers"},
    {"modle": "flowers"},
    {"model": "flowers", "class": "rose", "steps": -1},
    {"model": "../etc", "class": "rose"},
]


def body(domain: str, index: int) -> dict:
    return {"model": domain, "class": f"class:{index % 7}", "seed": index % 5, "index_offset": index % 3, "steps": STEPS}


def twins(server: Adapterd) -> dict:
    """The sha256 of every image that will be asked for, each made alone."""
    client = server.client()
    return {(domain, index): client.generate(body(domain, index)).images[0].sha256 for domain in DOMAINS for index in range(105)}


def resident_kilobytes(server: Adapterd) -> int:
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Soak:
    def __init__(self, server: Adapterd, known: dict, seconds: float):
        self.server, self.known, self.stop = server, known, time.monotonic() + seconds
        self.counts, self.faults, self.lock = Counter(), [], threading.Lock()

    def note(self, what: str, fault: str | None = None):
        with self.lock:
            self.counts[what] += 1
            if fault:
                self.faults.append(fault)

    def client(self, number: int):
        dice, client = random.Random(number), self.server.client()
        while time.monotonic() < self.stop:
            domain, index, kind = dice.choice(DOMAINS), dice.randrange(105), dice.random()
            if kind < 0.05:
                status = client.request("POST", "/v1/images/generations", dice.choice(BAD_BODIES)).status
                self.note("invalid", None if status in (400, 404) else f"an invalid body was answered with {status}")
            elif kind < 0.1:
                client.send("POST", "/v1/images/generations", body(domain, index) | {"steps": 200})
                client.close()
                self.note("disconnected")
            else:
                try:
                    same = client.generate(body(domain, index)).images[0].sha256 == self.known[domain, index]
                    self.note("image", None if same else f"{domain} {index} is not its twin")
                except StatusError as error:
                    limited = error.status == 429 and error.retry_after is not None
                    self.note(str(error.status), None if limited else f"a valid request was answered with {error.status}: {error}")

    def churn(self):
        """Names come, move and go beside the ones in use."""
        turn = 0
        while time.monotonic() < self.stop:
            name = f"guest-{turn % 4}"
            self.server.ctl("add", name, f"{ROOT}/adapters/{DOMAINS[turn % 8]}.safetensors", "--replace")
            if turn % 3 == 2:
                self.server.ctl("remove", name, "--yes")
                self.server.ctl("prune")
            self.note("change")
            turn += 1

    def run(self, clients: int):
        threads = [threading.Thread(target=self.client, args=(number,)) for number in range(clients)] + [threading.Thread(target=self.churn)]
        for thread in threads:
            thread.start()
        resident = []
        while time.monotonic() < self.stop:
            time.sleep(max(0.1, min(5, self.stop - time.monotonic())))
            resident.append(resident_kilobytes(self.server))
        for thread in threads:
            thread.join()
        return resident


def kill_and_restart(server: Adapterd):
    """Death under load leaves no socket trouble and a clean store."""
    clients = [server.client() for _ in range(8)]
    for index, client in enumerate(clients):
        client.send("POST", "/v1/images/generations", body("flowers", index) | {"steps": 500})
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.start()
    server.ctl("verify", "--golden")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=96)
    options = parser.parse_args()
    # A line of 32 images and 16 in the batch: 96 clients offer twice that.
    with Adapterd("--queue", "32", "--client-share", "32") as server:
        soak = Soak(server, twins(server), options.seconds)
        resident = soak.run(options.clients)
        server.ctl("verify", "--golden")
        kill_and_restart(server)
    # The first fifth fills caches.
    settled = resident[len(resident) // 5 :]
    growth = settled[-1] - settled[0]
    print(
        json.dumps(
            {
                "seconds": options.seconds,
                "clients": options.clients,
                **soak.counts,
                "resident_kilobytes": {"first": settled[0], "last": settled[-1], "largest": max(resident)},
            }
        )
    )
    if growth > 0.05 * settled[0]:
        soak.faults.append(f"memory grew by {growth} kB")
    if soak.faults:
        raise SystemExit(f"{len(soak.faults)} faults, the first: {soak.faults[0]}")
    print("every image was its twin, every refusal a 429, the store is clean")


main()
