"""The RocksDB of a data directory: families, atomic batches, commit groups.

The only importer of rocksdict.

Rules of this file:

- It moves bytes; schema.py knows what they mean. It never sees a distance, a slot or a message.
- Raw mode everywhere: the binding's default would pickle.
- The binding holds the interpreter lock through a write and its sync, so writes are not synced one
  by one: ``write`` appends to the write-ahead log, then ``sync`` joins a group whose leader syncs
  once, without the interpreter lock, for all that was written before.
- Errors of RocksDB leave here as errors of the contract: ServiceUnavailable, or Corruption with its
  place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from rocksdict import (
    BlockBasedOptions,
    Cache,
    ColumnFamily,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from vectorbucket.errors import Corruption, ServiceUnavailable, VectorBucketError
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import Family, corrupt

_SCAN_READAHEAD_BYTES = 1 << 20


class Batch:
    """Writes that happen together or not at all. Used once."""

    def __init__(self, handles: dict[Family, ColumnFamily]) -> None:
        self.raw = WriteBatch(raw_mode=True)
        self._handles = handles

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


class Store:
    """One open RocksDB. Used by many threads."""

    def __init__(self, path: Path, options: EmbeddedOptions) -> None:
        """Open the store, making it if it is missing.

        Raises:
            ServiceUnavailable: Another process holds it, or it cannot be opened; the message says
                why.
        """
        self._sync_writes = options.sync_writes
        families = {family.value: _family_options(family, options) for family in Family}
        try:
            self._db = Rdict(str(path), options=_options(options), column_families=families)
        except Exception as error:
            raise _opening_error(path, error) from error
        self._families = {f: self._db.get_column_family(f.value) for f in Family}
        self._handles = {f: self._db.get_column_family_handle(f.value) for f in Family}
        self._write_options = WriteOptions()
        self._write_options.sync = False
        self._condition = threading.Condition()
        self._written = 0
        self._synced = 0
        self._leading = False

    def close(self) -> None:
        """Sync and close. No other call may be under way.

        Raises:
            ServiceUnavailable: The sync or the close failed; what was synced before is safe.
        """
        try:
            self.sync()
        finally:
            self._families.clear()
            self._handles.clear()
            try:
                self._db.close()
            except Exception as error:
                raise ServiceUnavailable(f"the store could not close: {error}") from error

    # --- Reading ----------------------------------------------------------------------------------

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as error:
            raise _reading_error(family, key, error) from error
        return value

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of keys, None where a key is missing."""
        if not keys:
            return []
        try:
            values = self._families[family].get([*keys])
        except Exception as error:
            raise _reading_error(family, keys[0], error) from error
        return cast("list[bytes | None]", values)

    def scan(self, family: Family, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values from ``start`` up to, not including, ``stop``, in order.

        The rows are those of one moment, that of the first step.
        """
        read_options = ReadOptions()
        read_options.set_iterate_upper_bound(stop)
        read_options.set_readahead_size(_SCAN_READAHEAD_BYTES)
        rows = self._families[family].iter(read_options)
        try:
            rows.seek(start)
            while rows.valid():
                yield rows.key(), rows.value()
                rows.next()
            rows.status()
        except Exception as error:
            raise _reading_error(family, start, error) from error

    def size_bytes(self) -> int:
        """Return the bytes of the store's table files."""
        return sum(
            self._families[f].property_int_value("rocksdb.total-sst-files-size") or 0
            for f in Family
        )

    # --- Writing ----------------------------------------------------------------------------------

    def batch(self) -> Batch:
        """Return an empty batch."""
        return Batch(self._handles)

    def write(self, batch: Batch) -> None:
        """Apply a batch: visible to every reader, durable after ``sync``.

        Raises:
            ServiceUnavailable: RocksDB refused it (a full disk, say); nothing of it is applied.
        """
        try:
            self._db.write(batch.raw, self._write_options)
        except Exception as error:
            raise ServiceUnavailable(f"the store refused a write: {error}") from error
        with self._condition:
            self._written += 1

    def sync(self) -> None:
        """Return when everything written before this call is durable.

        The first caller leads: it syncs for all who wrote before it began. Those who come meanwhile
        wait and are led by one of them.

        Raises:
            ServiceUnavailable: The sync failed; whether the writes are durable is unknown.
        """
        if not self._sync_writes:
            return
        with self._condition:
            wanted = self._written
            while self._leading and self._synced < wanted:
                self._condition.wait()
            if self._synced >= wanted:
                return
            self._leading = True
            covered = self._written
        failed = True
        try:
            self._db.flush_wal(True)
            failed = False
        except Exception as error:
            raise ServiceUnavailable(
                f"the store could not sync; whether the write is durable is unknown: {error}"
            ) from error
        finally:
            with self._condition:
                self._leading = False
                if not failed:
                    self._synced = max(self._synced, covered)
                self._condition.notify_all()


def _options(options: EmbeddedOptions) -> Options:
    """Return the options of the store as a whole."""
    made = Options(raw_mode=True)
    made.create_if_missing(True)
    made.create_missing_column_families(True)
    made.set_max_total_wal_size(options.wal_bytes_max)
    made.set_write_buffer_manager(WriteBufferManager(options.write_buffer_bytes, allow_stall=False))
    made.set_keep_log_file_num(3)
    # RocksDB's own default silently drops everything after a damaged record of the write-ahead log.
    # Only a torn last record, which nobody was told of, may be dropped.
    made.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    made.set_max_background_jobs(2)
    return made


def _family_options(family: Family, options: EmbeddedOptions) -> Options:
    """Return the options of one family."""
    made = Options(raw_mode=True)
    table = BlockBasedOptions()
    table.set_block_cache(_shared_cache(options))
    if family is Family.VECTORS:
        # Most keys of a put are new: the filter says so without touching the disk.
        table.set_bloom_filter(10, False)
    made.set_block_based_table_factory(table)
    if family is Family.DATA:
        # Floats do not compress; trying costs time.
        made.set_compression_type(DBCompressionType.none())
    # RocksDB stalls writers inside the binding, with the interpreter lock held, when flushes or
    # merges fall behind: everything would stand still. Let it fall far behind first.
    made.set_max_write_buffer_number(8)
    made.set_level_zero_slowdown_writes_trigger(60)
    made.set_level_zero_stop_writes_trigger(90)
    made.set_write_buffer_size(max(options.write_buffer_bytes // 4, 1 << 20))
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


def _reading_error(family: Family, key: bytes, error: Exception) -> VectorBucketError:
    """Return the contract's error for a failed read."""
    if "Corruption" in str(error):
        return corrupt(family, key, str(error))
    return ServiceUnavailable(f"the store could not read family {family.value}: {error}")
