"""Starts an adapterd on a socket of its own. Python's standard library only."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools/client"))

from difffit import Client, wait_until_ready

DOMAINS = ["art", "birds", "cars", "flowers", "food", "fungi", "objects", "scenes"]


class Adapterd:
    """A server over a fresh store of the shipped files, ended and deleted on leaving the block."""

    def __init__(self, *flags: str):
        self.flags = flags
        # What the program is started through, such as a network namespace.
        self.prefix = []
        self.binaries = Path(subprocess.check_output(["swift", "build", "-c", "release", "--show-bin-path"], cwd=ROOT, text=True).strip())
        # OpenBLAS chooses its own kernels: what a shell may have forced would be measured instead.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "DIFFFIT"))}

    def __enter__(self):
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
        return subprocess.check_output([self.binaries / "adapterctl", *arguments, "--store", self.store], env=self.environment, text=True)

    def start(self):
        self.process = subprocess.Popen(
            [*self.prefix, self.binaries / "adapterd", "--store", self.store, "--socket", self.socket, "--log-level", "warning", *self.flags],
            env=self.environment,
        )
        wait_until_ready(self.client(), self.process)

    def client(self) -> Client:
        """A connection of its own for each caller."""
        return Client(self.socket)

    def terminate(self) -> float:
        """Seconds from SIGTERM to the end."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=120)
        return time.monotonic() - start
