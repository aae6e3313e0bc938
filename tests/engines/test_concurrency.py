"""Writers that overwrite the same keys, and readers: nothing missed, nothing stale, nothing mixed.

A vector says twice which version it is: in its metadata and in its last number. Keys lie on a grid
with steps of 100, and a query at a key's place with 0 as last number is at distance version / 1024
from it, exactly. So a hit's distance tells the version of the data, its metadata that of the
metadata, and both must be the same one, and none that had been overwritten when the read began.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from engines.recipes import RECIPES, opened
from engines.subject import Subject
from long_runs import Rounds
from oracles import Float32Array, f32
from vectorbucket.errors import NoSuchVectorIndex
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.rebuild import Rebuild
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.model import Hit, Index, Vector

DIMENSION = 4
STEP = 100.0
VERSION_STEP = 1 / 1024
KEYS = tuple(f"key{number:03d}" for number in range(300))
RECIPE_NAMES = ("embedded-scanning", "embedded-indexing", "embedded-restless")


@pytest.fixture(name="beside", params=RECIPE_NAMES)
def fixture_beside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Yield an engine without a graph, and two whose background threads work all the time."""
    recipe = RECIPES[request.param]
    with opened(recipe, tmp_path) as (subject, observer):
        yield subject
        assert (observer.indexed > 0) is recipe.eager


