"""Workloads that query: unary calls of the Python client, by one caller and by eight.

Rules of this file: callers are threads with a client each, in this process, so what is measured is
what a Python program gets; the references search in process.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench_data import Float32Array, recall_at_k
from bench_reference import unit_rows
from bench_report import Case, Result, case_of
from bench_session import BUCKET, INDEX_NAME, TOP_K, Session
from vectorbucket import Client

CALLERS = (1, 8)

FILTERS: tuple[Mapping[str, str], ...] = (
    {"arch": "all"},
    {"section": "python"},
    {"section": "electronics"},
)
"""About 49, 7 and 0.3 % of the sample and of the mixture match."""

_WARM_UP_QUERIES = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """What one caller got."""

    latencies_s: list[float]
    found: dict[int, list[str]]
    """Keys by position of the query."""


def query(session: Session) -> Result:
    """Query without a filter."""
    wanted = session.wanted()
    cases = [_queries(session, _callers(count), callers=count, wanted=wanted) for count in CALLERS]
    reference = _bare_queries(session, wanted)
    slowdown = (cases[0].p50_ms or 0.0) / (reference.p50_ms or 1.0)
    return Result("query", (*cases, reference), {"p50 of 1 caller to hnswlib alone": slowdown})


def query_filtered(session: Session) -> Result:
    """Query with filters that match much, some and little."""
    cases = []
    for equals in FILTERS:
        wanted = session.wanted(equals)
        matching = sum(
            all(metadata.get(name) == value for name, value in equals.items())
            for metadata in session.dataset.metadata
        )
        share = matching / len(session.dataset.keys)
        label = ", ".join(f"{name} = {value}" for name, value in equals.items())
        cases += [
            _queries(
                session,
                f"{label} ({share:.1%}), {_callers(count)}",
                callers=count,
                wanted=wanted,
                equals=equals,
            )
            for count in CALLERS
        ]
    return Result("query_filtered", cases)


def _callers(count: int) -> str:
    """Return how many callers, in words."""
    return "1 caller" if count == 1 else f"{count} callers"


def _queries(
    session: Session,
    name: str,
    *,
    callers: int,
    wanted: Sequence[Sequence[str]],
    equals: Mapping[str, str] | None = None,
) -> Case:
    """Run callers beside each other for a while and return what they got."""
    target = session.loaded_target
    queries = session.dataset.queries
    with session.working(f"querying: {name}"), ThreadPoolExecutor(callers) as pool:
        _call(target, queries, range(_WARM_UP_QUERIES), equals, float("inf"))
        began = time.perf_counter()
        calls = [
            pool.submit(
                _call,
                target,
                queries,
                itertools.count(caller * len(queries) // callers),
                equals,
                began + session.settings.seconds,
            )
            for caller in range(callers)
        ]
        answers = [call.result() for call in calls]
        elapsed = time.perf_counter() - began
    latencies = [latency for answer in answers for latency in answer.latencies_s]
    found = {position: keys for answer in answers for position, keys in answer.found.items()}
    return case_of(
        name,
        "queries",
        count=len(latencies),
        seconds=elapsed,
        latencies_s=latencies,
        recall_at_10=_recall(found, wanted),
    )


def _call(
    target: str,
    queries: Float32Array,
    numbers: itertools.count[int] | range,
    equals: Mapping[str, str] | None,
    until: float,
) -> Answers:
    """Query one after the other until a moment of the performance counter, once at least."""
    answers = Answers([], {})
    with Client(target) as client:
        for number in numbers:
            position = number % len(queries)
            began = time.perf_counter()
            hits = client.query_vectors(
                BUCKET, INDEX_NAME, queries[position], top_k=TOP_K, filter=equals
            )
            ended = time.perf_counter()
            answers.latencies_s.append(ended - began)
            answers.found[position] = [hit.key for hit in hits]
            if ended >= until:
                break
    return answers


def _bare_queries(session: Session, wanted: Sequence[Sequence[str]]) -> Case:
    """Return what hnswlib alone takes, one thread, one query a call."""
    graph, queries = session.bare_graph, unit_rows(session.dataset.queries)
    latencies, found = [], {}
    with session.working("querying: hnswlib alone"):
        for position, row in enumerate(queries):
            began = time.perf_counter()
            nearest = graph.search(row, TOP_K)
            latencies.append(time.perf_counter() - began)
            found[position] = [session.dataset.keys[place] for place in nearest.tolist()]
    return case_of(
        "hnswlib alone",
        "queries",
        count=len(latencies),
        seconds=sum(latencies),
        latencies_s=latencies,
        recall_at_10=_recall(found, wanted),
    )


def _recall(found: Mapping[int, list[str]], wanted: Sequence[Sequence[str]]) -> float:
    """Return the recall over the queries that were asked."""
    return recall_at_k(list(found.values()), [wanted[position] for position in found])
