"""One RocksDB, open: with which of its many options, and how it is opened anew under its readers.

RocksDB refuses all writes after one has failed. When the disk was full it goes on by itself; after
any other failure it has to be closed and opened, and it is closed when nobody holds a part of it.

The only importer of rocksdict.

Rules of this file: it opens and lets go; what is read and written is store.py's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    ColumnFamily,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from vectorbucket.errors import Corruption, ServiceUnavailable, VectorBucketError
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import Family

LEVEL_ZERO_FILES_MAX = 90
"""Table files of a family that wait to be merged, at which RocksDB lets no writer go on."""

OWN_RESUMPTION_S = 12.0
"""How long, in seconds, a RocksDB that has room again is left to itself: it looks every 5 s."""

_LAST_READERS_S = 10.0
"""How long, in seconds, to wait for those who still read what is to be closed."""

_LAST_READERS_LOOK_S = 0.01

_SCAN_READAHEAD_BYTES = 1 << 20
_VERIFYING_FILES_MAX = 128
_VERIFYING_CACHE_BYTES = 8 << 20


class Access(Enum):
    """What a store is opened for."""

    WRITING = auto()
    """To be read and written, by one process at a time. It is made if it is missing."""
    READING = auto()
    """To be read beside whoever writes it, as it was when it was opened. All of its files are
    opened at once, so that none is missed when others remove it."""
    VERIFYING = auto()
    """To be read to the last byte: from the disk, not from what somebody else had read of it, and
    with few of its files open at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An open RocksDB. It is closed when nobody holds a part of it any more."""

    database: Rdict
    families: dict[Family, Rdict]
    handles: dict[Family, ColumnFamily]


def open_rocks(path: Path, options: EmbeddedOptions, access: Access) -> Opened:
    """Open the RocksDB of a directory.

    Raises:
        Exception: What rocksdict raises.
    """
    verifies, writes = access is Access.VERIFYING, access is Access.WRITING
    cache = Cache(_VERIFYING_CACHE_BYTES) if verifies else _shared_cache(options)
    whole = _options(options, writes=writes)
    if verifies:
        whole.set_max_open_files(_VERIFYING_FILES_MAX)
    database = Rdict(
        str(path),
        options=whole,
        column_families={one.value: _family_options(one, options, cache) for one in Family},
        access_type=(
            AccessType.read_write()
            if writes
            else AccessType.read_only(error_if_log_file_exist=False)
        ),
    )
    return Opened(
        database,
        {one: database.get_column_family(one.value) for one in Family},
        {one: database.get_column_family_handle(one.value) for one in Family},
    )


class Batch:
    """Writes that happen together or not at all. Used once."""

    def __init__(self, handles: dict[Family, ColumnFamily]) -> None:
        self.raw = WriteBatch(raw_mode=True)
        self._handles = handles
        self._is_taken = False

    def take(self) -> WriteBatch:
        """Return what is to be written, once.

        Raises:
            ServiceUnavailable: It was taken before.
        """
        if self._is_taken:
            raise ServiceUnavailable("the store refused a write: the batch is consumed")
        # Handles keep a store open, and errors keep whatever was in hand when they were raised.
        self._is_taken, self._handles = True, {}
        return self.raw

    def put(self, family: Family, key: bytes, value: bytes) -> None:
        """Set a key."""
        self.raw.put(key, value, self._handles[family])

    def put_many(self, family: Family, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set many keys of one family."""
        put, handle = self.raw.put, self._handles[family]
        for key, value in zip(keys, values, strict=True):
            put(key, value, handle)

    def delete(self, family: Family, key: bytes) -> None:
        """Remove a key; nothing happens if it is missing."""
        self.raw.delete(key, self._handles[family])

    def delete_many(self, family: Family, keys: Sequence[bytes]) -> None:
        """Remove many keys of one family."""
        for key in keys:
            self.raw.delete(key, self._handles[family])

    def delete_range(self, family: Family, start: bytes, stop: bytes) -> None:
        """Remove the keys from ``start`` up to, not including, ``stop``."""
        self.raw.delete_range(start, stop, self._handles[family])


