"""Files as a user names them: read as text whatever their first bytes, written whole or not at all."""

import os
import threading
from pathlib import Path


def said(error: OSError) -> str:
    """A system's error as a sentence."""
    return f"'{error.filename}' cannot be used: {error.strerror}" if error.filename and error.strerror else error.strerror or str(error)


def replace(path: Path, data: bytes):
    """Written whole or not at all; behind a link its target, which keeps its permissions."""
    with replacing(path) as file:
        file.write(data)


class replacing:
    """A file that takes the place of `path` once it is whole."""

    def __init__(self, path: Path):
        self.path = Path(os.path.realpath(path))
        self.temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{threading.get_ident()}")

    def __enter__(self):
        if self.path.exists() and not self.path.is_file():
            raise OSError(0, "it is no file, and is not replaced", str(self.path))
        self.file = open(self.temporary, "wb")
        if self.path.exists():
            os.fchmod(self.file.fileno(), self.path.stat().st_mode & 0o7777)
        return self.file

    def __exit__(self, kind, *_):
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError:
            if kind is None:
                os.unlink(self.temporary)
                raise
        finally:
            self.file.close()
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            os.unlink(self.temporary)
