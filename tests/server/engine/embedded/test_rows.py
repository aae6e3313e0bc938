"""Rows come into the next view all at once, die by seq, stay as they were, and outlive a restart.

Method: the one writer is played by hand; what a checkpoint holds of rows is taken from a view, as
checkpoint.py takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from oracles import draw_noise
from rooms import files_no_longer_than, make_index
from vectorbucket_server.engine.embedded import codes
from vectorbucket_server.engine.embedded.labels import LabelArray
from vectorbucket_server.engine.embedded.rows import (
    CODES_FILE,
    COLUMN_FILE,
    KEYS_FILE,
    Rows,
    SavedRows,
    View,
)
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import DistanceMetric, Float32Array

DIMENSION = 8


@pytest.fixture(name="rows")
def fixture_rows(tmp_path: Path) -> Iterator[Rows]:
    """Yield empty rows."""
    rows = Rows(tmp_path, make_index(DIMENSION))
    yield rows
    rows.close()


def labels_of(*numbers: int) -> LabelArray:
    """Return labels, uint64 of shape (n,)."""
    return np.array(numbers, dtype=np.uint64)


def keys_from(first: int, count: int) -> list[str]:
    """Return keys by the labels they have here."""
    return [f"é{number}" for number in range(first, first + count)]


def put(rows: Rows, seq: int, first: int, count: int, dead: Sequence[int] = ()) -> Float32Array:
    """Put noise under the labels from ``first`` on and return it, float32 of shape (count, d)."""
    made = rows.metric.preprocess(draw_noise(count, DIMENSION, seed=first))
    rows.stage(made, [key.encode() for key in keys_from(first, count)])
    rows.metadata_index.add(
        rows.view.count,
        [
            {"key": key, "even": number % 2 == 0}
            for number, key in enumerate(keys_from(first, count), first)
        ],
    )
    rows.publish(seq, labels_of(*range(first, first + count)), labels_of(*dead))
    return made


def keys_of(view: View, slots: Sequence[int]) -> list[str]:
    """Return the keys of slots."""
    return view.keys.at(np.array(slots, dtype=np.intp))


def saved(rows: Rows) -> SavedRows:
    """Return what a checkpoint would hold."""
    view, count = rows.view, rows.view.count
    return SavedRows(
        labels=view.labels[:count].copy(),
        dead=view.died[:count] <= view.seq,
        code_scales=view.code_scales[:count].copy(),
        squared_norms=view.squared_norms[:count].copy(),
        key_starts=view.keys.starts[: count + 1].copy(),
        metadata_index=rows.metadata_index,
    )


def live_labels(rows: Rows) -> list[int]:
    """Return the labels that live in the newest view."""
    view = rows.view
    labels: list[int] = view.labels[view.live_range(0, view.count)].tolist()
    return labels


# --- Coming and dying -----------------------------------------------------------------------------


def test_new_rows_are_empty(rows: Rows) -> None:
    view = rows.view
    assert (view.seq, view.count, rows.live_count, view.largest_squared_norm) == (0, 0, 0, 0.0)
    assert view.live_range(0, 0).tolist() == []
    assert not view.labels.size


def test_published_rows_are_in_the_next_view_with_all_that_belongs_to_them(rows: Rows) -> None:
    made = put(rows, 1, first=5, count=40)
    view = rows.view
    assert (view.seq, view.count, rows.live_count) == (1, 40, 40)
    assert view.labels[:40].tolist() == list(range(5, 45))
    assert view.rows[:40].tobytes() == made.tobytes()
    coded, scales = codes.encode(made)
    assert view.codes[:40].tobytes() == coded.tobytes()
    assert view.code_scales[:40].tobytes() == scales.tobytes()
    np.testing.assert_allclose(view.squared_norms[:40], (made**2).sum(axis=1), rtol=1e-5)
    assert view.largest_squared_norm == view.squared_norms[:40].max()
    assert keys_of(view, [39, 0]) == ["é44", "é5"]


def test_staged_rows_are_seen_by_nobody_and_written_over(rows: Rows) -> None:
    put(rows, 1, first=1, count=2)
    before = rows.view
    rows.stage(np.full((3, DIMENSION), 99, np.float32), [b"never", b"ever", b"seen"])
    assert rows.view is before
    made = put(rows, 2, first=3, count=1)
    assert rows.view.rows[2].tobytes() == made[0].tobytes()
    assert keys_of(rows.view, [0, 1, 2]) == ["é1", "é2", "é3"]
    assert rows.view.largest_squared_norm < 99


def test_nothing_staged_and_nothing_dead_is_a_newer_view_of_the_same(rows: Rows) -> None:
    put(rows, 1, first=1, count=2)
    rows.stage(np.empty((0, DIMENSION), np.float32), [])
    assert rows.publish(7, labels_of(), labels_of()).tolist() == []
    assert (rows.view.seq, rows.view.count, rows.live_count) == (7, 2, 2)


def test_dead_slots_are_returned_and_live_on_in_older_views(rows: Rows) -> None:
    put(rows, 1, first=1, count=5)
    before = rows.view
    rows.stage(draw_noise(1, DIMENSION, seed=9), [b"new"])
    assert rows.publish(2, labels_of(6), labels_of(2, 5)).tolist() == [1, 4]
    assert rows.view.live_range(0, 6).tolist() == [0, 2, 3, 5]
    assert rows.view.live(np.array([[0, 1], [4, 5]])).tolist() == [[True, False], [False, True]]
    assert before.live_range(0, before.count).tolist() == [0, 1, 2, 3, 4]
    assert rows.live_count == 4


def test_label_that_is_not_here_cannot_die(rows: Rows) -> None:
    put(rows, 1, first=1, count=5)
    before = rows.view
    with pytest.raises(ValueError, match="no slot"):
        rows.publish(2, labels_of(), labels_of(6))
    assert rows.view is before
    assert rows.live_count == 5


def test_view_stays_as_it_was_while_everything_grows(rows: Rows) -> None:
    made = put(rows, 1, first=1, count=10)
    before = rows.view
    for seq in range(2, 42):
        put(rows, seq, first=10 + 500 * (seq - 2) + 1, count=500, dead=[seq - 1])
    after = rows.view
    assert after.count == 20_010
    assert before.count == 10
    assert before.rows[:10].tobytes() == after.rows[:10].tobytes() == made.tobytes()
    assert before.squared_norms[:10].tobytes() == after.squared_norms[:10].tobytes()
    assert before.code_scales[:10].tobytes() == after.code_scales[:10].tobytes()
    assert before.codes[:10].tobytes() == after.codes[:10].tobytes()
    assert before.live_range(0, 10).tolist() == list(range(10))
    assert keys_of(before, range(10)) == keys_from(1, 10)
    assert live_labels(rows) == list(range(41, 20_011))


@pytest.mark.parametrize("metric", DistanceMetric)
def test_norms_are_of_the_metrics_type(tmp_path: Path, metric: DistanceMetric) -> None:
    rows = Rows(tmp_path, make_index(DIMENSION, metric))
    put(rows, 1, first=1, count=3)
    assert rows.view.squared_norms.dtype == rows.metric.norms_dtype
    rows.close()


def test_norm_that_leaves_float32_makes_the_largest_infinite(rows: Rows) -> None:
    rows.stage(np.full((1, DIMENSION), 3e38, np.float32), [b"a"])
    rows.publish(1, labels_of(1), labels_of())
    assert rows.view.largest_squared_norm == np.inf


def test_arrays_of_a_view_can_be_grown_rarely(rows: Rows) -> None:
    arrays = {}
    for number in range(400):
        put(rows, number + 1, first=50 * number + 1, count=50)
        arrays[id(rows.view.squared_norms)] = rows.view.squared_norms
    assert len(arrays) < 12


# --- Files ----------------------------------------------------------------------------------------


def test_rows_are_in_three_files(rows: Rows, tmp_path: Path) -> None:
    put(rows, 1, first=1, count=3)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {COLUMN_FILE, CODES_FILE, KEYS_FILE}


@pytest.mark.parametrize("limit", [100, 70_000, 1_100_000])
def test_full_disk_is_an_error_and_leaves_the_rows_as_they_were(rows: Rows, limit: int) -> None:
    made = put(rows, 1, first=1, count=2)
    before = rows.view
    many = draw_noise(50_000, DIMENSION, seed=2)
    with files_no_longer_than(limit), pytest.raises(OSError, match="large"):
        rows.stage(many, [b"k" * 20] * 50_000)
    assert rows.view is before
    assert before.rows[:2].tobytes() == made.tobytes()
    put(rows, 2, first=3, count=50_000)
    assert keys_of(rows.view, [0, 1, 2, 50_001]) == ["é1", "é2", "é3", "é50002"]
    assert rows.live_count == 50_002


def test_views_outlive_the_rows(tmp_path: Path) -> None:
    rows = Rows(tmp_path, make_index(DIMENSION))
    made = put(rows, 1, first=1, count=3)
    view = rows.view
    rows.close()
    for path in tmp_path.iterdir():
        path.unlink()
    assert view.rows[:3].tobytes() == made.tobytes()
    assert keys_of(view, [0, 1, 2]) == ["é1", "é2", "é3"]


# --- Going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", DistanceMetric)
def test_rows_of_a_checkpoint_are_gone_on_with(tmp_path: Path, metric: DistanceMetric) -> None:
    index = make_index(DIMENSION, metric)
    rows = Rows(tmp_path, index)
    made = put(rows, 1, first=1, count=1_500)
    put(rows, 2, first=1_501, count=10, dead=[1, 700])
    checkpoint, old = saved(rows), rows.view
    put(rows, 3, first=1_511, count=90)  # what the checkpoint does not hold is written over
    rows.close()
    again = Rows(tmp_path, index, checkpoint)
    assert (again.view.seq, again.view.count, again.live_count) == (0, 1_510, 1_508)
    assert again.view.largest_squared_norm == old.largest_squared_norm
    newest = put(again, 9, first=2_000, count=5_000, dead=[3, 1_501])
    view = again.view
    assert live_labels(again) == [
        *(label for label in range(1, 1_511) if label not in {1, 3, 700, 1_501}),
        *range(2_000, 7_000),
    ]
    assert again.live_count == len(live_labels(again))
    assert view.rows[:1_500].tobytes() == made.tobytes()
    assert view.rows[1_510:6_510].tobytes() == newest.tobytes()
    assert view.squared_norms[:1_510].tobytes() == old.squared_norms[:1_510].tobytes()
    assert view.code_scales[:1_510].tobytes() == old.code_scales[:1_510].tobytes()
    assert view.codes[:1_510].tobytes() == old.codes[:1_510].tobytes()
    assert keys_of(view, [0, 1_509, 1_510, 6_509]) == ["é1", "é1510", "é2000", "é6999"]
    matching = again.metadata_index.matching(Equals("key", "é2000"), view.count)
    assert matching.slots().tolist() == [1_510]
    again.close()


@pytest.mark.parametrize("name", [COLUMN_FILE, CODES_FILE, KEYS_FILE])
def test_file_that_holds_less_than_the_checkpoint_says_is_refused(
    rows: Rows, tmp_path: Path, name: str
) -> None:
    put(rows, 1, first=1, count=100)
    checkpoint = saved(rows)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:99])
    with pytest.raises(ValueError, match=f"{name} has "):
        Rows(tmp_path, make_index(DIMENSION), checkpoint)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError):
        Rows(tmp_path, make_index(DIMENSION), checkpoint)


def test_size_counts_what_is_in_memory_and_no_file(rows: Rows) -> None:
    put(rows, 1, first=1, count=1_000)
    small = rows.size_bytes
    put(rows, 2, first=1_001, count=50_000)
    assert 40 * 51_000 < rows.size_bytes < 400 * 51_000
    assert rows.size_bytes > small > 0
