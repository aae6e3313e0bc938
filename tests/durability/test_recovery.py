"""What a start finds: everything, whatever became of the hints, whatever was cut short."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from engines.subject import MANY, Subject, content_of, list_all
from oracles import draw_mixture, random_grid
from vectorbucket.errors import ServiceUnavailable, VectorBucketError
from vectorbucket_server.engine.embedded.catalog import Catalog
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    DROP_PREFIX,
    FORMAT_KEY,
    FORMAT_VERSION,
    Family,
    encode_number,
    index_range,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Index

VECTOR_FAMILIES = (Family.VECTORS, Family.ROWS, Family.DATA, Family.CHANGES)
COUNT = 200


def options(folder: Path) -> EmbeddedOptions:
    """Return options under which small indexes have graphs."""
    return EmbeddedOptions(data_dir=folder / "data", graph_rows_min=50)


@contextmanager
def store_of(folder: Path) -> Iterator[Store]:
    """Yield the store of an engine that is closed."""
    store = Store(folder / "data" / "store", options(folder))
    try:
        yield store
    finally:
        store.close()


@pytest.fixture(name="filled")
def fixture_filled(tmp_path: Path) -> Iterator[tuple[Subject, Index]]:
    """Yield an engine with an index that has seen puts, overwrites and deletes."""
    subject = Subject(lambda: EmbeddedEngine(options(tmp_path)), settles=True)
    index = subject.put_index(dimension=16)
    keys = [f"k{number:03d}" for number in range(COUNT)]
    data = draw_mixture(COUNT, 16, seed=60)
    subject.put(index, keys, data, [{"n": float(number)} for number in range(COUNT)])
    subject.put(index, keys[:40], data[:40] * 2, [{"again": True}] * 40)
    subject.engine.delete_vectors(index, keys[30:60])
    yield subject, index
    subject.close()


def records(store: Store, index_id: int) -> dict[Family, int]:
    """Return how many records of an index each family holds."""
    return {
        family: sum(1 for _ in store.scan(family, *index_range(index_id)))
        for family in VECTOR_FAMILIES
    }


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when a condition holds that background work brings about."""
    pause = threading.Event()
    for tries in itertools.count():
        if holds():
            return
        assert tries < 3_000, "it never came to hold"
        pause.wait(0.01)


def test_restart_finds_everything(filled: tuple[Subject, Index]) -> None:
    subject, index = filled
    before = subject.content(index)
    statistics = subject.engine.index_statistics(index)
    queries = draw_mixture(20, 16, seed=60, draw=1)
    found = subject.queries(index, queries, top_k=5)
    for _ in range(2):
        subject.restart()
        assert subject.engine.get_index("things", "vectors") == index
        assert subject.content(index) == before
        assert subject.engine.index_statistics(index).vector_count == statistics.vector_count
        assert subject.queries(index, queries, top_k=5) == found


def test_deleting_every_hint_loses_nothing(filled: tuple[Subject, Index], tmp_path: Path) -> None:
    subject, index = filled
    subject.settle(index)
    before = subject.content(index)
    found = subject.queries(index, draw_mixture(20, 16, seed=60, draw=1), top_k=5)
    subject.close()
    kept = tmp_path / "data" / "store"
    for path in (tmp_path / "data").iterdir():
        if path != kept:
            shutil.rmtree(path)
    subject.restart()
    assert subject.content(index) == before
    assert subject.queries(index, draw_mixture(20, 16, seed=60, draw=1), top_k=5) == found
    subject.settle(index)
    assert subject.queries(index, draw_mixture(20, 16, seed=60, draw=1), top_k=5) == found


def test_garbage_among_the_hints_is_not_believed(
    filled: tuple[Subject, Index], tmp_path: Path
) -> None:
    subject, index = filled
    subject.settle(index)
    before = subject.content(index)
    subject.close()
    garbage = tmp_path / "data" / "generations" / str(index.index_id) / "1"
    garbage.mkdir(parents=True, exist_ok=True)
    for name in ("column.f32", "graph.bin", "manifest.json"):
        (garbage / name).write_bytes(b"\xff" * 5_000)
    subject.restart()
    assert subject.content(index) == before
    hits = subject.query(index, draw_mixture(COUNT, 16, seed=60)[100], top_k=1)
    assert (hits[0].key, hits[0].distance) == ("k100", 0.0)


