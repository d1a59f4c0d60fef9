"""The folder of an embedded store: whose it is, which format it has, and that one process uses it."""

import fcntl
import os
from pathlib import Path

from reginfo.errors import StoreRefused

FORMAT = 1
"Rises when an older version could not read the folder any more."

MARKER = "reginfo-store"
DATABASE = "rocksdb"

_EMPTY = b"reginfo store %d empty\n"
_READY = b"reginfo store %d ready\n"


class StoreFolder:
    """A claimed folder; nobody else can claim it until it is released."""

    def __init__(self, path: Path) -> None:
        """Claim path, making it if it is missing; raise StoreRefused and touch nothing if it is not ours."""
        self.path = path
        self.database = path / DATABASE
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = os.listdir(path)
            if names and MARKER not in names:
                raise StoreRefused(f"{path} holds other files and is not used as a store")
            self._file = os.open(path / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreRefused(f"{path} cannot be used as a store: {error.strerror}") from error
        try:
            self.is_empty = self._claim()
        except BaseException:
            os.close(self._file)
            raise

    def _claim(self) -> bool:
        """Lock the marker and tell whether the database has yet to be created."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreRefused(f"{self.path} is used by another running process") from None
        text = os.pread(self._file, 64, 0)
        if not text and not self.database.exists():
            text = _EMPTY % FORMAT
            os.pwrite(self._file, text, 0)
        words = text.split()
        if words[:2] != [b"reginfo", b"store"] or len(words) != 4 or not words[2].isdigit():
            raise StoreRefused(f"{self.path / MARKER} is damaged")
        if int(words[2]) > FORMAT:
            raise StoreRefused(f"{self.path} has format {int(words[2])} of a newer version, this one reads {FORMAT}")
        return words[3] == b"empty"

    def created(self) -> None:
        """Note that the database exists from now on, and must never be missing again."""
        os.pwrite(self._file, _READY % FORMAT, 0)
        os.fsync(self._file)
        self.is_empty = False

    def release(self) -> None:
        os.close(self._file)
