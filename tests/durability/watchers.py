"""What may be found while writers write: between what was acknowledged and what was begun.

A reader makes a look before it asks: it knows what was acknowledged by then. Whatever was begun
until the answer came may be in it, too. Anything older is a loss; anything else a ghost, or a half.
Each key is put once, and deleted once at most. Milvus 2.3.5 itself does not hold what is said here
for rows that are replaced again and again while several read: its cache of what is deleted goes
back and forth between the times of the readers, and shows old rows, or none, meanwhile.

Rules of this file: it reads through the client, and works until it is stopped; that there is
something to read, and that answers come at all, is said by the tests.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np

from durability.ledger import Ledger, Operation, data_of, metadata_of, self_queries
from durability.patient_writers import Writer
from durability.test_kill import BUCKET, DIMENSION, INDEX
from vectorbucket import Client, RetryPolicy, Vector
from vectorbucket.errors import ServiceUnavailable

Content: TypeAlias = dict[str, tuple[bytes, Mapping[str, Any]]]
"""By key the bytes of the data, and the metadata."""

RECENT = 40
"""Operations whose keys are read by key."""

NEWEST = 1_000
"""Keys that a watcher lists."""

KEYS_A_CALL = 100


@dataclass(slots=True)
class Book(Ledger):
    """A ledger that remembers every operation."""

    history: list[Operation] = field(default_factory=list)

    def begun(self, operation: Operation) -> None:
        """Note that an operation is about to be sent."""
        self.history.append(operation)
        Ledger.begun(self, operation)

    def all_keys(self) -> list[str]:
        """Return every key of any operation, ascending."""
        return sorted({key for operation in self.history for key in operation.keys})


def fresh_operations(
    seed: int, prefix: str, *, batch_max: int, delete_share: float = 0.0
) -> Iterator[Operation]:
    """Yield puts of keys that were never put, and deletes of some that were, for ever."""
    rng = np.random.default_rng(seed)
    numbers, standing = itertools.count(), list[str]()
    for version in itertools.count(1 + seed * 1_000_000):
        size = int(rng.integers(1, batch_max + 1))
        if standing and rng.random() < delete_share:
            gone, standing = standing[:size], standing[size:]
            yield Operation(tuple(gone), 0)
        else:
            keys = tuple(f"{prefix}{number:06d}" for number in itertools.islice(numbers, size))
            standing += keys
            yield Operation(keys, version)


def set_to_work(writer: Writer) -> Writer:
    """Let a writer keep a book of operations on keys that are new each time."""
    writer.ledger = Book(DIMENSION)
    writer._operations = fresh_operations(
        writer.seed, writer.prefix, batch_max=writer.batch_max, delete_share=writer.delete_share
    )
    return writer


def book_of(writer: Writer) -> Book:
    """Return the book of a writer who keeps one."""
    assert isinstance(writer.ledger, Book)
    return writer.ledger


class Look:
    """What a writer had been told when it was made."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._acknowledged = book.acknowledged
        self.settled = book.settled
        """What must be there unless something has been done to it since."""

    def possible(self) -> dict[str, set[int]]:
        """Return the versions of each key that may be found; 0: none."""
        versions = {key: {version} for key, version in self.settled.items()}
        for operation in self._book.history[self._acknowledged :]:
            for key in operation.keys:
                versions.setdefault(key, {0}).add(operation.version)
        return versions

    def check(self, content: Content, asked: Collection[str] | None = None) -> None:
        """Check an answer.

        Args:
            content: What was found of this writer's.
            asked: The keys that were asked for; None: all.
        """
        possible = self.possible()
        for key, (data, metadata) in content.items():
            versions = {one for one in possible.get(key, ()) if _is(key, one, data, metadata)}
            assert versions, (
                f"{key} is {self._name(key, data, metadata)}; {possible.get(key)} may be found"
            )
        lost = {
            key
            for key in (possible if asked is None else asked)
            if 0 not in possible.get(key, {0}) and key not in content
        }
        assert not lost, f"{len(lost)} of {len(possible)} are missing, {min(lost)} among them"

    def _name(self, key: str, data: bytes, metadata: Mapping[str, Any]) -> str:
        """Return what was found where something else should be."""
        known = [one.version for one in self._book.history if key in one.keys]
        same = [version for version in known if _is(key, version, data, metadata)]
        return f"of version {same[0]}" if same else f"none of {known}, or a half of one"


