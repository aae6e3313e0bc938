"""Rooms of the embedded engine, made for tests: options, stores, indexes, engines, threads.

Rules of this file: it makes, runs and waits; what is right is said by the tests alone. Nothing
waits without an end, and nothing sleeps in the hope that something has happened meanwhile.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from engines.subject import MANY, batch, list_all
from vectorbucket.errors import RequestTimeout, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE, SilentObserver
from vectorbucket_server.engine.embedded.budget import MemoryBudget
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    encode_state,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import (
    Bucket,
    DistanceMetric,
    Index,
    Metadata,
    Query,
    Vector,
    VectorBatch,
)

T = TypeVar("T")

WITHIN_S = 30.0
"""How long tests wait for what must happen at once; only a failure takes so long."""

NEVER = 10**9
"""More vectors than any test puts: no graph from here on."""

BUCKET = Bucket("things", "1234567890", created_ms=1_700_000_000_000)

__all__ = [
    "BUCKET",
    "MANY",
    "NEVER",
    "WITHIN_S",
    "Gate",
    "GivenUp",
    "Notes",
    "Refusals",
    "Standing",
    "all_vectors",
    "batch",
    "eventually",
    "files_no_longer_than",
    "in_child",
    "make_budget",
    "make_index",
    "make_options",
    "make_room",
    "nearest_keys",
    "nothing",
    "numbered",
    "opened_engine",
    "opened_store",
    "put_index",
    "records_of",
    "refused",
    "restless",
    "running",
    "together",
]


class Notes(SilentObserver):
    """An observer that remembers everything."""

    def __init__(self) -> None:
        self.plans: list[tuple[str, int]] = []
        self.turns: list[int] = []
        self.failures: list[tuple[str, Exception]] = []

    def plan_chosen(self, plan: str, query_count: int) -> None:
        """Remember a plan."""
        self.plans.append((plan, query_count))

    def vectors_indexed(self, count: int, seconds: float) -> None:
        """Remember a turn."""
        assert seconds >= 0
        self.turns.append(count)

    def background_failed(self, what: str, error: Exception) -> None:
        """Remember a failure."""
        self.failures.append((what, error))


class GivenUp:
    """The deadline of a caller who waits no longer."""

    def check(self) -> None:
        """Raise."""
        raise RequestTimeout("the caller has given up")

    def remaining_s(self) -> float:
        """Return that nothing is left."""
        return 0.0


def make_options(folder: Path, **changes: Any) -> EmbeddedOptions:
    """Return options for a data directory in the folder; one thread, so that tests are steady."""
    return replace(EmbeddedOptions(folder / "data", indexer_threads=1), **changes)


def make_index(
    dimension: int = 4,
    metric: DistanceMetric = DistanceMetric.EUCLIDEAN,
    *,
    name: str = "vectors",
    index_id: int = 1,
    non_filterable_keys: tuple[str, ...] = (),
) -> Index:
    """Return a definition in BUCKET."""
    return Index(BUCKET.name, name, dimension, metric, non_filterable_keys, 5, index_id)


def numbered(count: int, *, start: int = 0, width: int = 4) -> tuple[VectorBatch, list[Metadata]]:
    """Return a batch of vectors whose key, first coordinate and field ``n`` are their number."""
    numbers = range(start, start + count)
    metadata: list[Metadata] = [{"n": float(number)} for number in numbers]
    rows = [[float(number)] + [0.0] * (width - 1) for number in numbers]
    return batch([f"k{number}" for number in numbers], rows, metadata), metadata


@contextmanager
def opened_store(folder: Path, **changes: Any) -> Iterator[Store]:
    """Yield the store of a folder, open."""
    options = make_options(folder, **changes)
    options.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(options.data_dir / "store", options)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_engine(
    folder: Path, notes: Notes | None = None, **changes: Any
) -> Iterator[EmbeddedEngine]:
    """Yield the engine of a folder, open, with BUCKET in it."""
    engine = EmbeddedEngine(make_options(folder, **changes), notes)
    engine.open()
    try:
        if not engine.list_buckets(BUCKET.account_id, limit=1).items:
            engine.put_bucket(BUCKET, buckets_max=MANY)
        yield engine
    finally:
        engine.close()


def put_index(engine: EmbeddedEngine, name: str = "vectors", dimension: int = 4) -> Index:
    """Make an index in BUCKET."""
    return engine.put_index(make_index(dimension, name=name), indexes_max=MANY)


def nearest_keys(engine: EmbeddedEngine, index: Index, top_k: int = 1_000) -> list[str]:
    """Return the keys that a query for everything finds, nearest to the origin first."""
    asked = Query(np.zeros((1, index.dimension), np.float32), top_k, return_metadata=True)
    return [hit.key for hit in engine.query_vectors(index, asked)[0]]


def all_vectors(engine: EmbeddedEngine, index: Index) -> dict[str, Vector]:
    """Return all vectors by key."""
    return {vector.key: vector for vector in list_all(engine, index)}


def nothing(*_: object) -> None:
    """Stand for what nobody needs to be told."""


def make_budget(limit_bytes: int = 0, rooms: Sequence[OpenIndex] = ()) -> MemoryBudget[OpenIndex]:
    """Return a budget for these rooms, of which nothing is taken; 0 is more than any test needs."""
    return MemoryBudget(limit_bytes, lambda: rooms, nothing)


def make_room(
    store: Store,
    options: EmbeddedOptions,
    index: Index,
    notes: Notes | None = None,
    *,
    budget: MemoryBudget[OpenIndex] | None = None,
    work_came: Callable[[], None] = nothing,
    loaded: bool = True,
) -> OpenIndex:
    """Return an index without engine or background threads, its state written if it has none."""
    key = state_key(index.index_id)
    if store.get(Family.CATALOG, key) is None:
        made = store.batch()
        made.put(Family.CATALOG, key, encode_state(IndexState(1, 0, 0)))
        store.write(made)
    budget, notes = budget or make_budget(), notes or Notes()
    room = OpenIndex(index, store, options, notes, budget=budget, work_came=work_came)
    if loaded:
        room.load(NO_DEADLINE)
    return room


def records_of(store: Store, family: Family) -> dict[bytes, bytes]:
    """Return everything that a family holds."""
    return dict(store.scan(family, b"", b"\xff" * 17))


class Refusals:
    """Stands before a store's writes: counts them, and while ``on`` refuses them."""

    def __init__(self, store: Store) -> None:
        self.on = False
        self.written = 0
        self._left: int | None = None
        self._write = store.write

    def refuse_after(self, count: int) -> None:
        """Let so many more writes through, then refuse."""
        self.on, self._left = False, count

    def __call__(self, made: Any) -> None:
        """Write, or refuse to."""
        if self._left is not None:
            self.on, self._left = not self._left, self._left - 1
        if self.on:
            self._left = None
            raise ServiceUnavailable("the store refused a write: no space left")
        self._write(made)
        self.written += 1


