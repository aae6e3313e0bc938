"""The engine's disk: what outlives it, what it refuses to open, and what it leaves behind."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.subject import wait_until_indexed
from oracles import draw_noise
from rooms import (
    BUCKET,
    MANY,
    NEVER,
    Notes,
    all_vectors,
    batch,
    eventually,
    in_child,
    make_index,
    make_options,
    nearest_keys,
    numbered,
    opened_engine,
    opened_store,
    put_index,
    refused,
)
from vectorbucket.errors import (
    Corruption,
    NoSuchVectorIndex,
    ServiceUnavailable,
)
from vectorbucket_server.engine.base import Capabilities
from vectorbucket_server.engine.embedded.catalog import Catalog
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.schema import (
    FORMAT_KEY,
    Family,
    bucket_key,
    encode_number,
    index_range,
)
from vectorbucket_server.model import DistanceMetric, GraphOptions, Query

BACKGROUND = {"indexer", "reaper", "saver"}


def threads_of_engines() -> list[threading.Thread]:
    """Return the background threads of all engines."""
    return [one for one in threading.enumerate() if one.name in BACKGROUND]


def test_engine_says_what_it_can() -> None:
    engine = EmbeddedEngine(make_options(Path("never opened")))
    assert engine.capabilities == Capabilities(
        read_your_writes=True,
        atomic_batches=True,
        persistent=True,
        exact_search=False,
        filter_pushdown=True,
        backups=True,
        graphs=True,
        visible_at_once=True,
        any_length=True,
    )
    engine.close()
    assert not Path("never opened").exists()


@pytest.mark.parametrize("graph_rows_min", [1, NEVER])
@pytest.mark.parametrize("sync_writes", [True, False])
def test_everything_outlives_the_engine(
    tmp_path: Path, graph_rows_min: int, *, sync_writes: bool
) -> None:
    changes: dict[str, Any] = {"graph_rows_min": graph_rows_min, "sync_writes": sync_writes}
    with opened_engine(tmp_path, **changes) as engine:
        index = put_index(engine)
        gone = put_index(engine, "gone")
        engine.put_vectors(index, numbered(20)[0])
        engine.put_vectors(index, batch(["k3"], [[99, 0, 0, 0]], [{"n": "new"}]))
        engine.delete_vectors(index, ["k5", "k6"])
        engine.delete_index(gone)
        before = (nearest_keys(engine, index), all_vectors(engine, index))
    for _ in range(2):
        with opened_engine(tmp_path, **changes) as engine:
            assert engine.list_buckets(BUCKET.account_id, limit=9).items == [BUCKET]
            assert engine.list_indexes(BUCKET.name, limit=9).items == [index]
            assert engine.index_statistics(index).vector_count == 18
            assert nearest_keys(engine, index) == before[0]
            again = all_vectors(engine, index)
            assert {key: vector.metadata for key, vector in again.items()} == {
                key: vector.metadata for key, vector in before[1].items()
            }
            wait_until_indexed(engine, index)
            assert nearest_keys(engine, index) == before[0]
    assert before[0][-1] == "k3"


def test_engine_can_be_closed_twice_and_leaves_no_threads(tmp_path: Path) -> None:
    before = threads_of_engines()
    engine = EmbeddedEngine(make_options(tmp_path))
    engine.open()
    assert len(threads_of_engines()) == len(before) + len(BACKGROUND)
    engine.close()
    engine.close()
    assert threads_of_engines() == before


def test_closing_lets_go_of_every_index(engine: EmbeddedEngine) -> None:
    for name in ("a", "b"):
        engine.put_vectors(put_index(engine, name), numbered(5)[0])
    rooms = engine._rooms()
    assert all(room.generation for room in rooms)
    engine.close()
    assert [room.generation for room in rooms] == [None, None]
    assert engine._budget.taken_bytes == 0


def generations_of(folder: Path) -> Path:
    """Return where the generations of an engine are."""
    return folder / "data" / "generations"


def test_generations_that_no_checkpoint_needs_are_removed_when_their_index_is_loaded(
    tmp_path: Path,
) -> None:
    with opened_engine(tmp_path) as engine:
        index = put_index(engine)
        engine.put_vectors(index, numbered(3)[0])
    left = generations_of(tmp_path) / str(index.index_id) / "7"
    left.mkdir()
    (left / "column.f32").write_bytes(b"of a process that was killed")
    with opened_engine(tmp_path) as engine:
        assert nearest_keys(engine, index) == ["k0", "k1", "k2"]
        assert not left.exists()


def test_generations_of_indexes_that_the_catalogue_does_not_know_are_removed_at_open(
    tmp_path: Path,
) -> None:
    with opened_engine(tmp_path) as engine:
        index = put_index(engine)
        engine.put_vectors(index, numbered(3)[0])
    known = generations_of(tmp_path) / str(index.index_id)
    for stranger in (str(index.index_id + 1), "99", "of nobody"):
        (generations_of(tmp_path) / stranger / "1").mkdir(parents=True)
    with opened_engine(tmp_path) as engine:
        assert list(generations_of(tmp_path).iterdir()) == [known]
        # As a store would that was restored from an older copy.
        again = put_index(engine, "again")
        engine.put_vectors(again, numbered(2)[0])
        assert nearest_keys(engine, again) == ["k0", "k1"]


def test_generations_of_a_drop_under_way_are_left_to_the_reaper(tmp_path: Path) -> None:
    with opened_engine(tmp_path) as engine:
        index = put_index(engine)
    (generations_of(tmp_path) / str(index.index_id) / "1").mkdir(parents=True, exist_ok=True)
    with opened_store(tmp_path) as store:
        Catalog(store).drop_index(index)
    with opened_engine(tmp_path) as engine:
        eventually(lambda: not engine._catalog.drops(), "the drop is finished")
        assert not list(generations_of(tmp_path).iterdir())


def test_graph_that_was_saved_at_the_end_is_there_at_the_start(tmp_path: Path) -> None:
    notes = Notes()
    with opened_engine(tmp_path, graph_rows_min=1) as engine:
        index = put_index(engine)
        engine.put_vectors(index, numbered(300)[0])
        wait_until_indexed(engine, index)
        before = nearest_keys(engine, index)
    with opened_engine(tmp_path, notes, graph_rows_min=1) as engine:
        assert nearest_keys(engine, index) == before
        assert engine.index_statistics(index).pending_vector_count == 0
    assert notes.turns == []
    assert notes.failures == []


def test_graph_of_an_index_is_the_same_whatever_the_engine_is_told_later(tmp_path: Path) -> None:
    with opened_engine(tmp_path, m=5, ef_construction=30) as engine:
        index = put_index(engine)
        named = replace(make_index(name="named"), graph=GraphOptions(m=9, ef_search=11))
        other = engine.put_index(named, indexes_max=MANY)
    with opened_engine(tmp_path, m=7, ef_construction=70) as engine:
        assert engine.get_index(BUCKET.name, "vectors") == index
        assert index.graph == GraphOptions(m=5, ef_construction=30)
        assert engine.get_index(BUCKET.name, "named") == other
        assert other.graph == GraphOptions(m=9, ef_construction=30, ef_search=11)


def test_data_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    with opened_engine(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / "data" / "store").is_dir()


@pytest.mark.parametrize("place", ["data", "data/generations"])
def test_file_in_the_way_is_told_and_the_store_left_free(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("in the way")
    engine = EmbeddedEngine(make_options(tmp_path))
    with pytest.raises(ServiceUnavailable, match=rf"{tmp_path}/data cannot be used: File exists"):
        engine.open()
    engine.close()
    (tmp_path / place).unlink()
    with opened_engine(tmp_path):
        pass


def test_store_of_another_format_is_refused_and_left_free(tmp_path: Path) -> None:
    for version, kind in ((7, ServiceUnavailable), (1, None)):
        with opened_store(tmp_path) as store:
            made = store.batch()
            made.put(Family.CATALOG, FORMAT_KEY, encode_number(version))
            store.write(made)
        engine = EmbeddedEngine(make_options(tmp_path))
        outcome = refused(engine.open)
        assert type(outcome) is (kind or type(None))
        engine.close()


def test_broken_catalogue_is_named_and_left_free(tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        made = store.batch()
        made.put(Family.CATALOG, bucket_key("x"), b"{")
        store.write(made)
    for _ in range(2):
        with pytest.raises(Corruption, match=bucket_key("x").hex()):
            EmbeddedEngine(make_options(tmp_path)).open()


OPEN_AGAIN = """
import sys
from pathlib import Path
from typing import Any
from rooms import opened_engine, refused

