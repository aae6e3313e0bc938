"""Tests of bench_queries.py: recall stands beside every speed, and filters match what they say."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from bench_queries import CALLERS, FILTERS, query, query_filtered
from bench_session import Session, Settings


@pytest.fixture(name="session", scope="module")
def fixture_session() -> Iterator[Session]:
    """Yield a session whose index has no graph, so that what is found is exact."""
    settings = Settings(vectors=600, dimension=8, seed=1, data=None, repeats=1, seconds=0.1)
    with Session(settings, Console(file=io.StringIO())) as session:
        yield session


def test_queries_are_measured_with_their_recall(session: Session) -> None:
    result = query(session)
    assert [case.name for case in result.cases] == ["1 caller", "8 callers", "hnswlib alone"]
    for case in result.cases[: len(CALLERS)]:
        assert case.recall_at_10 == 1.0
    reference = result.cases[-1]
    assert reference.recall_at_10 is not None
    assert reference.recall_at_10 > 0.9
    assert reference.count == len(session.dataset.queries)
    assert set(result.ratios) == {"p50 of 1 caller to hnswlib alone"}


def test_filtered_queries_are_measured_with_their_recall_and_share(session: Session) -> None:
    result = query_filtered(session)
    assert len(result.cases) == len(FILTERS) * len(CALLERS)
    for case in result.cases:
        assert case.recall_at_10 == 1.0
        assert case.p50_ms is not None
        assert case.p99_ms is not None
        assert 0 < case.p50_ms <= case.p99_ms
    share = sum(metadata["arch"] == "all" for metadata in session.dataset.metadata) / 600
    assert result.cases[0].name == f"arch = all ({share:.1%}), 1 caller"
