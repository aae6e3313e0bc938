"""Tests of bench_compare.py: what is compared is the same case, and ahead means ahead."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench_compare import compare_peers, compared
from bench_ours import EngineSubject
from bench_peer_base import PeerUnavailable
from bench_report import Case, Result
from bench_session import Session, Settings
from bench_subject import MEMORY

SETTINGS = Settings(vectors=300, dimension=8, seed=1, data=None, repeats=1, seconds=0.05)


def result_of(name: str, seconds: float, recall: float, memory: int) -> Result:
    """Return what a subject took."""
    return Result(
        name,
        (
            Case("all stored", "vectors", 100, seconds),
            Case("1 caller", "queries", 50, seconds, 1.0, 2.0, recall),
            Case(MEMORY, "MB", memory),
        ),
    )


def complain(missing: PeerUnavailable) -> None:
    """Fail, because no peer is missing."""
    raise missing


def test_comparison_says_how_many_times_as_fast_and_as_small() -> None:
    result = compared(result_of("engine", 1.0, 0.99, 50), result_of("peer", 2.0, 0.98, 100))
    assert result.workload == "engine to peer"
    assert {ratio.name: ratio.value for ratio in result.ratios} == {
        "all stored, per second": 2.0,
        "1 caller, per second": 2.0,
        "1 caller, recall@10 above theirs": pytest.approx(0.01),
        "memory, theirs to ours": 2.0,
    }
    assert all(ratio.met for ratio in result.ratios)


def test_falling_behind_is_told() -> None:
    result = compared(result_of("engine", 2.0, 0.98, 100), result_of("peer", 1.0, 0.99, 50))
    assert [ratio.met for ratio in result.ratios] == [False] * 4


def test_speed_beside_much_less_recall_is_not_asked_for() -> None:
    result = compared(result_of("engine", 2.0, 0.99, 50), result_of("peer", 1.0, 0.9, 100))
    assert [ratio.met for ratio in result.ratios] == [False, None, True, True]


def test_recall_that_rounds_to_the_same_is_not_behind() -> None:
    result = compared(result_of("engine", 1.0, 0.9899, 50), result_of("peer", 1.0, 0.99, 50))
    assert all(ratio.met for ratio in result.ratios)


def test_peer_in_process_is_compared_with_the_engine() -> None:
    class Twin(EngineSubject):
        name = "twin"

    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        results = list(compare_peers(session, {"twin": lambda: Twin(8)}, complain))
    assert [result.workload for result in results] == ["twin", "engine", "engine to twin"]
    twin, engine, ratios = results
    assert [case.name for case in twin.cases] == [case.name for case in engine.cases]
    assert len(ratios.ratios) > 10


def test_peer_that_is_a_server_is_compared_with_the_server() -> None:
    class Remote(EngineSubject):
        name = "remote"
        in_process = False

    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        results = list(compare_peers(session, {"remote": lambda: Remote(8)}, complain))
    assert [result.workload for result in results] == ["remote", "server", "server to remote"]


def test_peer_that_cannot_be_had_does_not_stop_the_others() -> None:
    class Twin(EngineSubject):
        name = "twin"

    def missing() -> EngineSubject:
        raise PeerUnavailable("install beads")

    makers = {"first": lambda: Twin(8), "abacus": missing, "last": lambda: Twin(8)}
    told: list[PeerUnavailable] = []
    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        results = list(compare_peers(session, makers, told.append))
    assert [result.workload for result in results] == [
        *("twin", "twin", "engine"),
        *("engine to twin", "engine to twin"),
    ]
    assert [str(one) for one in told] == ["install beads"]


def test_nothing_is_measured_where_no_peer_is_named() -> None:
    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        assert list(compare_peers(session, {}, complain)) == []