def open_again():
    with opened_engine(Path(sys.argv[1])) as engine:
        return [index.name for index in engine.list_indexes("things", limit=9).items]

print(repr(refused(open_again)))
"""


def test_second_process_is_refused_while_the_first_serves(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    put_index(engine)
    assert in_child(OPEN_AGAIN, tmp_path).startswith("ServiceUnavailable(")
    engine.close()
    assert in_child(OPEN_AGAIN, tmp_path) == "['vectors']"


def test_corrupt_index_fails_alone(tmp_path: Path) -> None:
    notes = Notes()
    with opened_engine(tmp_path) as engine:
        broken, sound = put_index(engine, "broken"), put_index(engine, "sound")
        for index in (broken, sound):
            engine.put_vectors(index, numbered(3)[0])
    with opened_store(tmp_path) as store:
        made = store.batch()
        made.delete_range(Family.DATA, *index_range(broken.index_id))
        store.write(made)
    with opened_engine(tmp_path, notes) as engine:
        for _ in range(2):
            with pytest.raises(Corruption, match="family data"):
                nearest_keys(engine, broken)
        assert nearest_keys(engine, sound) == ["k0", "k1", "k2"]
        eventually(lambda: notes.failures, "the failed loading is told")
        assert notes.failures[0][0] == "loading of 'broken'"
        engine.delete_index(broken)
        with pytest.raises(NoSuchVectorIndex):
            nearest_keys(engine, broken)


def test_metric_of_an_index_is_kept(tmp_path: Path) -> None:
    rows = draw_noise(30, 8, seed=1)
    with opened_engine(tmp_path) as engine:
        cosine = make_index(8, DistanceMetric.COSINE, name="cosine")
        made = engine.put_index(cosine, indexes_max=MANY)
        engine.put_vectors(made, batch([f"k{number}" for number in range(30)], rows))
        asked = Query(rows[:5] * np.float32(7), 5)
        before = engine.query_vectors(made, asked)
    assert all(hits[0].distance == pytest.approx(0, abs=1e-6) for hits in before)
    with opened_engine(tmp_path) as engine:
        assert engine.query_vectors(made, asked) == before
