"""The server: a running one by its socket, or one of our own for as long as the run takes."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote


class Unreachable(Exception):
    """No server to speak to."""


class Refused(Exception):
    """The server answered a request with an error."""

    def __init__(self, status: int, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class Connection(http.client.HTTPConnection):
    """One kept connection over a Unix socket."""

    def __init__(self, path: str):
        super().__init__("localhost", timeout=3600)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        try:
            self.request(method, path, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
            response = self.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"no server answers at '{self.path}': {error}") from None
        try:
            reply = json.loads(text)
        except ValueError:
            raise Unreachable(f"what answers at '{self.path}' is no adapterd") from None
        if response.status >= 400:
            wait = response.getheader("retry-after")
            raise Refused(response.status, reply["error"]["message"], float(wait) if wait else None)
        return reply


class Server:
    def __init__(self, path: str):
        self.path = path

    def connection(self) -> Connection:
        return Connection(self.path)

    def recipe(self, text: str) -> dict:
        """A name or a recipe as the server understands it now, with full digests."""
        return self.connection().call("GET", f"/v1/recipes/{quote(text, safe='', errors='surrogatepass')}")

    def capabilities(self) -> dict:
        return self.connection().call("GET", "/v1/capabilities")


@contextlib.contextmanager
def connected(path: str | None, store: str | None):
    """The server at `path`; without one, an adapterd of our own that ends with the block."""
    if path:
        server = Server(path)
        server.connection().call("GET", "/readyz")
        yield server
        return
    with tempfile.TemporaryDirectory(prefix="difffit-") as folder:
        socket_path = f"{folder}/adapterd.sock"
        # In a session of its own: Ctrl-C is for this program, which lets running images finish.
        command = [adapterd(), "--socket", socket_path, "--log-level", "error", *(["--store", store] if store else [])]
        try:
            process = subprocess.Popen(command, start_new_session=True)
        except FileNotFoundError:
            raise Unreachable(f"there is no program '{command[0]}': tools/install builds and installs it") from None
        try:
            server = Server(socket_path)
            wait_until_ready(server, process)
            yield server
        finally:
            process.terminate()
            process.wait()


def adapterd() -> str:
    """DIFFFIT_ADAPTERD, else the release build of this checkout, else the search path."""
    built = Path(__file__).resolve().parents[2] / ".build/release/adapterd"
    return os.environ.get("DIFFFIT_ADAPTERD") or (str(built) if built.exists() else "adapterd")


def wait_until_ready(server: Server, process: subprocess.Popen):
    # A large base takes long to load: it is waited for as long as the server lives.
    while True:
        if process.poll() is not None:
            raise Unreachable(f"adapterd ended with {process.returncode}; what it said stands above")
        try:
            server.connection().call("GET", "/readyz")
            return
        except (Unreachable, Refused):
            time.sleep(0.05)
