"""Files of graphs that are not what was written: time is lost, and nothing else.

Method: a real engine over one directory; answers are compared with those of every vector looked at.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from engines.recipes import WatchingObserver, ask_graphs
from engines.subject import content_of, list_all, wait_until_indexed
from long_runs import Rounds
from oracles import Float32Array, draw_mixture
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.filters.expression import Equals, Expression
from vectorbucket_server.model import Bucket, DistanceMetric, Index, Metadata, Query, VectorBatch

DIMENSION = 16
COUNT = 600
NAMES = ("graph.hnsw", "slots.npy", "metadata.bin", "column.f32", "codes.i8", "keys")
"""The files of a checkpoint; the last three are shared by all of a generation's."""

SHARED_BYTES = 1_500
"""The first bytes of each of them, which every checkpoint of these tests holds."""


class Place:
    """A directory, what was put into it, and the engines that open it, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.rows: dict[str, Float32Array] = {}
        self.observer = WatchingObserver()

    @contextmanager
    def opened(self) -> Iterator[EmbeddedEngine]:
        """Yield an engine over the directory, which saves what it can when it is closed."""
        options = EmbeddedOptions(
            self.data_dir,
            graph_rows_min=50,
            checkpoint_changes_min=100,
            checkpoint_changes_share=0.0,
            indexer_threads=1,
        )
        engine = EmbeddedEngine(options, self.observer)
        engine.open()
        try:
            yield engine
        finally:
            engine.close()

    def put(self, engine: EmbeddedEngine, first: int, count: int, seed: int) -> None:
        """Put vectors, over those that have their keys, and wait until they are indexed."""
        index = index_of(engine)
        keys = [f"k{number:04}" for number in range(first, first + count)]
        rows = draw_mixture(count, DIMENSION, seed=60, draw=seed)
        metadata: list[Metadata] = [
            {"even": number % 2 == 0, "key": key} for number, key in enumerate(keys)
        ]
        assert engine.put_vectors(index, VectorBatch(tuple(keys), rows, tuple(metadata)))
        self.rows.update(zip(keys, rows, strict=True))
        wait_until_indexed(engine, index)

    def delete(self, engine: EmbeddedEngine, first: int, count: int) -> None:
        """Delete vectors."""
        keys = [f"k{number:04}" for number in range(first, first + count)]
        engine.delete_vectors(index_of(engine), keys)
        for key in keys:
            self.rows.pop(key, None)

    def check(self, engine: EmbeddedEngine) -> None:
        """Check every kind of answer."""
        index = index_of(engine)
        content = content_of(list(list_all(engine, index)))
        assert {key: data for key, (data, _) in content.items()} == {
            key: row.tobytes() for key, row in self.rows.items()
        }
        assert engine.index_statistics(index).vector_count == len(self.rows)
        for _ in range(2):  # while changes since the checkpoint are pending, and when they are not
            self._check_queries(engine, index, None, sorted(self.rows))
            even = sorted(key for key in self.rows if content[key][1]["even"])
            self._check_queries(engine, index, Equals("even", value=True), even)
            wait_until_indexed(engine, index)

    def _check_queries(
        self, engine: EmbeddedEngine, index: Index, expression: Expression | None, keys: list[str]
    ) -> None:
        rows = np.stack([self.rows[key] for key in keys]).astype(np.float64)
        queries = draw_mixture(10, DIMENSION, seed=60, draw=99)
        found = engine.query_vectors(index, Query(queries, 10, expression, ef_search=1_000))
        for query, hits in zip(queries, found, strict=True):
            far = np.sqrt(((rows - query) ** 2).sum(axis=1))
            nearest = [keys[place] for place in np.argsort(far, kind="stable")[:10]]
            assert [hit.key for hit in hits] == nearest
            assert [hit.distance for hit in hits] == pytest.approx(sorted(far)[:10], rel=1e-5)


def index_of(engine: EmbeddedEngine) -> Index:
    """Return the index."""
    return engine.get_index("things", "vectors")


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a directory with an index that was saved twice, and closed."""
    ask_graphs(monkeypatch)
    place = Place(tmp_path)
    with place.opened() as engine:
        engine.put_bucket(Bucket("things", "1", 0), buckets_max=1)
        index = Index("things", "vectors", DIMENSION, DistanceMetric.EUCLIDEAN)
        assert engine.put_index(index, indexes_max=1).index_id == 1
        place.put(engine, 0, COUNT - 200, seed=1)
    with place.opened() as engine:
        place.put(engine, COUNT - 250, 250, seed=2)
        place.delete(engine, 0, 40)
    assert len(list(place.data_dir.glob("generations/1/*/checkpoint-*"))) == 2
    assert not place.observer.failures
    return place


@pytest.fixture(name="loads")
def fixture_loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files that hnswlib was given."""
    given: list[Path] = []
    load = Graph.load

    def noted(path: Path, **named: object) -> Graph:
        given.append(path)
        return load(path, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Graph, "load", noted)
    return given


def files_of(place: Place, name: str) -> list[Path]:
    """Return the files of this name, the newest checkpoint's last."""
    found = place.data_dir.glob(f"generations/1/*/**/{name}")
    # By number: checkpoint-10 is newer than checkpoint-9.
    return sorted(
        found, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path.parent))]
    )


