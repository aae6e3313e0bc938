"""Tests of bench_puts.py: both workloads measure the service and its references."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from bench_puts import put_stream, put_stream_metadata
from bench_report import Result
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
    assert cases["all acknowledged"].seconds <= cases["all indexed"].seconds
    for case in ("all acknowledged", "bare stream server"):
        assert cases[case].p50_ms is not None
    assert result.ratios == {
        "acknowledged to bare stream server": pytest.approx(
            cases["all acknowledged"].seconds / cases["bare stream server"].seconds
        ),
        "indexed to hnswlib alone": pytest.approx(
            cases["all indexed"].seconds / cases["hnswlib alone"].seconds
        ),
    }
