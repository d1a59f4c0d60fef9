"""RocksDB as the embedded store uses it: four key spaces of raw octets, and errors of this project."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rocksdict import (
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
)

from reginfo.errors import StoreRefused, StoreUnavailable
from reginfo.store.background import Background, Share

ROW = b"r"
JOURNAL = b"j"
JOURNAL_END = b"k"
STATE = b"s"
STATE_END = b"t"
CURSOR = b"mc"
CURSOR_END = b"md"

RETRY_AFTER = 1
"Seconds between two tries to open a failed database."

_WRITE_BUFFER = 8 << 20  # small enough for the cache of a processor: a third off each write
_WRITE_BUFFERS = 16  # writes go on while earlier buffers are flushed, with what time is left
_UNSORTED_FILES = 16  # merged at once: fewer merges of a large table, and rows are read at start only
_LOOK_WRITES = 64  # between two looks whether flushes and merges are behind
_SOME_BUFFERS = 1  # there is something to catch up with
_SOME_FILES = _UNSORTED_FILES + 8
_BEHIND_BUFFERS = _WRITE_BUFFERS // 2
_BEHIND_FILES = 2 * _UNSORTED_FILES


def _options(create: bool) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    # Whatever a power cut leaves at the end of the log, the store starts with what is before it.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_write_buffer_size(_WRITE_BUFFER)
    options.set_max_write_buffer_number(_WRITE_BUFFERS)
    options.set_level_zero_file_num_compaction_trigger(_UNSORTED_FILES)
    options.set_level_zero_slowdown_writes_trigger(3 * _UNSORTED_FILES)
    options.set_level_zero_stop_writes_trigger(5 * _UNSORTED_FILES)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_bytes_per_sync(1 << 20)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    # One thread writes: the machinery for several costs and gives nothing.
    options.set_allow_concurrent_memtable_write(False)
    options.set_enable_write_thread_adaptive_yield(False)
    return options


def _line(error: Exception) -> str:
    """Return what RocksDB says, which may be on several lines, on one."""
    return " ".join(str(error).split())


def journal_key(seq: int) -> bytes:
    return JOURNAL + seq.to_bytes(8, "big")


class Disk:
    """An open database.  rocksdict raises bare Exception; here it becomes the project's errors."""

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        self._writes = 0
        self._background = Background()
        if not create and not (path / "CURRENT").exists():
            raise StoreRefused(f"{path} has lost its database")
        self._db = self._open(create)

    def _open(self, create: bool) -> Rdict:
        try:
            database = Rdict(str(self._path), _options(create))
        except Exception as error:
            raise StoreRefused(f"{self._path} cannot be opened: {_line(error)}") from error
        self._background.want(Share.NONE)
        return database

    def reopen(self) -> None:
        """Close and open again: the only way out of the state RocksDB enters when a write failed."""
        self.close()
        self._db = self._open(create=False)

    def close(self) -> None:
        self._background.want(Share.EQUAL)  # what they have begun is waited for
        # A database in which a write failed says so again when it is closed, and so does a closed one.
        with contextlib.suppress(Exception):
            self._db.close()
        self._background.end()

    def write(self, batch: WriteBatch) -> None:
        """Hand a batch to the operating system, all of it or nothing."""
        try:
            self._writes += 1
            if self._writes % _LOOK_WRITES == 0:
                self._look_behind()
            self._db.write(batch)
        except Exception as error:
            raise StoreUnavailable(f"store: {_line(error)}", retry_after=RETRY_AFTER) from error

    def _look_behind(self) -> None:
        """Let flushes and merges get on long before a write would wait for them."""
        buffers = self._db.property_int_value("rocksdb.num-immutable-mem-table") or 0
        files = int(self._db.property_value("rocksdb.num-files-at-level0") or 0)
        if buffers >= _BEHIND_BUFFERS or files >= _BEHIND_FILES:
            self._background.want(Share.EQUAL)
        elif buffers >= _SOME_BUFFERS or files >= _SOME_FILES:
            self._background.want(Share.SMALL)
        else:
            self._background.want(Share.NONE)

    def sync(self) -> None:
        """Return once all that was written is on the disk; may be called in another thread."""
        try:
            self._db.flush_wal(sync=True)
        except Exception as error:
            raise StoreUnavailable(f"store: {_line(error)}", retry_after=RETRY_AFTER) from error

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise StoreUnavailable(f"store: {_line(error)}", retry_after=RETRY_AFTER) from error
        return value

    def number(self, key: bytes) -> int | None:
        value = self.get(key)
        return None if value is None else int.from_bytes(value, "big", signed=True)

    def _walk(self, start: bytes, end: bytes) -> Iterator[RdictIter]:
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(end)
        cursor = self._db.iter(bounds)
        cursor.seek(start)
        while cursor.valid():
            yield cursor
            cursor.next()
        try:
            cursor.status()
        except Exception as error:  # the walk ended at damage instead of at the end
            raise StoreUnavailable(f"store: {_line(error)}", retry_after=RETRY_AFTER) from error

    def items(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for cursor in self._walk(start, end):
            yield cursor.key(), cursor.value()

    def values(self, start: bytes, end: bytes) -> Iterator[bytes]:
        for cursor in self._walk(start, end):
            yield cursor.value()

    def keys(self, start: bytes, end: bytes) -> Iterator[bytes]:
        for cursor in self._walk(start, end):
            yield cursor.key()
