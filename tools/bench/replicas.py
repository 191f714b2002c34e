"""Three replicas as three hosts behind HAProxy: what they give together, and what clients notice when one dies, drains or vanishes.

The hosts are network namespaces of the script's own, each with an adapterd on one thread and tools/service/host.cfg in front of it;
clients speak TLS to tools/service/haproxy.cfg. Where namespaces are not allowed, the three share the machine and the proxy reaches
them over their Unix sockets. Nothing leaves 127.0.0.1 and the namespaces. On one machine the hosts share its cores, so the throughput
of three is not that of three machines.

Usage: python3 tools/bench/replicas.py [--seconds 8] [--clients 48] [--steps 20]
Needs a release build (swift build -c release), HAProxy and openssl (apt-get install haproxy openssl), and for namespaces root and
iproute2. Ends with 1 and a sentence where a client saw what it should not.
"""

import argparse
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True

from adapterd import DOMAINS, ROOT, Adapterd
from difffit import Client, GenerationRequest, StatusError, UnreachableError

NAMES = ["a", "b", "c"]
TOKEN = "replicas-bench-token"
PORT = 18443
SERVICE = ROOT / "tools/service"


def sh(*command: str, **more):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)


class Replica(Adapterd):
    """One host: an adapterd over a snapshot of the source's store and, in a namespace, the door through which the proxy comes."""

    def __init__(self, name: str, source: Adapterd, isolated: bool):
        super().__init__("--replica", name, "--threads", "1")
        self.name, self.isolated = name, isolated
        self.folder = f"{source.folder}/{name}"
        os.mkdir(self.folder, 0o700)
        self.store, self.socket = f"{self.folder}/store", f"{self.folder}/run/adapterd.sock"
        source.ctl("snapshot", self.store)
        self.address = f"10.77.0.{11 + NAMES.index(name)}"
        self.door = None
        if isolated:
            self.prefix = ["ip", "netns", "exec", f"difffit-{name}"]

    def open_door(self, certificates: str):
        if self.isolated:
            environment = os.environ | {
                "PROXY_HOST_BIND": f"{self.address}:8444",
                "PROXY_CERT": f"{certificates}/node.pem",
                "PROXY_CA": f"{certificates}/ca.pem",
                "PROXY_REPLICA": f"unix@{self.socket}",
            }
            self.door = subprocess.Popen([*self.prefix, "haproxy", "-db", "-f", SERVICE / "host.cfg"], env=environment, stderr=subprocess.DEVNULL)

    def address_for_proxy(self, certificates: str) -> str:
        tls = f"ssl verify required ca-file {certificates}/ca.pem crt {certificates}/node.pem"
        return f"{self.address}:8444 {tls}" if self.isolated else f"unix@{self.socket}"

    def link(self, state: str):
        sh("ip", "link", "set", f"veth-{self.name}", state)

    def end(self):
        for process in (self.door, getattr(self, "process", None)):
            if process and process.poll() is None:
                process.kill()
                process.wait()


