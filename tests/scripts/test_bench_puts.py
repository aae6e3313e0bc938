"""Tests of bench_puts.py: the workloads measure the service and its references."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from bench_puts import Run, put, put_stream, put_stream_metadata, vectors_within_bound
from bench_report import Case, Result
from bench_session import Session, Settings

SETTINGS = Settings(vectors=700, dimension=4, seed=1, data=None, repeats=1, seconds=0.1)


@pytest.mark.parametrize(
    ("workload", "name"),
    [(put_stream, "put_stream"), (put_stream_metadata, "put_stream_metadata")],
)
def test_stream_is_measured_beside_its_references(
    workload: Callable[[Session], Result], name: str
) -> None:
    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        result = workload(session)
    assert result.workload == name
    cases = {case.name: case for case in result.cases}
    assert list(cases) == [
        "all acknowledged",
        "bare stream server",
        "all indexed",
        "hnswlib alone",
    ]
    assert all(case.count == 700 and case.unit == "vectors" for case in result.cases)
    assert seconds_of(cases["all acknowledged"]) <= seconds_of(cases["all indexed"])
    for case in ("all acknowledged", "bare stream server"):
        assert cases[case].p50_ms is not None
    acknowledged, indexed = result.ratios
    assert acknowledged.name == "vectors per second of the first 700 to bare stream server"
    assert acknowledged.at_least == 0.75
    assert acknowledged.value == pytest.approx(
        seconds_of(cases["bare stream server"]) / seconds_of(cases["all acknowledged"])
    )
    assert (indexed.name, indexed.at_most) == ("seconds until all indexed to hnswlib alone", 1.25)
    assert indexed.value == pytest.approx(
        seconds_of(cases["all indexed"]) / seconds_of(cases["hnswlib alone"])
    )


def seconds_of(case: Case) -> float:
    """Return how long a case took."""
    assert case.seconds is not None
    return case.seconds


def test_unary_puts_are_measured_beside_a_stream() -> None:
    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        result = put(session)
    ours, bare = result.cases
    assert (ours.name, ours.count, bare.name) == ("500 vectors a call", 700, "bare stream server")
    (ratio,) = result.ratios
    assert ratio.value == pytest.approx(seconds_of(bare) / seconds_of(ours))
    assert ratio.met is None


def test_bound_on_pending_vectors_is_counted_in_vectors() -> None:
    assert vectors_within_bound(20_000, 384) == 20_000
    assert vectors_within_bound(50_000, 768) == 96 * 1024 * 1024 // 3_072
    assert vectors_within_bound(100_000, 128) == 100_000


def test_acknowledgement_of_the_first_vectors_is_that_of_their_last_batch() -> None:
    run = Run([(0.1, 500), (0.2, 1_000), (0.3, 1_200)], 1.0, [0.01, 0.02, 0.03], 0.5)
    assert run.within(500) == (0.1, 0.01)
    assert run.within(501) == (0.2, 0.02)
    assert run.within(1_200) == (0.3, 0.03)


def test_batches_of_another_size_are_counted_in_vectors() -> None:
    run = Run([(0.1, 900), (0.2, 1_200)], 1.0, [0.01, 0.02, 0.03], 0.5)
    assert run.within(501) == (0.1, 0.02)
    assert run.within(901) == (0.2, 0.02)
