"""Workloads that query without a filter: one query a call, and many in one call.

Rules of this file: callers are threads with a client each, in this process, so what is measured is
what a Python program gets; a reference is asked in turns with the service, so that both meet the
same noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from bench_bare_server import save_bare
from bench_data import Float32Array
from bench_filtered import RECALL_AT_LEAST
from bench_ours import EngineSubject, ServerSubject
from bench_reference import unit_rows
from bench_report import Case, Ratio, Result
from bench_server import start_bare_query_server
from bench_session import BUCKET, INDEX_NAME, TOP_K, Session
from bench_subject import CALLERS, Asked, ask, case_name, in_turns, measure_subject
from vectorbucket import Client

QUERIES_IN_BATCH = 100

Search: TypeAlias = Callable[[list[int]], list[list[str]]]
"""Places of queries to the keys that each finds."""

_TURNS = 3


def query(session: Session) -> Result:
    """One query a call, beside a bare gRPC server that searches hnswlib's graph."""
    dataset, wanted = session.dataset, session.wanted()
    cases, ratios = [], []
    ours = ServerSubject(session.loaded_server)
    with session.folder() as folder:
        save_bare(folder, session.bare_graph, dataset.keys)
        with start_bare_query_server(folder) as process:
            bare = ServerSubject(process, "bare gRPC server")
            for callers in CALLERS:
                name = case_name(dataset, None, callers)
                with session.working(f"query: {name}"):
                    got, reference = in_turns(
                        [
                            partial(_ask, subject, dataset.queries, callers)
                            for subject in (ours, bare)
                        ],
                        seconds=session.settings.seconds,
                        turns=_TURNS,
                    )
                cases += [got.case(name, wanted), reference.case(f"{bare.name}, {name}", wanted)]
                ratios.append(
                    Ratio(
                        f"queries per second of {name} to the {bare.name}",
                        _rate(got) / _rate(reference),
                        at_least=0.85,
                    )
                )
                ratios.append(_recall_ratio(session, f"recall@10 of {name}", got))
            bare.close()
    ours.close()
    alone = bare_queries(session)
    cases.append(alone.case("hnswlib alone", wanted))
    return Result("query", cases, ratios)


def query_batch(session: Session) -> Result:
    """Many queries in one call, beside hnswlib alone on all cores."""
    wanted, graph = session.wanted(), session.bare_graph
    queries = session.dataset.queries
    keys = session.dataset.keys
    # hnswlib gets the rows as it needs them: what the service does to a query counts.
    rows = unit_rows(queries)
    with Client(session.loaded_server.target) as client, session.working("query_batch"):

        def of_server(places: list[int]) -> list[list[str]]:
            hits = client.query_vectors_batch(BUCKET, INDEX_NAME, queries[places], top_k=TOP_K)
            return [[hit.key for hit in row] for row in hits]

        def of_graph(places: list[int]) -> list[list[str]]:
            found = graph.search_many(rows[places], TOP_K)
            return [[keys[place] for place in row] for row in found.tolist()]

        got, reference = in_turns(
            [partial(_ask_batches, one, len(queries)) for one in (of_server, of_graph)],
            seconds=session.settings.seconds,
            turns=_TURNS,
        )
    cases = [
        _batch_case(got, f"{QUERIES_IN_BATCH} queries in a call", wanted),
        _batch_case(reference, "hnswlib alone on all cores", wanted),
    ]
    ratio = Ratio(
        "queries per second to hnswlib alone on all cores",
        _rate(got) / _rate(reference),
        at_least=0.8,
    )
    return Result("query_batch", cases, [ratio, _recall_ratio(session, "recall@10", got)])


def engine(session: Session) -> Result:
    """The engine without the RPC, beside hnswlib alone."""
    subject = EngineSubject(session.dataset.dimension)
    try:
        result = measure_subject(session, subject)
    finally:
        subject.close()
    reference = bare_queries(session).case("hnswlib alone", session.wanted())
    first = next(case for case in result.cases if case.name == "1 caller")
    slowdown = (first.p50_ms or 0.0) / (reference.p50_ms or 1.0)
    ratio = Ratio("p50 of 1 caller to hnswlib alone", slowdown)
    return Result("engine", (*result.cases, reference), [ratio])


def bare_queries(session: Session) -> Asked:
    """Return what hnswlib alone gets, one thread, one query a call, each query once."""
    graph, asked = session.bare_graph, Asked()
    with session.working("querying: hnswlib alone"):
        for position, row in enumerate(unit_rows(session.dataset.queries)):
            began = time.perf_counter()
            nearest = graph.search(row, TOP_K)
            asked.latencies_s.append(time.perf_counter() - began)
            asked.found[position] = [session.dataset.keys[place] for place in nearest.tolist()]
    asked.seconds = sum(asked.latencies_s)
    return asked


def _ask(
    subject: ServerSubject, queries: Float32Array, callers: int, seconds: float, first: int
) -> Asked:
    """Take one turn."""
    return ask(subject, queries, callers=callers, seconds=seconds, first=first)


def _ask_batches(search: Search, count: int, seconds: float, first: int) -> Asked:
    """Take one turn of many queries a call; the latencies are those of calls."""
    batch = min(QUERIES_IN_BATCH, count)
    search(list(range(batch)))
    asked = Asked()
    began = ended = time.perf_counter()
    while not asked.latencies_s or ended < began + seconds:
        start = (first + len(asked.latencies_s)) * batch
        places = [place % count for place in range(start, start + batch)]
        called = time.perf_counter()
        found = search(places)
        ended = time.perf_counter()
        asked.latencies_s.append(ended - called)
        asked.found.update(zip(places, found, strict=True))
    asked.seconds = ended - began
    return asked


def _batch_case(asked: Asked, name: str, wanted: Sequence[Sequence[str]]) -> Case:
    """Return a case that counts queries; its latencies are those of calls."""
    queries = len(asked.latencies_s) * min(QUERIES_IN_BATCH, len(wanted))
    return replace(asked.case(name, wanted), count=queries)


def _recall_ratio(session: Session, name: str, asked: Asked) -> Ratio:
    """Return the recall of what was asked without a filter, and what it is to be."""
    bound = RECALL_AT_LEAST if session.has_recall_floor else None
    return Ratio(name, asked.recall(session.wanted()), at_least=bound)


def _rate(asked: Asked) -> float:
    """Return answers per second."""
    return len(asked.latencies_s) / asked.seconds
