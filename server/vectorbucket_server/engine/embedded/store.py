"""The RocksDB of a data directory: families, atomic batches, commit groups.

Rules of this file:

- It moves bytes; schema.py knows what they mean. It never sees a distance, a slot or a message.
- Raw mode everywhere: the binding's default would pickle.
- The binding holds the interpreter lock through a write and its sync, so writes are not synced one
  by one: ``write`` appends to the write-ahead log, then ``sync`` joins a group whose leader syncs
  once, without the interpreter lock, for all that was written before.
- Errors of RocksDB leave here as errors of the contract: ServiceUnavailable, or Corruption with its
  place.
- After a write or a sync that failed, none is tried before ``mend`` has: what follows a failed sync
  in the same log would be acknowledged and could be lost. Readers go on all the while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from vectorbucket.errors import ServiceUnavailable, VectorBucketError
from vectorbucket_server.engine.embedded.disk_space import DiskSpace
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rocks import (
    LEVEL_ZERO_FILES_MAX,
    OWN_RESUMPTION_S,
    Access,
    Batch,
    Rocks,
)
from vectorbucket_server.engine.embedded.schema import Family, corrupt

__all__ = ["Batch", "Store"]

_RETRY_AFTER_S = 5.0
"""When whoever was refused may try again, in seconds."""

_LOOK_AGAIN_S = 0.2
"""How long it is believed that there is room for puts, in seconds."""

_UNMERGED_FILES_MAX = LEVEL_ZERO_FILES_MAX - 15
"""Table files that wait to be merged from which on puts are refused: fewer than can come between
two looks before RocksDB would hold up a writer, and with it the interpreter."""


class Store(Rocks):
    """One open RocksDB. Used by many threads."""

    def __init__(self, path: Path, options: EmbeddedOptions, *, read_only: bool = False) -> None:
        """Open the store, making it if it is missing.

        Args:
            path: Its directory.
            options: Of the engine.
            read_only: Whether it must exist and is only read: its records stay as they are, nobody
                is asked whether he uses it, and few of its files are open at a time.

        Raises:
            ServiceUnavailable: Another process holds it, or it cannot be opened; the message says
                why.
        """
        super().__init__(path, options, Access.VERIFYING if read_only else Access.WRITING)
        self._sync_writes = options.sync_writes and not read_only
        self._space = DiskSpace(path.parent, options.disk_free_bytes_min)
        self._room_seen_s = -_LOOK_AGAIN_S
        self._writing = threading.Lock()
        """Held during a write; whoever has held it once knows that nobody is let in any more."""
        self._refusal = ""
        self._is_full = False
        """Whether it is refused for want of room alone, so that RocksDB may go on by itself."""
        self._room_since_s: float | None = None
        self.when_refused: Callable[[], None] = _nothing
        """Called when writes begin to be refused; quick."""
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
            if not self._refusal:  # else nobody was told that his write is durable
                self.sync()
        finally:
            try:
                self.let_go()
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
        rows = self.rows_before(family, stop)
        try:
            rows.seek(start)
            while rows.valid():
                yield rows.key(), rows.value()
                rows.next()
            rows.status()
        except Exception as error:
            raise _reading_error(family, start, error) from error
        finally:
            del rows  # the error may be kept, and with it all that this function had

    def size_bytes(self) -> int:
        """Return the bytes of the store's table files."""
        return sum(self.sizes_bytes().values())

    def sizes_bytes(self) -> dict[Family, int]:
        """Return the bytes of the table files of each family."""
        size = "rocksdb.total-sst-files-size"
        return {f: self._families[f].property_int_value(size) or 0 for f in Family}

    def checkpoint(self, path: Path) -> None:
        """Write the store as it is at one moment of this call into a new directory.

        Table files are linked where that can be had, and copied otherwise. Nothing is synced.

        Raises:
            ServiceUnavailable: RocksDB refused it (a full disk, say).
        """
        try:
            self.copy_to(path)
        except Exception as error:
            raise ServiceUnavailable(f"the store could not be copied: {error}") from error

    # --- Writing ----------------------------------------------------------------------------------

    def batch(self) -> Batch:
        """Return an empty batch."""
        return Batch(self._handles)

    def write(self, batch: Batch) -> None:
        """Apply a batch: visible to every reader, durable after ``sync``.

        Raises:
            ServiceUnavailable: RocksDB refused it (a full disk, say), or a write before; nothing of
                it is applied.
        """
        raw = batch.take()
        with self._writing:
            if self._refusal:
                raise _unavailable(self._refusal)
            try:
                self._db.write(raw, self._write_options)
            except Exception as error:
                text = str(error)
                self._refuse(text, is_full="No space left" in text)
                raise _unavailable(f"the store refused a write: {text}") from error
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
            if self._refusal:
                raise _unsynced(self._refusal)
            self._leading = True
            covered = self._written
        failed = True
        try:
            self._db.flush_wal(True)
            failed = False
        except Exception as error:
            self._refuse(str(error), is_full=False)
            raise _unsynced(str(error)) from error
        finally:
            with self._condition:
                self._leading = False
                if not failed:
                    self._synced = max(self._synced, covered)
                self._condition.notify_all()

    # --- When the disk is full or failing ---------------------------------------------------------

    @property
    def writes_refused(self) -> str:
        """Why puts are refused, in words; empty if they are not."""
        if self._refusal:
            return self._refusal
        now_s = time.monotonic()
        if now_s - self._room_seen_s < _LOOK_AGAIN_S:
            return ""
        refusal = self._space.refusal() or self._unmerged()
        if not refusal:
            self._room_seen_s = now_s
        return refusal

    @property
    def takes_writes(self) -> bool:
        """Whether a write may be tried: none has failed that was not mended."""
        return not self._refusal

    @property
    def is_full(self) -> bool:
        """Whether nothing but room is wanted for writes to be taken again."""
        return self._is_full

    def check_room(self) -> None:
        """Return if a put may be tried: writes are taken, and the disk has room.

        Raises:
            ServiceUnavailable: It may not; the message says why, and what to do.
        """
        refusal = self.writes_refused
        if refusal:
            raise _unavailable(refusal)

    def check_room_for(self, what: str, needed_bytes: int) -> None:
        """Return if something that takes so much of the disk may be begun.

        Raises:
            ServiceUnavailable: It would take what the store needs to go on.
            OSError: The file system does not answer.
        """
        refusal = self._space.refusal_of(what, needed_bytes)
        if refusal:
            raise _unavailable(refusal)

    def _unmerged(self) -> str:
        """Return why puts are refused if RocksDB's merges have fallen far behind."""
        name = "rocksdb.num-files-at-level0"
        files = max(int(one.property_value(name) or 0) for one in self._families.values())
        if files < _UNMERGED_FILES_MAX:
            return ""
        return (
            f"puts are refused: {files} files of the store in {self._path} wait to be merged, "
            f"{_UNMERGED_FILES_MAX} or more: the disk is too slow, failing, or has too little room"
        )

    def _refuse(self, text: str, *, is_full: bool) -> None:
        """Refuse all writes from now on."""
        if not self._refusal:
            self._is_full = is_full
            why = "is full: make room" if is_full else "fails: look after it"
            self._refusal = (
                f"writes are refused: the disk that holds {self._path} {why}; they go on by "
                f"themselves when the store takes them again ({text})"
            )
            self.when_refused()

    def mend(self) -> None:
        """Try to have writes taken again, losing nothing that a reader can see. For one thread.

        RocksDB goes on by itself when it was full and has room again. After any other failure it
        has to be opened anew. Meanwhile readers have a view of the same records.

        Raises:
            ServiceUnavailable: Not yet; the message says why.
            Corruption: What is on the disk cannot be opened.
        """
        with self._writing:  # whoever was let in before is done
            if not self._refusal:
                return
        if self._is_full and self.goes_on():
            self._accept()
            return
        try:
            self._space.try_out(self.reopening_bytes())
        except OSError as error:
            self._room_since_s = None
            raise _unavailable(f"the disk takes nothing yet: {error}") from error
        if self._is_full:
            now_s = time.monotonic()
            self._room_since_s = self._room_since_s or now_s
            if now_s - self._room_since_s < OWN_RESUMPTION_S:
                raise _unavailable("there is room again; RocksDB has not noticed yet")
        self.open_anew()
        self._accept()

    def _accept(self) -> None:
        """Take writes again. What was written before is durable: opening has synced it."""
        with self._condition:
            self._synced = self._written
        self._room_since_s = None
        self._is_full, self._refusal = False, ""


def _nothing() -> None:
    """Do nothing."""


def _unavailable(text: str) -> ServiceUnavailable:
    """Return the error of whoever may try again when there is room, or the disk works again."""
    return ServiceUnavailable(text, retry_after_s=_RETRY_AFTER_S)


def _unsynced(text: str) -> ServiceUnavailable:
    """Return the error of whoever does not know whether the disk has what he wrote."""
    return _unavailable(
        f"the store could not sync; whether the write is durable is unknown: {text}"
    )


def _reading_error(family: Family, key: bytes, error: Exception) -> VectorBucketError:
    """Return the contract's error for a failed read."""
    if "Corruption" in str(error):
        return corrupt(family, key, str(error))
    return ServiceUnavailable(f"the store could not read family {family.value}: {error}")