class Proxy:
    """tools/service/haproxy.cfg with this run's addresses."""

    def __init__(self, folder: str, replicas: list[Replica], certificates: str):
        text = (SERVICE / "haproxy.cfg").read_text()
        for replica in replicas:
            text = text.replace(f'"${{PROXY_REPLICA_{replica.name.upper()}}}"', replica.address_for_proxy(certificates))
        Path(folder, "haproxy.cfg").write_text(text)
        token = subprocess.run(["sha256sum"], input=TOKEN.encode(), capture_output=True, check=True).stdout.split()[0]
        Path(folder, "tokens").write_bytes(token + b"\n")
        self.admin = f"{folder}/proxy.sock"
        environment = os.environ | {
            "PROXY_BIND": f"127.0.0.1:{PORT}",
            "PROXY_CERT": f"{certificates}/node.pem",
            "PROXY_TOKENS": f"{folder}/tokens",
            "PROXY_ADMIN": f"unix@{self.admin}",
            "XDG_RUNTIME_DIR": folder,
        }
        self.process = subprocess.Popen(["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"], env=environment, stderr=subprocess.DEVNULL)
        self.context = ssl.create_default_context(cafile=f"{certificates}/ca.pem")

    def client(self, token: str | None = TOKEN) -> Client:
        return Client(f"https://127.0.0.1:{PORT}", token=token, timeout=600, context=self.context)

    def states(self) -> dict:
        """UP or DOWN of each replica, as the proxy sees it."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(self.admin)
            admin.sendall(b"show stat sampling 4 -1\n")
            lines = admin.makefile().read().strip("# \n").splitlines()
        rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
        return {row["svname"]: row["status"].split()[0] for row in rows if row["svname"] in NAMES}

    def wait(self, **wanted: str):
        for _ in range(600):
            try:
                if all(self.states()[name] == state for name, state in wanted.items()):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"the proxy sees {self.states()}, not {wanted}, after 30 s")


def certificates(folder: str) -> str:
    """One authority, and one certificate that every end of this run shows."""
    names = "IP:127.0.0.1," + ",".join(f"IP:10.77.0.{11 + k}" for k in range(3))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    sh("openssl", "req", "-x509", *curve, "-subj", "/CN=bench authority", "-keyout", "ca.key", "-out", "ca.pem", cwd=folder)
    sh("openssl", "req", *curve[:-2], "-subj", "/CN=bench", "-keyout", "node.key", "-out", "node.csr", cwd=folder)
    Path(folder, "names").write_text(f"subjectAltName={names}\n")
    sh(
        "openssl",
        "x509",
        "-req",
        "-in",
        "node.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "node.crt",
        cwd=folder,
    )
    Path(folder, "node.pem").write_text(Path(folder, "node.crt").read_text() + Path(folder, "node.key").read_text())
    return folder


def digest(client: Client, order: GenerationRequest) -> str:
    return client.generate(order).images[0].sha256


class Load:
    """A closed loop: each client sends its next request when the last is answered. Every image must be its twin."""

    def __init__(self, proxy: Proxy, source: Adapterd, clients: int, steps: int):
        self.proxy, self.clients, self.lock, self.notes = proxy, clients, threading.Lock(), []
        self.orders = [{"model": domain, "class": "class:0", "seed": 1, "index_offset": k, "steps": steps} for domain in DOMAINS for k in range(4)]
        client = source.client()
        self.twins = [digest(client, order) for order in self.orders]

    def ask(self, number: int):
        client, sent = self.proxy.client(), 0
        while not self.stop.is_set():
            k = (7 * number + sent) % len(self.orders)
            start, fault = time.monotonic(), None
            try:
                if digest(client, self.orders[k]) != self.twins[k]:
                    fault = f"image {k} is not its twin"
            except (StatusError, UnreachableError) as error:
                fault = repr(error)
            with self.lock:
                self.ends.append((start, time.monotonic()))
                if fault:
                    self.faults.append(fault)
            sent += 1

    def during(self, name: str, event) -> None:
        """Loads for as long as `event` takes; it may return the moment that matters."""
        self.stop, self.ends, self.faults = threading.Event(), [], []
        threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(self.clients)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            moment = event()
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()
        wall = time.monotonic() - start
        times = sorted(end - begin for begin, end in self.ends)
        print(f"| {name} | {len(times) / wall:.2f} | {times[len(times) // 2]:.2f} | {times[int(0.99 * len(times))]:.2f} | {len(self.faults)} |", flush=True)
        if moment:
            hit = [end - begin for begin, end in self.ends if begin <= moment <= end]
            around = [sum(moment + s <= end < moment + s + 1 for _, end in self.ends) for s in (-1, 0, 1)]
            self.notes.append(
                f"{name}: of {len(hit)} requests in flight then the slowest took {max(hit):.2f} s; "
                f"images in the second before, in that second and in the next: {around}"
            )
        if self.faults:
            raise SystemExit(f"{name}: {len(self.faults)} of {len(self.ends)} requests failed, the first with {self.faults[0]}")


def kill(replica: Replica, seconds: float) -> float:
    time.sleep(seconds / 2)
    replica.process.kill()
    moment = time.monotonic()
    replica.process.wait()
    time.sleep(seconds / 2)
    return moment


def drain_each(replicas: list[Replica], proxy: Proxy):
    for replica in replicas:
        replica.terminate()
        replica.start()
        proxy.wait(**{replica.name: "UP"})


def vanish(replica: Replica, proxy: Proxy, seconds: float) -> float:
    time.sleep(seconds / 4)
    replica.link("down")
    moment = time.monotonic()
    proxy.wait(**{replica.name: "DOWN"})
    time.sleep(15)
    replica.link("up")
    proxy.wait(**{replica.name: "UP"})
    return moment


def jobs_find_their_replica(proxy: Proxy):
    client = proxy.client()
    jobs = [client.start_job({"model": "flowers", "class": "rose", "seed": k, "steps": 10})["id"] for k in range(12)]
    for job in jobs:
        assert len(client.finished(job).images) == 1
        assert client.job(job)["status"] == "completed"
    assert client.request("GET", "/v1/jobs/job-zz-1").status == 404
    print(f"12 jobs were taken by {sorted({job.split('-')[1] for job in jobs})}, and each was found again where it is")


def events_are_not_held_back(proxy: Proxy):
    start, first = time.monotonic(), None
    for event in proxy.client().stream({"model": "flowers", "class": "rose", "steps": 300}):
        if event.name == "image_generation.progress":
            first = first or time.monotonic() - start
    whole = time.monotonic() - start
    assert first is not None and first < whole / 2, (first, whole)
    print(f"of a stream of {whole:.2f} s through the proxies the first progress came after {first:.2f} s")


def leaving_frees_the_slot(proxy: Proxy, replicas: list[Replica]):
    client, watchers = proxy.client(), [replica.client() for replica in replicas]
    client.send("POST", "/v1/images/generations", {"model": "flowers", "class": "rose", "n": 8, "steps": 900})
    for wanted in (True, False):
        for _ in range(20_000):
            if any(watcher.ready()["active_images"] > 0 for watcher in watchers) == wanted:
                break
        else:
            raise SystemExit("a client that left keeps its slot")
        if wanted:
            client.close()
            start = time.monotonic()
    print(f"a slot is free {(time.monotonic() - start) * 1e3:.0f} ms after its client leaves the proxy")


def strangers_stay_out(proxy: Proxy, replicas: list[Replica], certificates: str):
    for path in ("/v1/models", "/metrics", "/metrics/a", "/v1/jobs/job-a-1"):
        assert proxy.client("wrong").request("GET", path).status == 401, path
    for path in ("/", "/healthz", "/readyz", "/metrics", "/metrics/a"):
        assert proxy.client().request("GET", path).status == 200, path
    if replicas[0].isolated:
        context = ssl.create_default_context(cafile=f"{certificates}/ca.pem")
        try:
            with socket.create_connection((replicas[0].address, 8444), 5) as raw, context.wrap_socket(raw, server_hostname=replicas[0].address) as tls:
                tls.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
                assert not tls.recv(1), "a host's door answered a stranger"
        except (ssl.SSLError, ConnectionError):
            pass
    print("without the token, and at a host's door without a certificate, nothing is answered")


def sync_reaches_all(source: Adapterd, replicas: list[Replica], proxy: Proxy):
    shared = f"{source.folder}/shared"
    os.mkdir(shared)
    source.ctl("export", "flowers", "-o", f"{shared}/guest.safetensors")
    start = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda replica: replica.ctl("sync", shared), replicas))
    taken = time.monotonic() - start
    order = {"model": "guest", "class": "rose", "seed": 3, "steps": 5}
    images = {digest(replica.client(), order) for replica in replicas}
    assert len(images) == 1
    assert {digest(proxy.client(), order) for _ in range(6)} == images
    print(f"sync brings a new file to all three in {taken * 1e3:.0f} ms; each then gives the same image of it")


def measure(options, isolated: bool):
    print(f"three hosts as {'network namespaces' if isolated else 'Unix sockets'} on {os.cpu_count()} cores that they share, one thread each")
    ends = []
    with Adapterd() as source:
        try:
            folder = certificates(source.folder)
            replicas = [Replica(name, source, isolated) for name in NAMES]
            ends += replicas
            for replica in replicas:
                replica.open_door(folder)
            proxy = Proxy(source.folder, replicas, folder)
            load = Load(proxy, source, options.clients, options.steps)
            replicas[0].start()
            proxy.wait(a="UP", b="DOWN", c="DOWN")
            print("| load | images/s | p50 s | p99 s | failures |\n|---|---|---|---|---|")
            load.during("one replica", lambda: time.sleep(options.seconds))
            for replica in replicas[1:]:
                replica.start()
            proxy.wait(a="UP", b="UP", c="UP")
            load.during("three replicas", lambda: time.sleep(options.seconds))
            load.during("one of three killed -9", lambda: kill(replicas[1], options.seconds))
            replicas[1].start()
            proxy.wait(b="UP")
            load.during("each drained and started again in turn", lambda: drain_each(replicas, proxy))
            if isolated:
                load.during("one host's cable pulled", lambda: vanish(replicas[2], proxy, options.seconds))
            print("\n".join(["", *load.notes]))
            jobs_find_their_replica(proxy)
            events_are_not_held_back(proxy)
            leaving_frees_the_slot(proxy, replicas)
            strangers_stay_out(proxy, replicas, folder)
            sync_reaches_all(source, replicas, proxy)
            for replica in replicas:
                replica.ctl("verify", "--golden")
            print("the three stores are clean")
        finally:
            for end in ends:
                end.end()
            if "proxy" in locals():
                proxy.process.kill()
                proxy.process.wait()


def make_namespaces():
    """A bridge of our own with three hosts on it; all of it goes with the script."""
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "difffit", "type", "bridge")
    sh("ip", "addr", "add", "10.77.0.1/24", "dev", "difffit")
    sh("ip", "link", "set", "difffit", "up")
    for k, name in enumerate(NAMES):
        inside = ["ip", "-n", f"difffit-{name}"]
        sh("ip", "netns", "add", f"difffit-{name}")
        sh("ip", "link", "add", f"veth-{name}", "type", "veth", "peer", "name", "eth0", "netns", f"difffit-{name}")
        sh("ip", "link", "set", f"veth-{name}", "master", "difffit", "up")
        sh(*inside, "addr", "add", f"10.77.0.{11 + k}/24", "dev", "eth0")
        sh(*inside, "link", "set", "eth0", "up")
        sh(*inside, "link", "set", "lo", "up")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-namespaces", action="store_true", help="three sockets on this machine in place of three hosts")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for program in ("haproxy", "openssl"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is missing: apt-get install {program}")
    if options.inside:
        make_namespaces()
        measure(options, True)
        return
    # A network and a mount namespace around all of it, with a /run of its own, so that nothing is left behind however it ends.
    unshare = ["unshare", "--net", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"]
    probe = [*unshare, "ip", "netns", "add", "difffit-probe"]
    if not options.no_namespaces and shutil.which("ip") and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        os.execvp("unshare", [*unshare, sys.executable, __file__, *sys.argv[1:], "--inside"])
    measure(options, False)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
main()
