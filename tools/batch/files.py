"""Files as a user names them: read as text whatever their first bytes, written whole or not at all."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def said(error: OSError) -> str:
    """A system's error as a sentence."""
    return f"'{error.filename}' cannot be used: {error.strerror}" if error.filename and error.strerror else error.strerror or str(error)


def replace(path: Path, data: bytes):
    """Written whole or not at all; behind a link its target, which keeps its permissions."""
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is whole."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(0, "it is no file, and is not replaced", str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(temporary, "wb") as file:
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
