"""Tests of bench_rest.py: REST stands beside gRPC, of one server, and what is found is right."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

import bench_rest
from bench_rest import Callers, Calls, rest_put, rest_query
from bench_session import Session, Settings


@pytest.fixture(name="session", scope="module")
def fixture_session() -> Iterator[Session]:
    """Yield a session whose index has no graph, so that what is found is exact."""
    settings = Settings(vectors=600, dimension=8, seed=1, data=None, repeats=1, seconds=0.2)
    with Session(settings, Console(file=io.StringIO())) as session:
        yield session


def test_queries_are_measured_beside_grpc_signed_and_not(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every caller is a process, and every turn takes its time: two are as good as more.
    monkeypatch.setattr(bench_rest, "CALLERS", (1, 2))
    monkeypatch.setattr(bench_rest, "_TURNS", 2)
    result = rest_query(session)
    names = [f"{how}, {who}" for how in ("unsigned", "signed") for who in ("1 caller", "2 callers")]
    assert [case.name for case in result.cases] == [
        one for name in names for one in (name, f"gRPC, {name}")
    ]
    assert {case.recall_at_10 for case in result.cases} == {1.0}
    for position, (name, ratio) in enumerate(zip(names, result.ratios, strict=True)):
        by_rest, by_grpc = result.cases[2 * position : 2 * position + 2]
        assert by_rest.per_second
        assert by_grpc.per_second
        assert ratio.name == f"queries per second, {name}, to gRPC"
        assert ratio.value == pytest.approx(by_rest.per_second / by_grpc.per_second)
        assert ratio.at_least == 0.5


def test_puts_are_measured_beside_grpc(session: Session) -> None:
    result = rest_put(session)
    by_rest, by_grpc, size = result.cases
    assert (by_rest.name, by_grpc.name) == ("500 vectors a call", "gRPC, 500 vectors a call")
    assert (by_rest.count, by_grpc.count) == (600, 600)
    assert (size.unit, size.seconds) == ("MB", by_rest.seconds)
    (ratio,) = result.ratios
    assert by_rest.seconds
    assert by_grpc.seconds
    assert ratio.value == pytest.approx(by_grpc.seconds / by_rest.seconds)


def test_callers_that_cannot_connect_say_so() -> None:
    with pytest.raises(RuntimeError, match=r"the callers of 127\.0\.0\.1:1 do not get ready"):
        Callers(Calls("http", "127.0.0.1:1", "", [b"request"]), 2)
