"""A scan loses none of the nearest: its candidates hold them, whatever the data, in any blocks.

Method: rows of every kind, in a view of their own; the truth is ``Metric.score`` of every row,
which metric.py's tests hold to long double. Codes look at everything, however little it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import draw_mixture, draw_noise
from rooms import GivenUp
from vectorbucket.errors import RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.embedded import codes
from vectorbucket_server.engine.embedded import scan as module
from vectorbucket_server.engine.embedded.keys import KeyView
from vectorbucket_server.engine.embedded.labels import NEVER
from vectorbucket_server.engine.embedded.metric import METRICS
from vectorbucket_server.engine.embedded.rows import SlotArray, View
from vectorbucket_server.engine.embedded.scan import Scan, live
from vectorbucket_server.model import DistanceMetric, Float32Array

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=15)


@pytest.fixture(autouse=True, scope="module")
def fixture_coded() -> object:
    """Let codes look at small sets too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW_NUMBERS", 0)
        patch.setattr(module, "_SPARED_NUMBERS", 0)
        yield


def view_of(data: Float32Array, metric: DistanceMetric) -> View:
    """Return a view of rows, none of them dead."""
    rows = METRICS[metric].preprocess(data)
    row_codes, scales = codes.encode(rows)
    norms = METRICS[metric].squared_norms(rows)
    count = len(rows)
    return View(
        seq=5,
        count=count,
        labels=np.arange(count, dtype=np.uint64),
        died=np.full(count, NEVER),
        rows=rows,
        codes=row_codes,
        code_scales=scales,
        squared_norms=norms,
        keys=KeyView(b"", np.zeros(count + 1, dtype=np.uint64)),
        largest_squared_norm=float(norms.max(initial=0.0)),
    )


def scan_of(
    view: View,
    metric: DistanceMetric,
    slots: SlotArray,
    top_k: int,
    *,
    threads: int = 1,
    deadline: Deadline = NO_DEADLINE,
) -> Scan:
    """Return a scan of a view's slots."""
    return Scan(METRICS[metric], view, slots, top_k, threads, deadline)


def check(data: Float32Array, queries: Float32Array, metric: DistanceMetric, top_k: int) -> int:
    """Scan some slots and compare with all; return how many candidates there were at most."""
    view, prepared = view_of(data, metric), METRICS[metric].preprocess(queries)
    most = 0
    for slots in (np.arange(len(data)), np.arange(0, len(data), 3), np.arange(5, len(data) - 1)):
        found = list(scan_of(view, metric, slots, top_k).candidates(prepared))
        assert len(found) == len(queries)
        for query, candidates in zip(prepared, found, strict=True):
            true = METRICS[metric].score(
                view.rows[slots[None]], view.squared_norms[slots[None]], query[None]
            )[0]
            assert set(candidates.tolist()) <= set(slots.tolist())
            assert (np.diff(candidates) > 0).all()
            if not len(slots):
                continue
            last = np.sort(true)[min(top_k, len(slots)) - 1]
            missing = set(slots[true < last].tolist()) - set(candidates.tolist())
            assert missing == set()
            assert len(candidates) >= min(top_k, len(slots))
            most = max(most, len(candidates))
    return most


def narrow(count: int, dimension: int, seed: int) -> Float32Array:
    """Return rows that lie in a narrow cone."""
    base = draw_noise(1, dimension, seed=seed) * np.float32(3)
    return base + draw_noise(count, dimension, seed=seed + 1) * np.float32(1e-3)


def mixed(count: int, dimension: int, seed: int) -> Float32Array:
    """Return rows of very different lengths."""
    sizes = np.float32(10) ** np.random.default_rng(seed).integers(-18, 18, (count, 1))
    return (draw_noise(count, dimension, seed=seed) * sizes).astype(np.float32)


def sized(size: float) -> Callable[[int, int, int], Float32Array]:
    """Return what draws noise of a size, without a row of zeros."""

    def draw(count: int, dimension: int, seed: int) -> Float32Array:
        rng = np.random.default_rng(seed)
        rows = (rng.uniform(-1, 1, (count, dimension)) * size).astype(np.float32)
        rows[~rows.any(axis=1), 0] = 1e-45
        return rows

    return draw


def equal(count: int, dimension: int, seed: int) -> Float32Array:
    """Return a row many times over."""
    return np.repeat(draw_noise(1, dimension, seed=seed), count, axis=0)


KINDS: dict[str, Callable[[int, int, int], Float32Array]] = {
    "noise": lambda count, dimension, seed: draw_noise(count, dimension, seed=seed),
    "mixture": lambda count, dimension, seed: draw_mixture(count, dimension, seed=seed, clusters=4),
    "narrow": narrow,
    "mixed": mixed,
    "equal": equal,
    "denormal": sized(1e-43),
    "tiny": sized(1e-30),
    "huge": sized(1e18),
    "largest": sized(3e38),
}


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(
    count=st.integers(1, 400),
    dimension=st.integers(1, 40),
    seed=st.integers(0, 10_000),
    top_k=st.sampled_from((1, 2, 10, 90)),
)
def test_candidates_hold_the_nearest(  # noqa: PLR0917 - a table's columns
    kind: str, metric: DistanceMetric, count: int, dimension: int, seed: int, top_k: int
) -> None:
    data = KINDS[kind](count + 3, dimension, seed)
    check(data[3:], data[:3], metric, top_k)


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("kind", KINDS)
def test_candidates_hold_the_nearest_of_many(kind: str, metric: DistanceMetric) -> None:
    data = KINDS[kind](6_003, 48, 1)
    check(data[3:], data[:3], metric, 10)