def test_drop_that_a_crash_cut_short_is_finished_at_the_next_start(
    filled: tuple[Subject, Index], tmp_path: Path
) -> None:
    subject, index = filled
    other = subject.put_index("other", dimension=16)
    subject.put(other, ["kept"], np.ones((1, 16)))
    subject.close()
    with store_of(tmp_path) as store:
        # As far as the first of the two steps: the definition is gone, the records are not.
        Catalog(store).drop_index(index)
        assert records(store, index.index_id)[Family.DATA] >= COUNT - 30
    subject.restart()
    store = subject.engine._store  # type: ignore[attr-defined]
    wait_until(lambda: not list(store.scan(Family.CATALOG, DROP_PREFIX, DROP_PREFIX + b"\xff")))
    assert records(store, index.index_id) == dict.fromkeys(VECTOR_FAMILIES, 0)
    assert store.get(Family.CATALOG, state_key(index.index_id)) is None
    assert subject.keys(other) == ["kept"]
    again = subject.put_index(dimension=16)
    assert again.index_id not in {index.index_id, other.index_id}
    assert subject.keys(again) == []


def test_rows_that_died_before_a_start_are_removed_after_it(
    filled: tuple[Subject, Index], tmp_path: Path
) -> None:
    subject, index = filled
    live = len(subject.keys(index))
    subject.restart()
    subject.query(index, np.ones(16))
    store = subject.engine._store  # type: ignore[attr-defined]
    wanted = {Family.VECTORS: live, Family.ROWS: live, Family.DATA: live, Family.CHANGES: 0}
    wait_until(lambda: records(store, index.index_id) == wanted)
    subject.close()
    with store_of(tmp_path) as closed:
        assert records(closed, index.index_id) == wanted
    subject.restart()


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, 2**40])
def test_store_of_another_format_version_is_refused(
    version: int, filled: tuple[Subject, Index], tmp_path: Path
) -> None:
    subject, _ = filled
    before = subject.content(subject.engine.get_index("things", "vectors"))
    subject.close()

    def write(number: int) -> None:
        with store_of(tmp_path) as store:
            batch = store.batch()
            batch.put(Family.CATALOG, FORMAT_KEY, encode_number(number))
            store.write(batch)

    write(version)
    with pytest.raises(ServiceUnavailable, match=f"format version {version}; .* {FORMAT_VERSION}$"):
        EmbeddedEngine(options(tmp_path)).open()
    write(FORMAT_VERSION)
    # Refused, not harmed, and let go of.
    subject.restart()
    assert subject.content(subject.engine.get_index("things", "vectors")) == before


def test_second_engine_on_a_directory_is_refused(
    filled: tuple[Subject, Index], tmp_path: Path
) -> None:
    subject, index = filled
    with pytest.raises(ServiceUnavailable, match="in use by another process"):
        EmbeddedEngine(options(tmp_path)).open()
    # The first one is none the worse for it.
    subject.put(index, ["after"], np.ones((1, 16)))
    assert "after" in subject.keys(index)
    hits = subject.query(index, np.ones(16), top_k=1)
    assert hits[0].key == "after"


def test_directory_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    with pytest.raises(ServiceUnavailable, match=str(tmp_path / "data")):
        EmbeddedEngine(options(tmp_path)).open()


def test_refused_engine_can_be_closed(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    engine = EmbeddedEngine(options(tmp_path))
    with pytest.raises(VectorBucketError):
        engine.open()
    engine.close()
    engine.close()


def test_many_indexes_are_found_again_each_with_its_own(tmp_path: Path) -> None:
    subject = Subject(lambda: EmbeddedEngine(options(tmp_path)), settles=False)
    rng = np.random.default_rng(61)
    expected = {}
    for number in range(12):
        index = subject.put_index(f"i{number}", dimension=number + 1)
        rows = random_grid(rng, 80, number + 1)
        subject.put(index, [f"{number}-{key}" for key in range(80)], rows)
        expected[index.name] = subject.content(index)
    subject.restart()
    indexes = subject.engine.list_indexes("things", limit=MANY).items
    found = {one.name: content_of(list(list_all(subject.engine, one))) for one in indexes}
    assert found == expected
    subject.close()