class Rocks:
    """An open RocksDB, in which another may take its place."""

    def __init__(self, path: Path, options: EmbeddedOptions, access: Access) -> None:
        """Open it.

        Raises:
            ServiceUnavailable: Another process holds it, or it cannot be opened.
            Corruption: What is there cannot be read.
        """
        self._path = path
        self._options = options
        self._write_options = WriteOptions()
        self._write_options.sync = False
        self._seq_left: int | None = None
        """How many writes were in the RocksDB that was let go of for a view; None if none was."""
        self._use(self._open(access))

    def _open(self, access: Access) -> Opened:
        """Open what is in the directory."""
        try:
            return open_rocks(self._path, self._options, access)
        except Exception as error:
            raise _opening_error(self._path, error) from error

    def _use(self, opened: Opened) -> None:
        """Read and write what was opened, from now on."""
        self._db, self._families = opened.database, opened.families
        self._handles = opened.handles

    def let_go(self) -> None:
        """Close it once nobody reads it any more.

        Raises:
            Exception: What rocksdict raises. It is closed all the same.
        """
        self._families.clear()
        self._handles.clear()
        if self._seq_left is None:  # a view has nothing to write, and cannot
            self._db.close()

    def rows_before(self, family: Family, stop: bytes) -> RdictIter:
        """Return what walks through the rows of a family as they are now, up to ``stop``."""
        read_options = ReadOptions()
        read_options.set_iterate_upper_bound(stop)
        read_options.set_readahead_size(_SCAN_READAHEAD_BYTES)
        return self._families[family].iter(read_options)

    def copy_to(self, path: Path) -> None:
        """Write everything as it is at one moment into a new directory.

        Raises:
            Exception: What rocksdict raises.
        """
        # Taking a checkpoint writes what is in memory to table files, with the interpreter lock
        # held; flushing before does most of that without it.
        for family in self._families.values():
            family.flush(wait=True)
        Checkpoint(self._db).create_checkpoint(str(path))

    def goes_on(self) -> bool:
        """Return whether RocksDB takes writes again, by itself."""
        if self._seq_left is not None:
            return False
        try:
            self._db.write(WriteBatch(raw_mode=True), self._write_options)
            self._db.flush_wal(True)  # noqa: FBT003 - as it is called
        except Exception:  # noqa: BLE001 - whatever it is, it does not
            return False
        return True

    def reopening_bytes(self) -> int:
        """Return the room that opening needs: for what is in the logs only, and for a new one."""
        logs = sum(path.stat().st_size for path in self._path.glob("*.log"))
        return logs + write_buffer_bytes(self._options)

    def open_anew(self) -> None:
        """Close RocksDB and open it again. Readers have a view of the same records meanwhile.

        Nobody may write. If it fails, the view stays, and this can be tried again. When it returns,
        everything that was written is on the disk, because opening empties the logs into tables.

        Raises:
            ServiceUnavailable: It cannot be opened, or has other records than it was left with.
            Corruption: What is there cannot be read.
        """
        if self._seq_left is None:
            seq = self._db.latest_sequence_number()
            view = self._open(Access.READING)
            self._check_seq(view, seq)
            before, self._seq_left = self._db, seq
            self._use(view)
            del view
            with suppress(Exception):  # it complains of what it could not write
                before.close()  # readers hold its families, which end with them
            del before
        opened = self._open_after_readers()
        self._check_seq(opened, self._seq_left)
        self._use(opened)
        self._seq_left = None

    def _open_after_readers(self) -> Opened:
        """Open for writing, once the last reader of what was open before is done."""
        until_s = time.monotonic() + _LAST_READERS_S
        while True:
            try:
                return self._open(Access.WRITING)
            except ServiceUnavailable as error:
                if "current process" not in str(error.__cause__) or time.monotonic() > until_s:
                    raise
            time.sleep(_LAST_READERS_LOOK_S)

    def _check_seq(self, opened: Opened, expected: int) -> None:
        """Return if what was opened holds the writes that readers could see, and no more.

        Raises:
            ServiceUnavailable: A write that was refused is in it, or one that was not synced isn't.
        """
        found = opened.database.latest_sequence_number()
        if found != expected:
            raise ServiceUnavailable(
                f"{self._path} has {found} writes on the disk and {expected} in memory: restart "
                "the server, which then reads everything anew"
            )


def write_buffer_bytes(options: EmbeddedOptions) -> int:
    """Return the bytes that a family keeps in memory before it writes them to a table file."""
    return max(options.write_buffer_bytes // 4, 1 << 20)


def _options(options: EmbeddedOptions, *, writes: bool) -> Options:
    """Return the options of the store as a whole."""
    made = Options(raw_mode=True)
    made.create_if_missing(writes)
    made.create_missing_column_families(writes)
    made.set_max_total_wal_size(options.wal_bytes_max)
    made.set_write_buffer_manager(WriteBufferManager(options.write_buffer_bytes, allow_stall=False))
    # Of the default family, which holds nothing. But a store that was full goes on by itself when
    # there is room for the largest buffer of any family, and RocksDB's own default is 64 MiB.
    made.set_write_buffer_size(write_buffer_bytes(options))
    made.set_keep_log_file_num(3)
    # RocksDB's own default silently drops everything after a damaged record of the write-ahead log.
    # Only a torn last record, which nobody was told of, may be dropped.
    made.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    made.set_max_background_jobs(2)
    return made


def _family_options(family: Family, options: EmbeddedOptions, cache: Cache) -> Options:
    """Return the options of one family."""
    made = Options(raw_mode=True)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    if family is Family.VECTORS:
        # Most keys of a put are new: the filter says so without touching the disk.
        table.set_bloom_filter(10, block_based=False)
    made.set_block_based_table_factory(table)
    if family is Family.DATA:
        # Floats do not compress; trying costs time.
        made.set_compression_type(DBCompressionType.none())
    # RocksDB stalls writers inside the binding, with the interpreter lock held, when flushes or
    # merges fall behind: everything would stand still. Let it fall far behind first.
    made.set_max_write_buffer_number(8)
    made.set_level_zero_slowdown_writes_trigger(60)
    made.set_level_zero_stop_writes_trigger(LEVEL_ZERO_FILES_MAX)
    made.set_write_buffer_size(write_buffer_bytes(options))
    return made


_caches: dict[int, Cache] = {}


def _shared_cache(options: EmbeddedOptions) -> Cache:
    """Return the one block cache of this process for this size."""
    return _caches.setdefault(options.block_cache_bytes, Cache(options.block_cache_bytes))


def _opening_error(path: Path, error: Exception) -> VectorBucketError:
    """Return the contract's error for a store that cannot be opened."""
    text = str(error)
    # First, because what is corrupt may be a "block".
    if "Corruption" in text:
        return Corruption(f"{path} cannot be opened: {text}")
    if "lock" in text.lower():
        return ServiceUnavailable(
            f"{path} is in use by another process; one process at a time may use a data directory"
        )
    return ServiceUnavailable(f"{path} cannot be opened: {text}")
