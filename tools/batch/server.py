"""The server: a running one by its socket, or one of our own for as long as the run takes."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from difffit import Client, UnreachableError, wait_until_ready


@contextlib.contextmanager
def connected(path: str | None, store: str | None) -> Iterator[Client]:
    """The server at `path`; without one, an adapterd of our own that ends with the block."""
    if path:
        client = Client(path)
        client.ready()
        yield client
        return
    with tempfile.TemporaryDirectory(prefix="difffit-") as folder:
        socket_path = f"{folder}/adapterd.sock"
        # In a session of its own: Ctrl-C is for this program, which lets running images finish.
        command = [adapterd(), "--socket", socket_path, "--log-level", "error", *(["--store", store] if store else [])]
        try:
            process = subprocess.Popen(command, start_new_session=True)
        except FileNotFoundError:
            raise UnreachableError(f"there is no program '{command[0]}': tools/install builds and installs it") from None
        try:
            client = Client(socket_path)
            wait_until_ready(client, process)
            yield client
        finally:
            process.terminate()
            process.wait()


def adapterd() -> str:
    """DIFFFIT_ADAPTERD, else the release build of this checkout, else the search path."""
    built = Path(__file__).resolve().parents[2] / ".build/release/adapterd"
    return os.environ.get("DIFFFIT_ADAPTERD") or (str(built) if built.exists() else "adapterd")