def _is(key: str, version: int, data: bytes, metadata: Mapping[str, Any]) -> bool:
    """Return whether data and metadata are those of a version."""
    return bool(version) and data == _data(key, version) and metadata == metadata_of(key, version)


@lru_cache(100_000)
def _data(key: str, version: int) -> bytes:
    return data_of(key, version, DIMENSION).tobytes()


def content_of(vectors: Iterable[Vector], prefix: str) -> Content:
    """Return what there is of a writer's; each key is there once."""
    content: Content = {}
    for one in vectors:
        if one.key.startswith(prefix):
            assert one.data is not None
            assert one.key not in content, f"{one.key} came twice"
            content[one.key] = one.data.tobytes(), one.metadata or {}
    return content


def check_listed(client: Client, writer: Writer, newest: int | None = None) -> None:
    """List the newest of a writer's keys, by the order in which they were put; None: all."""
    look = Look(book_of(writer))
    last = max(look.settled, default="")
    first = 0 if newest is None or not last else int(last.removeprefix(writer.prefix)) - newest
    after = f"{writer.prefix}{max(0, first):06d}" if first > 0 else writer.prefix
    found = client.scan_vectors(
        BUCKET, INDEX, after_key=after, return_data=True, return_metadata=True
    )
    whole = content_of(itertools.takewhile(lambda one: one.key[0] == writer.prefix, found), "")
    look.check(whole, [key for key in look.possible() if key > after])


def check_got(client: Client, writer: Writer, keys: Sequence[str]) -> None:
    """Ask for keys."""
    for start in range(0, len(keys), KEYS_A_CALL):
        some = keys[start : start + KEYS_A_CALL]
        look = Look(book_of(writer))
        found = client.get_vectors(BUCKET, INDEX, some, return_data=True, return_metadata=True)
        look.check(content_of(found, writer.prefix), some)


def check_found(client: Client, writer: Writer, count: int, seed: int) -> None:
    """Let vectors find themselves, those that nobody has touched meanwhile."""
    look = Look(book_of(writer))
    if not look.settled:
        return
    keys, queries = self_queries(look.settled, DIMENSION, count, seed)
    found = client.query_vectors_batch(BUCKET, INDEX, queries, top_k=1)
    possible = look.possible()
    for key, hits in zip(keys, found, strict=True):
        if possible[key] == {look.settled[key]}:
            assert [hit.key for hit in hits] == [key]


def check_all(target: str, writers: Sequence[Writer], seed: int) -> None:
    """Read everything in every way."""
    with Client(target) as client:
        for writer in writers:
            check_found(client, writer, 100, seed)
            check_got(client, writer, book_of(writer).all_keys())
            check_listed(client, writer)


@dataclass
class Watcher:
    """Reads what others write in every way, for ever; each answer has to be right."""

    target: str
    writers: Sequence[Writer]
    rounds: int = 0
    refusals: list[tuple[ServiceUnavailable, float]] = field(default_factory=list)
    """Each with the seconds that it took."""

    def run(self, stopped: threading.Event) -> None:
        """Read."""
        once = RetryPolicy(attempts_max=1)
        with Client(self.target, retry=once, timeout_s=120.0, resume_timeout_s=1e-3) as client:
            while not stopped.is_set():
                for writer in self.writers:
                    recent = book_of(writer).history[-RECENT:]
                    keys = sorted({key for operation in recent for key in operation.keys})
                    self._ask(partial(check_got, client, writer, keys))
                    self._ask(partial(check_found, client, writer, 20, self.rounds))
                    self._ask(partial(check_listed, client, writer, NEWEST))

    def _ask(self, question: Callable[[], None]) -> None:
        began_s = time.monotonic()
        try:
            question()
        except ServiceUnavailable as refusal:
            self.refusals.append((refusal, time.monotonic() - began_s))
        else:
            self.rounds += 1
