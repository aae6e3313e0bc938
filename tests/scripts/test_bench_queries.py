"""Tests of bench_queries.py: recall stands beside speed, references beside the service."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from bench_data import UNIFORM
from bench_queries import QUERIES_IN_BATCH, bare_queries, engine, query, query_batch
from bench_session import Session, Settings


@pytest.fixture(name="session", scope="module")
def fixture_session() -> Iterator[Session]:
    """Yield a session whose index has no graph, so that what is found is exact."""
    settings = Settings(vectors=600, dimension=8, seed=1, data=None, repeats=1, seconds=0.1)
    with Session(settings, Console(file=io.StringIO())) as session:
        yield session


def test_queries_are_measured_beside_a_bare_server(session: Session) -> None:
    result = query(session)
    assert [case.name for case in result.cases] == [
        "1 caller",
        "bare gRPC server, 1 caller",
        "8 callers",
        "bare gRPC server, 8 callers",
        "hnswlib alone",
    ]
    recalls = [case.recall_at_10 or 0.0 for case in result.cases]
    assert recalls[0] == recalls[2] == 1.0
    assert min(recalls) > 0.9
    for ratio, ours, bare in zip(result.ratios[::2], (0, 2), (1, 3), strict=True):
        fast, reference = result.cases[ours].per_second, result.cases[bare].per_second
        assert fast is not None
        assert reference is not None
        assert ratio.value == pytest.approx(fast / reference)
        assert ratio.at_least == 0.85
    assert [(one.name, one.value, one.at_least) for one in result.ratios[1::2]] == [
        ("recall@10 of 1 caller", 1.0, 0.99),
        ("recall@10 of 8 callers", 1.0, 0.99),
    ]


def test_batches_are_measured_beside_hnswlib_on_all_cores(session: Session) -> None:
    result = query_batch(session)
    ours, alone = result.cases
    assert ours.name == f"{QUERIES_IN_BATCH} queries in a call"
    assert ours.count % QUERIES_IN_BATCH == 0
    assert (ours.recall_at_10, ours.unit) == (1.0, "queries")
    assert alone.recall_at_10 is not None
    assert alone.recall_at_10 > 0.9
    ratio, recall = result.ratios
    assert ours.per_second is not None
    assert alone.per_second is not None
    assert ratio.value == pytest.approx(ours.per_second / alone.per_second)
    assert ratio.at_least == 0.8
    assert (recall.name, recall.value, recall.at_least) == ("recall@10", 1.0, 0.99)


def test_no_recall_is_asked_for_in_noise() -> None:
    settings = Settings(600, 8, seed=1, data=None, repeats=1, seconds=0.1, distribution=UNIFORM)
    with Session(settings, Console(file=io.StringIO())) as noise:
        recall = query_batch(noise).ratios[-1]
    assert (recall.name, recall.met) == ("recall@10", None)


def test_engine_is_measured_without_the_rpc(session: Session) -> None:
    result = engine(session)
    assert (result.workload, result.cases[-1].name) == ("engine", "hnswlib alone")
    assert {"all stored", "all indexed", "1 caller", "8 callers", "memory"} < {
        case.name for case in result.cases
    }
    assert result.ratios[0].value > 0


def test_hnswlib_alone_is_asked_every_query_once(session: Session) -> None:
    asked = bare_queries(session)
    assert len(asked.latencies_s) == len(asked.found) == len(session.dataset.queries)
    assert asked.seconds == pytest.approx(sum(asked.latencies_s))