def row_of(key: str, version: int) -> list[float]:
    """Return the numbers of a version of a key."""
    number = KEYS.index(key)
    place = (number % 7, number // 7 % 7, number // 49)
    return [*(STEP * one for one in place), version * VERSION_STEP]


class History:
    """Which versions were written, and which of them nobody may find any more.

    Versions and moments are ticks of one clock: a version is the moment at which its put began. A
    delete is a version, too, that nobody finds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clock = itertools.count(1)
        self._ended: dict[int, int] = {}
        self._floors = dict.fromkeys(KEYS, 0)

    def write(self, keys: list[str], put: Callable[[int], None]) -> None:
        """Write keys as a new version, or delete them."""
        with self._lock:
            version = next(self._clock)
        put(version)
        with self._lock:
            self._ended[version] = next(self._clock)
            for key in keys:
                self._floors[key] = max(self._floors[key], version)

    def floors(self) -> dict[str, int]:
        """Return by key the last moment at which a write began that has ended by now."""
        with self._lock:
            return dict(self._floors)

    def check(self, key: str, version: int, floors: dict[str, int]) -> None:
        """Check that a reader who took ``floors`` before it began may have found this version.

        It may not if a write that had ended by then began after this version's put had ended.
        """
        ended = self._ended.get(version)
        assert ended is None or ended > floors[key], f"{key} was found as it was before"


class World:
    """An index full of keys, its history, and what readers and writers do."""

    def __init__(self, subject: Subject, seed: int) -> None:
        self.subject = subject
        self.index = subject.put_index(dimension=DIMENSION)
        self.history = History()
        self.steady: Sequence[str] = KEYS
        """The keys that nobody deletes."""
        self._seeds = itertools.count(seed)
        self.put(list(KEYS), 0)

    def rng(self) -> np.random.Generator:
        """Return a generator of its own for each thread."""
        return np.random.default_rng(next(self._seeds))

    def put(self, keys: list[str], writer: int) -> None:
        """Write a new version of keys."""
        self.history.write(
            keys,
            lambda version: self.subject.put(
                self.index,
                keys,
                [row_of(key, version) for key in keys],
                [{"key": key, "version": float(version), "writer": float(writer)} for key in keys],
            ),
        )

    def delete(self, keys: list[str]) -> None:
        """Delete keys."""
        self.history.write(keys, lambda _: self.subject.engine.delete_vectors(self.index, keys))

    def check_vector(self, vector: Vector, floors: dict[str, int]) -> None:
        """Check that data and metadata are of one version that may be seen."""
        assert vector.data is not None
        assert vector.metadata is not None
        version = int(vector.data[-1] / VERSION_STEP)
        assert vector.data.tolist() == row_of(vector.key, version)
        assert vector.metadata["key"] == vector.key
        assert vector.metadata["version"] == version
        self.history.check(vector.key, version, floors)

    def check_hit(self, hit: Hit, query: Float32Array, floors: dict[str, int]) -> None:
        """Check that distance and metadata are of one version that may be seen."""
        assert hit.metadata is not None
        assert hit.metadata["key"] == hit.key
        version = int(float(str(hit.metadata["version"])))
        distance = np.linalg.norm(np.subtract(row_of(hit.key, version), query.astype(np.float64)))
        assert hit.distance == pytest.approx(float(distance), rel=1e-9, abs=VERSION_STEP / 100)
        self.history.check(hit.key, version, floors)

    def get(self, rng: np.random.Generator) -> None:
        """Get some keys: all are there."""
        keys = rng.choice(self.steady, size=20, replace=False).tolist()
        floors = self.history.floors()
        found = self.subject.get(self.index, *keys)
        assert [vector.key for vector in found] == keys
        for vector in found:
            self.check_vector(vector, floors)

    def listing(self, _: np.random.Generator) -> None:
        """List everything, page by page: every key is there once."""
        floors = self.history.floors()
        found = self.subject.listing(self.index, limit=120)
        listed = [vector.key for vector in found]
        assert listed == sorted(set(listed))
        assert set(self.steady) <= set(listed)
        for vector in found:
            self.check_vector(vector, floors)

    def query(self, rng: np.random.Generator) -> None:
        """Query at the places of some keys: each is its own nearest."""
        keys = rng.choice(self.steady, size=3, replace=False).tolist()
        queries = f32([row_of(key, 0) for key in keys])
        floors = self.history.floors()
        for top_k in (1, 4):
            found = self.subject.queries(self.index, queries, top_k=top_k)
            for key, query, hits in zip(keys, queries, found, strict=True):
                assert hits[0].key == key
                assert len({hit.key for hit in hits}) == top_k
                for hit in hits:
                    self.check_hit(hit, query, floors)

    def query_filtered(self, rng: np.random.Generator) -> None:
        """Query with filters: what always matches is always found, and nothing else."""
        key, writer = str(rng.choice(self.steady)), float(rng.integers(2))
        query = f32(row_of(key, 0))
        floors = self.history.floors()
        (hit,) = self.subject.query(self.index, query, raw_filter={"key": key})
        assert hit.key == key
        self.check_hit(hit, query, floors)
        hits = self.subject.query(self.index, query, top_k=3, raw_filter={"writer": writer})
        assert len({hit.key for hit in hits}) == len(hits)
        for hit in hits:
            assert hit.metadata is not None
            assert hit.metadata["writer"] == writer
            self.check_hit(hit, query, floors)


def run_beside(
    writers: Sequence[Callable[[], None]], readers: Sequence[Callable[[], None]]
) -> None:
    """Run writers to their end, readers over and over until then; raise what any of them raised."""
    done = threading.Event()

    def read(once: Callable[[], None]) -> None:
        while True:
            last = done.is_set()
            once()
            if last:
                return

    with ThreadPoolExecutor(len(writers) + len(readers)) as pool:
        reading = [pool.submit(read, reader) for reader in readers]
        writing = [pool.submit(writer) for writer in writers]
        try:
            for one in writing:
                one.result()
        finally:
            done.set()
        for one in reading:
            one.result()


def test_readers_beside_writers_miss_nothing_and_mix_nothing(
    beside: Subject, rounds: Rounds
) -> None:
    world = World(beside, seed=20)

    def overwrite(writer: int) -> None:
        rng = world.rng()
        for _ in range(rounds(120, 5_000)):
            keys = rng.choice(KEYS, size=int(rng.integers(1, 12)), replace=False)
            world.put(keys.tolist(), writer)

    run_beside(
        writers=[partial(overwrite, writer) for writer in range(2)],
        readers=[
            partial(read, world.rng())
            for read in (world.get, world.listing, world.query, world.query_filtered)
        ],
    )
    statistics = beside.engine.index_statistics(world.index)
    assert statistics.vector_count == len(KEYS)
    world.listing(world.rng())
    beside.restart()
    world.listing(world.rng())
    world.query(world.rng())


class Doors:
    """Lets readers in one at a time each, and everybody out when it is to be quiet."""

    def __init__(self, count: int) -> None:
        self._doors = [threading.Lock() for _ in range(count)]

    def through(self, number: int, read: Callable[[], None]) -> None:
        """Read behind a door of one's own."""
        with self._doors[number]:
            read()

    def when_all_are_out(self, act: Callable[[], int]) -> int:
        """Do something while nobody reads."""
        with ExitStack() as held:
            for door in self._doors:
                held.enter_context(door)
            return act()


def test_queries_beside_puts_deletes_rebuilds_checkpoints_and_unloading_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: Rounds
) -> None:
    rebuilt, finish = [0], Rebuild.finish

    def finished(rebuild: Rebuild, rows_max: int) -> bool:
        swapped = finish(rebuild, rows_max)
        rebuilt[0] += swapped
        return swapped

    monkeypatch.setattr(Rebuild, "finish", finished)
    with opened(RECIPES["embedded-restless"], tmp_path) as (subject, _):
        world = World(subject, seed=40)
        world.steady, wandering = KEYS[::2], KEYS[1::2]
        engine = cast("EmbeddedEngine", subject.engine)
        doors, left = Doors(3), [0]
        until = time.monotonic() + rounds(2, 60)

        def going_on(act: Callable[[np.random.Generator], None]) -> Callable[[], None]:
            def run() -> None:
                rng = world.rng()
                # A rebuild keeps the index in memory and leaving puts one off, so on a busy machine
                # either may take longer.
                while (now := time.monotonic()) < until or (
                    not (left[0] and rebuilt[0]) and now < until + 60
                ):
                    act(rng)

            return run

        def put(rng: np.random.Generator) -> None:
            world.put(rng.choice(KEYS, size=int(rng.integers(1, 40)), replace=False).tolist(), 0)

        def delete(rng: np.random.Generator) -> None:
            world.delete(rng.choice(wandering, size=int(rng.integers(1, 20))).tolist())

        def unload(_: np.random.Generator) -> None:
            left[0] += doors.when_all_are_out(
                lambda: sum(opened.unload() for opened in engine._rooms())
            )

        readers = [
            partial(doors.through, number, partial(read, world.rng()))
            for number, read in enumerate((world.query, world.query_filtered, world.listing))
        ]
        run_beside([going_on(act) for act in (put, delete, unload)], readers)
        assert left[0], "it never left memory"
        assert rebuilt[0], "it was never rebuilt"
        assert load_checkpoints(engine._store, world.index), "it was never saved"
        for _ in range(2):
            for read in (world.query, world.query_filtered, world.listing, world.get):
                read(world.rng())
            subject.restart()


