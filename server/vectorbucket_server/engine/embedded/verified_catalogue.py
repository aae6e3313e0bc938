"""The catalogue of a store, every record of it verified.

Rules of this file: it goes on after a broken record, and returns what can be trusted of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vectorbucket.errors import Corruption, ServiceUnavailable
from vectorbucket_server.engine.embedded.at_rest import AtRest, Finding, Severity, words_of
from vectorbucket_server.engine.embedded.schema import (
    BUCKET_PREFIX,
    CHECKPOINTS_PREFIX,
    DROP_PREFIX,
    FORMAT_KEY,
    FORMAT_VERSION,
    INDEX_ID_KEY,
    INDEX_PREFIX,
    STATE_PREFIX,
    Checkpoint,
    Family,
    IndexState,
    bucket_key,
    catalogue_index_id,
    checkpoints_key,
    decode_bucket,
    decode_checkpoints,
    decode_index,
    decode_number,
    decode_state,
    index_key,
    state_key,
)
from vectorbucket_server.model import Bucket, Index

END = b"\xff" * 9
"""Above every key of a family."""


@dataclass(slots=True)
class VerifiedCatalogue:
    """What the catalogue says, as far as it can be read."""

    format_version: int | None = None
    next_index_id: int = 1
    buckets: dict[str, Bucket] = field(default_factory=dict)
    indexes: dict[int, Index] = field(default_factory=dict)
    """By index_id."""
    states: dict[int, IndexState] = field(default_factory=dict)
    checkpoints: dict[int, list[Checkpoint]] = field(default_factory=dict)
    drops: set[int] = field(default_factory=set)
    """Indexes that are being dropped."""
    record_count: int = 0
    broken: set[bytes] = field(default_factory=set)
    """Keys of records that cannot be read: they are not told of as missing, too."""

    def verify(self, rest: AtRest) -> Iterator[Finding]:
        """Read everything; yield what is wrong with it.

        Raises:
            ServiceUnavailable: The store has another format version, of which nothing is known.
        """
        try:
            for key, value in rest.store.scan(Family.CATALOG, b"", END):
                self.record_count += 1
                yield from self._read(key, value)
        except Corruption as error:
            yield Finding(Severity.DAMAGE, "catalogue", rest.told(error))
            return  # what is missing is not to be told for each record
        yield from self._fit()

    def _read(self, key: bytes, value: bytes) -> Iterator[Finding]:
        """Take a record."""
        try:
            if wrong := self._take(key, value):
                yield Finding(Severity.DAMAGE, place_of(key), wrong)
        except Corruption as error:
            severity = Severity.DAMAGE
            if key.startswith(CHECKPOINTS_PREFIX):
                severity = Severity.REPAIRABLE
            self.broken.add(key)
            yield Finding(severity, place_of(key), words_of(error, Family.CATALOG, key))

    def _take(self, key: bytes, value: bytes) -> str | None:
        """Take a record; return what is wrong with it, if anything is."""
        if key == FORMAT_KEY:
            self.format_version = decode_number(Family.CATALOG, key, value)
            if self.format_version != FORMAT_VERSION:
                raise ServiceUnavailable(
                    f"the data directory has format version {self.format_version}; this server "
                    f"reads version {FORMAT_VERSION}"
                )
        elif key == INDEX_ID_KEY:
            self.next_index_id = decode_number(Family.CATALOG, key, value)
        elif key.startswith(BUCKET_PREFIX):
            bucket = decode_bucket(key, value)
            if key != bucket_key(bucket.name):
                return f"the record is of bucket {bucket.name!r}"
            self.buckets[bucket.name] = bucket
        elif key.startswith(INDEX_PREFIX):
            return self._take_index(key, decode_index(key, value))
        elif key.startswith(STATE_PREFIX):
            self.states[catalogue_index_id(key)] = decode_state(key, value)
        elif key.startswith(CHECKPOINTS_PREFIX):
            self.checkpoints[catalogue_index_id(key)] = decode_checkpoints(key, value)
        elif key.startswith(DROP_PREFIX):
            self.drops.add(catalogue_index_id(key))
        else:
            return "no such record is written by this version"
        return None

    def _take_index(self, key: bytes, index: Index) -> str | None:
        if key != index_key(index.bucket_name, index.name):
            return f"the record is of index {index.name!r} of bucket {index.bucket_name!r}"
        if other := self.indexes.get(index.index_id):
            return f"index {other.name!r} has the id {index.index_id}, too"
        self.indexes[index.index_id] = index
        return None

    def _fit(self) -> Iterator[Finding]:
        """Yield what of the records does not fit together."""
        if self.format_version is None and FORMAT_KEY not in self.broken:
            yield Finding(Severity.DAMAGE, place_of(FORMAT_KEY), "the record is missing")
        for index_id, index in self.indexes.items():
            place = place_of(index_key(index.bucket_name, index.name))
            if index.bucket_name not in self.buckets:
                what = f"bucket {index.bucket_name!r} is missing"
                yield Finding(Severity.DAMAGE, place, what)
            if index_id >= self.next_index_id and INDEX_ID_KEY not in self.broken:
                what = f"it has id {index_id}, and the next one would be {self.next_index_id}"
                yield Finding(Severity.DAMAGE, place, what)
            if index_id not in self.states and state_key(index_id) not in self.broken:
                what = f"the state of index {index.name!r} is missing"
                yield Finding(Severity.DAMAGE, place_of(state_key(index_id)), what)
        owned = self.indexes.keys() | self.drops
        for found, key_of in ((self.states, state_key), (self.checkpoints, checkpoints_key)):
            for index_id in sorted(found.keys() - owned):
                what = f"it belongs to index {index_id}, which is not there"
                yield Finding(Severity.LEFTOVER, place_of(key_of(index_id)), what)


def place_of(key: bytes) -> str:
    """Return how a record of the catalogue is called in a finding."""
    return f"family catalog, key {key.hex()}"
