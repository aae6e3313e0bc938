"""Tests of bench_milvus.py: server and pymilvus are measured on one Milvus, the engine beside."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

import milvus_server as servers
from bench_milvus import milvus
from bench_peer_base import PeerUnavailable
from bench_report import Case
from bench_session import Session, Settings
from milvus_server import MilvusServer

SETTINGS = Settings(vectors=600, dimension=8, seed=1, data=None, repeats=1, seconds=0.03)
WAYS = [
    *("server, stream", "pymilvus, a probe after 8 batches", "embedded engine, stream"),
    *("server, 500 a call", "pymilvus, a probe after each batch", "embedded engine, 500 a call"),
]


def test_server_is_measured_beside_pymilvus_on_one_milvus(milvus_server: MilvusServer) -> None:
    settings = replace(SETTINGS, milvus=milvus_server.uri)
    with Session(settings, Console(file=io.StringIO())) as session:
        result = milvus(session)
    cases = {case.name: case for case in result.cases}
    queried = [case for case in result.cases if case.unit == "queries"]
    assert [case.name.split(", ")[0] for case in queried] == [
        *("server", "pymilvus", "embedded engine")
    ] * 4
    assert all(case.recall_at_10 == 1.0 for case in queried)
    assert list(cases)[len(queried) :] == WAYS
    assert all(cases[name].count == 600 for name in WAYS)
    assert [ratio.at_least for ratio in result.ratios] == [0.8] * 6
    per_second = [rate_of(case) for case in result.cases]
    assert [ratio.value for ratio in result.ratios] == pytest.approx(
        [per_second[place] / per_second[place + 1] for place in range(0, 18, 3)]
    )
    assert result.notes == ("Milvus: one that was running, with settings of its own",)


def rate_of(case: Case) -> float:
    """Return how many a second."""
    assert case.per_second is not None
    return case.per_second


def other_platform() -> str | None:
    """Say that there is none."""
    return "there is no package"


def not_installed() -> str | None:
    """Say that it was forgotten."""
    raise RuntimeError("it is not installed")


@pytest.mark.parametrize(
    ("why_missing", "told"),
    [(other_platform, "there is no package"), (not_installed, "it is not installed")],
)
def test_without_milvus_it_says_what_to_do(
    why_missing: Callable[[], str | None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "why_missing", why_missing)
    with (
        Session(SETTINGS, Console(file=io.StringIO())) as session,
        pytest.raises(PeerUnavailable, match=f"needs --milvus URI: {told}"),
    ):
        milvus(session)
