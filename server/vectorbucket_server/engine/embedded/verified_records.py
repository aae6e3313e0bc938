"""The vectors of one index, every record of them verified, and held against each other.

Sixteen bytes a vector are kept: its label, and a hash of its key. So an index of a million takes
some dozens of megabytes, and each family is read once, from its beginning to its end.

Rules of this file: it goes on after what is broken. What cannot be read is told once, and not again
as missing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vectorbucket.errors import Corruption
from vectorbucket_server.engine.embedded.at_rest import AtRest, Finding, Severity, words_of
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    LabelArray,
    decode_change,
    decode_data,
    decode_number,
    decode_row_key,
    decode_row_metadata,
    index_range,
    label_key,
    label_of,
    state_key,
    vector_prefix,
)
from vectorbucket_server.model import Index

_ROWS_PER_CHUNK = 4_096

_KEY_BYTES = len(label_key(0, 0))

HashArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Record:
    """A record under a label."""

    label: int
    key_hash: int
    """Of the vector's key, in ``rows``."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """Labels whose records cannot be read."""

    first: int
    stop: int
    why: str


class VerifiedRecords:
    """The records of an index."""

    def __init__(
        self, rest: AtRest, index: Index, state: IndexState, advance: Callable[[int], None]
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            rest: Where the index is.
            index: Whose records they are.
            state: Its counters.
            advance: Is told how many more records were read.
        """
        self._rest = rest
        self._index = index
        self._state = state
        self._advance = advance
        self._hashes: HashArray = np.empty(0, np.int64)
        self._dead: LabelArray = np.empty(0, np.uint64)
        self._is_whole = True
        """Whether all labels that are alive or dead are known."""
        self.live: LabelArray = np.empty(0, np.uint64)
        """The labels of the vectors that exist, ascending."""

    def verify(self) -> Iterator[Finding]:
        """Read everything; yield what is wrong with it."""
        yield from self._vectors()
        yield from self._changes()
        yield from self._labelled(Family.ROWS, self._row)
        yield from self._labelled(Family.DATA, self._data)

    def _damage(self, family: Family, key: bytes, what: str) -> Finding:
        index = self._index
        return Finding(
            Severity.DAMAGE,
            f"index {index.name!r} of bucket {index.bucket_name!r}, family {family.value}, key "
            f"{key.hex()}",
            what,
        )

    # --- vectors and changes ----------------------------------------------------------------------

    def _vectors(self) -> Iterator[Finding]:
        """Read which vectors exist."""
        labels, hashes = array("Q"), array("q")
        first, end = index_range(self._index.index_id)
        prefix_bytes, key = len(vector_prefix(self._index.index_id)), first
        try:
            for key, value in self._rest.store.scan(Family.VECTORS, first, end):
                self._advance(1)
                try:
                    labels.append(decode_number(Family.VECTORS, key, value))
                except Corruption as error:
                    self._is_whole = False
                    yield self._damage(Family.VECTORS, key, words_of(error, Family.VECTORS, key))
                    continue
                hashes.append(hash(key[prefix_bytes:]))
                if labels[-1] >= self._state.next_label:
                    yield self._damage(Family.VECTORS, key, self._too_high(labels[-1]))
        except Corruption as error:
            self._is_whole = False
            what = f"this key and those after it cannot be read: {self._rest.told(error)}"
            yield self._damage(Family.VECTORS, key, what)
        live: LabelArray = np.frombuffer(labels, np.uint64) if labels else self.live
        order = np.argsort(live, kind="stable")
        self.live = live[order]
        self._hashes = np.frombuffer(hashes, np.int64)[order] if hashes else self._hashes
        for label in np.unique(self.live[1:][self.live[1:] == self.live[:-1]]).tolist():
            where = label_key(self._index.index_id, label)
            yield self._damage(Family.VECTORS, where, f"several keys have the label {label}")
        if self._is_whole and len(live) != self._state.vector_count:
            what = f"there are {len(live)} keys, and {self._state.vector_count} are counted"
            yield self._damage(Family.CATALOG, state_key(self._index.index_id), what)

    def _too_high(self, label: int) -> str:
        return f"label {label} is there, and the next one would be {self._state.next_label}"

    def _changes(self) -> Iterator[Finding]:
        """Read which labels are dead and still have rows."""
        first, end = index_range(self._index.index_id)
        key, dead = first, [self._dead]
        try:
            for key, value in self._rest.store.scan(Family.CHANGES, first, end):
                self._advance(1)
                try:
                    seq = label_of(Family.CHANGES, key)
                    died = decode_change(key, value)
                except Corruption as error:
                    yield self._damage(Family.CHANGES, key, words_of(error, Family.CHANGES, key))
                    self._is_whole = False
                    continue
                dead.append(died)
                if seq > self._state.seq:
                    what = f"seq {seq} is there, and the last one was {self._state.seq}"
                    yield self._damage(Family.CHANGES, key, what)
                for label in died[np.isin(died, self.live)].tolist():
                    what = f"label {label} died, and there is a key that has it"
                    yield self._damage(Family.CHANGES, key, what)
        except Corruption as error:
            self._is_whole = False
            what = f"this change and those after it cannot be read: {self._rest.told(error)}"
            yield self._damage(Family.CHANGES, key, what)
        self._dead = np.unique(np.concatenate(dead))

    # --- rows and data ----------------------------------------------------------------------------

    def _row(self, label: int, key: bytes, value: bytes) -> _Record:
        name = decode_row_key(key, value)
        decode_row_metadata(key, value)
        return _Record(label, hash(name.encode()))

    def _data(self, label: int, key: bytes, value: bytes) -> _Record:
        decode_data(key, value, self._index.dimension)
        return _Record(label, 0)

    def _labelled(
        self, family: Family, decode: Callable[[int, bytes, bytes], _Record]
    ) -> Iterator[Finding]:
        """Read a family whose keys are labels, and hold it against the live and the dead."""
        chunk: list[_Record] = []
        strangers, below = 0, 0
        for found in self._scanned(family):
            if isinstance(found, _Gap):
                yield from self._compared(family, chunk, below, found.first)
                strangers += self._strangers(chunk)
                chunk, below = [], found.stop
                yield self._unreadable(family, found)
                continue
            key, value = found
            try:
                label = label_of(family, key)
                if label >= self._state.next_label:
                    yield self._damage(family, key, self._too_high(label))
                chunk.append(decode(label, key, value))
            except Corruption as error:
                yield self._damage(family, key, words_of(error, family, key))
                if len(key) == _KEY_BYTES:  # it is there, and told of
                    chunk.append(_Record(label_of(family, key), self._hash_of(label)))
            if len(chunk) == _ROWS_PER_CHUNK:
                yield from self._compared(family, chunk, below, chunk[-1].label + 1)
                strangers += self._strangers(chunk)
                below, chunk = chunk[-1].label + 1, []
        yield from self._compared(family, chunk, below, self._state.next_label)
        strangers += self._strangers(chunk)
        if strangers and self._is_whole:
            place = f"index {self._index.name!r}, family {family.value}"
            what = f"{strangers} records belong to no vector, and to none that is being removed"
            yield Finding(Severity.LEFTOVER, place, what)

    def _hash_of(self, label: int) -> int:
        """Return the hash of the key that has a label; 0 if none has."""
        place = int(np.searchsorted(self.live, label))
        found = place < len(self.live) and int(self.live[place]) == label
        return int(self._hashes[place]) if found else 0

    def _scanned(self, family: Family) -> Iterator[tuple[bytes, bytes] | _Gap]:
        """Yield the records of a family, and what of it cannot be read."""
        index_id, next_label = self._index.index_id, self._state.next_label
        start, end = index_range(index_id)
        label, step, gap, why = 0, 1, -1, ""
        while True:
            try:
                for key, value in self._rest.store.scan(family, start, end):
                    if gap >= 0:
                        yield _Gap(gap, label, why)
                        step, gap = 1, -1
                    self._advance(1)
                    yield key, value
                    if len(key) == _KEY_BYTES:
                        label = label_of(family, key) + 1
            except Corruption as error:
                if gap < 0:
                    gap, why = label, self._rest.told(error)
                label, step = label + step, step * 2
                start = label_key(index_id, label)
                if label < next_label:
                    continue
            if gap >= 0:
                yield _Gap(gap, next_label, why)
            return

    def _unreadable(self, family: Family, gap: _Gap) -> Finding:
        first, stop = np.searchsorted(self.live, [gap.first, gap.stop])
        what = (
            f"the records up to label {gap.stop - 1} cannot be read, {stop - first} of them of "
            f"vectors that exist: {gap.why}"
        )
        return self._damage(family, label_key(self._index.index_id, gap.first), what)

    def _compared(
        self, family: Family, chunk: list[_Record], first: int, stop: int
    ) -> Iterator[Finding]:
        """Yield which live labels from ``first`` up to ``stop`` have no record, or another's."""
        start, end = np.searchsorted(self.live, [first, stop])
        wanted, hashes = self.live[start:end], self._hashes[start:end]
        labels = np.fromiter((one.label for one in chunk), np.uint64, len(chunk))
        there = np.isin(wanted, labels)
        for label in wanted[~there].tolist():
            key = label_key(self._index.index_id, label)
            yield self._damage(family, key, "the record of a vector that exists is missing")
        if family is not Family.ROWS or not there.any():
            return
        found = np.fromiter((one.key_hash for one in chunk), np.int64, len(chunk))
        others = found[np.searchsorted(labels, wanted[there])] != hashes[there]
        for label in wanted[there][others].tolist():
            key = label_key(self._index.index_id, label)
            yield self._damage(family, key, "the row is not that of the key that has its label")

    def _strangers(self, chunk: list[_Record]) -> int:
        """Return how many records have a label that is neither alive nor dead."""
        labels = np.fromiter((one.label for one in chunk), np.uint64, len(chunk))
        known = np.isin(labels, self.live) | np.isin(labels, self._dead)
        return int(np.count_nonzero(~known))