@contextmanager
def files_no_longer_than(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow past a size, as a full disk would not."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN, "the process would be killed"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- Threads and waiting --------------------------------------------------------------------------


def eventually(holds: Callable[[], object], what: str) -> None:
    """Return once something holds; fail if it takes longer than anything here can take."""
    given_up = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < given_up, f"still not so: {what}"
        time.sleep(0.001)


def refused(call: Callable[[], T]) -> T | Exception:
    """Return what a call returned, or the exception that it raised."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the test looks at what it is
        return error


def together(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Run calls in a thread each, all begun at once; return what came of each, in order."""
    outcomes: dict[int, object] = {}
    barrier = threading.Barrier(len(calls))

    def run(position: int) -> None:
        barrier.wait(WITHIN_S)
        outcomes[position] = refused(calls[position])

    positions = range(len(calls))
    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in positions]
    with restless():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WITHIN_S)
    assert len(outcomes) == len(calls), "a thread hangs"
    return [outcomes[position] for position in positions]


@contextmanager
def restless() -> Iterator[None]:
    """Let threads take turns much more often than they would, so that races come about."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@contextmanager
def running(call: Callable[[], object], *, times: int = 1) -> Iterator[list[threading.Thread]]:
    """Run a call beside the block, in ``times`` threads; check at the end that none failed."""
    failures: list[Exception] = []

    def run() -> None:
        error = refused(call)
        if isinstance(error, Exception):
            failures.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(times)]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(WITHIN_S)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if failures:
        raise failures[0]


def in_child(program: str, *arguments: object) -> str:
    """Run a program in a Python process of its own and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Standing:
    """Stands before an object, so that a test can put something of its own before a method."""

    def __init__(self, behind: Any, **methods: Callable[..., Any]) -> None:
        self._behind = behind
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)


class Gate:
    """Stands before a store's sync: counts it, holds it, and lets it fail."""

    def __init__(self, store: Store) -> None:
        self.begun = 0
        self.done = 0
        self.failing = False
        self._open = threading.Event()
        self._open.set()
        self._one = threading.Semaphore(0)
        self._sync = store._db.flush_wal
        store._db = Standing(store._db, flush_wal=self)  # type: ignore[assignment]

    def __call__(self, sync: bool) -> None:  # noqa: FBT001 - as RocksDB is called
        """Sync, when the test lets it."""
        assert sync
        self.begun += 1
        failing = self.failing
        if not self._open.is_set():
            assert self._one.acquire(timeout=WITHIN_S)
        if failing:
            raise OSError("Input/output error")
        self._sync(sync)
        self.done += 1

    def shut(self) -> None:
        """Hold every sync that begins from now on."""
        self._open.clear()

    def open(self) -> None:
        """Hold no sync any longer."""
        self._open.set()
        self._one.release()

    def let_one_through(self) -> None:
        """Let one sync end."""
        self._one.release()

    def reached(self, count: int) -> None:
        """Return once so many syncs have begun."""
        eventually(lambda: self.begun >= count, f"{count} syncs have begun")