def test_clean_stop_leaves_nothing_to_do_for_the_next_start(
    place: Place, loads: list[Path]
) -> None:
    indexed = place.observer.indexed
    with place.opened() as engine:
        wait_until_indexed(engine, index_of(engine))
        place.check(engine)
    assert loads == files_of(place, "graph.hnsw")[-1:]
    assert place.observer.indexed == indexed, "the graph was not built again"
    assert not place.observer.failures


@pytest.mark.parametrize("name", NAMES)
def test_flipped_byte_in_a_file_is_told_and_costs_no_answer(
    place: Place, loads: list[Path], name: str, rounds: Rounds
) -> None:
    rng = np.random.default_rng(NAMES.index(name))
    for _ in range(rounds(1, 25)):
        older = files_of(place, "graph.hnsw")[:-1]
        loads.clear()
        path = files_of(place, name)[-1]
        content = bytearray(path.read_bytes())
        # Within the newest one's own file, or within what both checkpoints hold.
        bound = len(content) if name in NAMES[:3] else SHARED_BYTES
        content[int(rng.integers(bound))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        with place.opened() as engine:
            place.check(engine)
            # The damaged checkpoint's graph never is; what both share takes both with it.
            assert loads == (older if name in NAMES[:3] else [])
        assert place.observer.failures
        assert all("checkpoint" in told for told in place.observer.failures)
        place.observer.failures.clear()
        # What is left is good again: the next start is told nothing.
        with place.opened() as engine:
            place.check(engine)
        assert not place.observer.failures


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:SHARED_BYTES]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("name", NAMES)
def test_damaged_file_costs_no_answer(place: Place, name: str, what: str) -> None:
    DAMAGE[what](files_of(place, name)[-1])
    with place.opened() as engine:
        place.check(engine)
    assert place.observer.failures


def test_deleting_every_graph_file_loses_nothing_but_time(place: Place, loads: list[Path]) -> None:
    shutil.rmtree(place.data_dir / "generations")
    with place.opened() as engine:
        place.check(engine)
    assert loads == []
    assert len(place.observer.failures) == 2
    place.observer.failures.clear()
    with place.opened() as engine:
        place.check(engine)
    assert len(loads) == 1
    assert not place.observer.failures


def test_deleting_the_newest_checkpoint_falls_back_to_the_one_before(
    place: Place, loads: list[Path]
) -> None:
    older, newest = files_of(place, "graph.hnsw")
    shutil.rmtree(newest.parent)
    with place.opened() as engine:
        place.check(engine)
    assert loads == [older]
    assert len(place.observer.failures) == 1


def test_store_that_is_older_than_its_checkpoint_is_right(place: Place) -> None:
    store, copy = place.data_dir / "store", place.data_dir.parent / "copy"
    shutil.copytree(store, copy)
    before = dict(place.rows)
    with place.opened() as engine:
        place.put(engine, 100, 300, seed=3)  # over others
        place.put(engine, 5_000, 300, seed=4)
        place.delete(engine, 500, 50)
    with place.opened() as engine:
        place.put(engine, 6_000, 300, seed=5)
        place.check(engine)
        named = load_checkpoints(engine._store, index_of(engine))
    assert not place.observer.failures
    shutil.rmtree(store)
    shutil.copytree(copy, store)
    place.rows = before
    with place.opened() as engine:
        place.check(engine)
        # Labels are given anew that the lost checkpoints gave to others.
        place.put(engine, 300, 400, seed=6)
        place.check(engine)
        assert load_checkpoints(engine._store, index_of(engine)) != named
    place.observer.failures.clear()
    with place.opened() as engine:
        place.check(engine)
    assert not place.observer.failures


def test_newer_checkpoints_record_in_an_older_store_is_not_believed(place: Place) -> None:
    # The same from the other side: the files are whole and what they say has not happened.
    generations, copy = place.data_dir / "generations", place.data_dir.parent / "copy"
    shutil.copytree(place.data_dir / "store", copy)
    before = dict(place.rows)
    with place.opened() as engine:
        place.put(engine, 200, 300, seed=3)
    newer = [path.relative_to(generations) for path in files_of(place, "graph.hnsw")]
    shutil.rmtree(place.data_dir / "store")
    shutil.copytree(copy, place.data_dir / "store")
    place.rows = before
    with place.opened() as engine:
        place.check(engine)  # which needs the index, so it is loaded after this
        left = [path.relative_to(generations) for path in files_of(place, "graph.hnsw")]
        assert newer[-1] not in left, "what this store does not name is no checkpoint"


def test_generations_of_an_index_that_the_store_does_not_know_are_removed(place: Place) -> None:
    stranger = place.data_dir / "generations" / "2"
    shutil.copytree(place.data_dir / "generations" / "1", stranger)
    with place.opened() as engine:
        assert not stranger.exists()
        place.check(engine)
    assert not place.observer.failures