@pytest.mark.parametrize("metric", DistanceMetric)
def test_few_of_many_are_left_in_doubt(metric: DistanceMetric) -> None:
    data = draw_mixture(8_010, 256, seed=1, clusters=100)
    assert check(data[10:], data[:10], metric, 10) < 100


@pytest.mark.parametrize("metric", DistanceMetric)
def test_rows_that_codes_cannot_tell_apart_are_told_apart_in_float32(
    metric: DistanceMetric,
) -> None:
    # Codes leave every row of the cone in doubt: they differ by less than a scale.
    cone = draw_noise(3_000, 128, seed=2) * np.float32(0.1)
    data = draw_noise(1, 128, seed=1) * np.float32(3) + cone
    view, queries = view_of(data, metric), METRICS[metric].preprocess(data[:2])
    scan = scan_of(view, metric, np.arange(3_000), 10)
    for candidates in scan.candidates(queries):
        assert len(candidates) < 1_500


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("size", [1, 700, 10_000])
def test_blocks_change_no_candidates(
    monkeypatch: pytest.MonkeyPatch, metric: DistanceMetric, size: int
) -> None:
    data = draw_noise(700, 16, seed=1)
    view, queries = view_of(data, metric), METRICS[metric].preprocess(data[:9])
    slots = np.arange(0, 700, 5)
    for chosen in (slots, np.arange(700)):
        scan = scan_of(view, metric, chosen, 6)
        whole = [one.tolist() for one in scan.candidates(queries)]
        with monkeypatch.context() as patch:
            patch.setattr(module, "_BLOCK_FLOATS", size)
            patch.setattr(module, "_GATHERED_BYTES", size)
            patch.setattr(module, "_DOUBTFUL", 0)
            in_blocks = [one.tolist() for one in scan.candidates(queries)]
        assert all(set(a) <= set(b) for a, b in zip(in_blocks, whole, strict=True))
        check(data, data[:9], metric, 6)


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("threads", [1, 2])
def test_many_queries_have_the_candidates_that_each_has_alone(
    metric: DistanceMetric, threads: int
) -> None:
    data = draw_noise(900, 16, seed=1)
    view, queries = view_of(data, metric), METRICS[metric].preprocess(data[:40])
    for slots in (np.arange(900), np.arange(0, 900, 2), np.arange(0, 900, 9)):
        scan = scan_of(view, metric, slots, 10, threads=threads)
        together = [one.tolist() for one in scan.candidates(queries)]
        alone = [next(scan.candidates(query[None])).tolist() for query in queries]
        assert together == alone


@pytest.mark.parametrize("top_k", [5, 6, 1_000])
def test_all_are_candidates_where_as_many_are_wanted(top_k: int) -> None:
    data = draw_noise(20, 4, seed=1)
    view = view_of(data, DistanceMetric.EUCLIDEAN)
    slots = np.array([1, 4, 9, 12, 19])
    found = list(scan_of(view, DistanceMetric.EUCLIDEAN, slots, top_k).candidates(data[:3]))
    assert [one.tolist() for one in found] == [slots.tolist()] * 3


def test_few_slots_are_not_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw_noise(200, 4, seed=1)
    view = view_of(data, DistanceMetric.EUCLIDEAN)
    scan = scan_of(view, DistanceMetric.EUCLIDEAN, np.arange(200), 5)
    monkeypatch.setattr(module, "_FEW_NUMBERS", 800)
    assert len(next(scan.candidates(data[:1]))) == 200
    monkeypatch.setattr(module, "_FEW_NUMBERS", 799)
    assert len(next(scan.candidates(data[:1]))) < 100


def test_few_candidates_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw_noise(500, 8, seed=1)
    # Worst by far of all, so that what is said of the worst leaves much in doubt.
    data[7] *= 1_000
    view = view_of(data, DistanceMetric.EUCLIDEAN)
    scan = scan_of(view, DistanceMetric.EUCLIDEAN, np.arange(500), 5)
    looked_at_again = next(scan.candidates(data[:1])).tolist()
    monkeypatch.setattr(module, "_SPARED_NUMBERS", 500 * 8)
    monkeypatch.setattr(module, "_DOUBTFUL", 500)
    at_once = next(scan.candidates(data[:1])).tolist()
    assert set(looked_at_again) < set(at_once)


def test_caller_who_has_given_up_is_not_scanned_for() -> None:
    data = draw_noise(200, 4, seed=1)
    view = view_of(data, DistanceMetric.EUCLIDEAN)
    scan = scan_of(view, DistanceMetric.EUCLIDEAN, np.arange(200), 5, deadline=GivenUp())
    with pytest.raises(RequestTimeout):
        next(scan.candidates(data[:1]))


@pytest.mark.parametrize("slots", [[], [3], [0, 1, 2], [2, 99], list(range(100)), [5, 50, 51]])
def test_live_slots_are_those_that_had_not_died_by_then(slots: list[int]) -> None:
    view = view_of(draw_noise(100, 4, seed=1), DistanceMetric.EUCLIDEAN)
    view.died[[1, 50, 99]] = [3, 5, 6]
    found = live(view, np.array(slots, dtype=np.intp))
    assert found.tolist() == [slot for slot in slots if slot not in {1, 50}]


def test_live_slots_far_apart_are_looked_at_one_by_one() -> None:
    view = view_of(draw_noise(2_000, 2, seed=1), DistanceMetric.EUCLIDEAN)
    view.died[1_990] = 2
    assert live(view, np.array([4, 1_990, 1_999])).tolist() == [4, 1_999]