def test_each_writer_reads_its_own_writes_beside_the_others(
    beside: Subject, rounds: Rounds
) -> None:
    world = World(beside, seed=30)

    def come_and_go(writer: int) -> None:
        mine = KEYS[writer::4]
        rng = world.rng()
        for _ in range(rounds(40, 1_500)):
            key = str(rng.choice(mine))
            place = f32(row_of(key, 0))
            world.put([key], writer)
            (hit,) = beside.query(world.index, place, top_k=1)
            assert hit.key == key
            world.check_hit(hit, place, world.history.floors())
            beside.engine.delete_vectors(world.index, [key])
            (hit,) = beside.query(world.index, place, top_k=1)
            assert hit.key != key
            assert beside.query(world.index, place, raw_filter={"key": key}) == []
            assert beside.get(world.index, key) == []
            world.put([key], writer)

    run_beside([partial(come_and_go, writer) for writer in range(4)], readers=[])
    assert tuple(beside.keys(world.index)) == KEYS


def test_index_that_is_dropped_and_made_again_shows_nothing_of_the_old_one(
    beside: Subject, rounds: Rounds
) -> None:
    current = [beside.put_index(dimension=DIMENSION)]
    going_on = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if going_on.is_set():
                return
            index = current[0]
            keys = [f"{number % 50}-{part}" for part in range(5)]
            try:
                beside.put(
                    index, keys, [[number, 1, 1, 1]] * 5, [{"of": float(index.index_id)}] * 5
                )
            except NoSuchVectorIndex:
                continue

    def read() -> None:
        index: Index = current[0]
        place = [0.0, 1.0, 1.0, 1.0]
        try:
            found = [
                *(vector.metadata for vector in beside.listing(index, limit=40)),
                *(hit.metadata for hit in beside.query(index, place, top_k=20)),
                *(vector.metadata for vector in beside.get(index, "1-0", "2-0", "3-0")),
            ]
        except NoSuchVectorIndex:
            return
        assert all(metadata == {"of": float(index.index_id)} for metadata in found)

    def drop() -> None:
        try:
            for _ in range(rounds(25, 600)):
                beside.engine.delete_index(current[0])
                current[0] = beside.put_index(dimension=DIMENSION)
                beside.put(current[0], ["first"], [[1] * 4], [{"of": float(current[0].index_id)}])
        finally:
            going_on.set()

    run_beside(writers=[drop, write, write], readers=[read, read])
    kept = beside.content(current[0])
    assert "first" in kept
    beside.restart()
    assert beside.content(beside.engine.get_index("things", "vectors")) == kept
