"""Starts an adapterd on a socket of its own and speaks HTTP to it. Python's standard library only."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = ["art", "birds", "cars", "flowers", "food", "fungi", "objects", "scenes"]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float = 600):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def call(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict, bytes]:
        """Status, headers and body; the connection is kept."""
        self.request(method, path, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
        response = self.getresponse()
        return response.status, dict(response.getheaders()), response.read()


class Adapterd:
    """A server over a fresh store of the shipped files, ended and deleted on leaving the block."""

    def __init__(self, *flags: str):
        self.flags = flags
        # What the program is started through, such as a network namespace.
        self.prefix = []
        self.binaries = Path(
            subprocess.check_output(["swift", "build", "-c", "release", "--show-bin-path"], cwd=ROOT, text=True).strip())
        # OpenBLAS chooses its own kernels: what a shell may have forced would be measured instead.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "DIFFFIT"))}

    def __enter__(self) -> "Adapterd":
        self.folder = tempfile.mkdtemp(prefix="difffit-")
        self.store, self.socket = f"{self.folder}/store", f"{self.folder}/run/adapterd.sock"
        self.ctl("init")
        self.ctl("base", "import", f"{ROOT}/adapters/base.safetensors")
        for domain in DOMAINS:
            self.ctl("add", domain, f"{ROOT}/adapters/{domain}.safetensors")
        self.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ctl(self, *arguments: str) -> str:
        return subprocess.check_output(
            [self.binaries / "adapterctl", *arguments, "--store", self.store], env=self.environment, text=True)

    def start(self):
        self.process = subprocess.Popen(
            [*self.prefix, self.binaries / "adapterd", "--store", self.store, "--socket", self.socket, "--log-level", "warning", *self.flags],
            env=self.environment)
        for _ in range(600):
            try:
                if self.connection().call("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise SystemExit(f"adapterd ended with {self.process.returncode}")
            time.sleep(0.05)
        raise SystemExit("adapterd was not ready within 30 s")

    def connection(self) -> UnixConnection:
        return UnixConnection(self.socket)

    def metric(self, name: str) -> float:
        text = self.connection().call("GET", "/metrics")[2].decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)

    def terminate(self) -> float:
        """Seconds from SIGTERM to the end."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=120)
        return time.monotonic() - start
