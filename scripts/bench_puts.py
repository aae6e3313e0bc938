"""Workloads that put: how long until all is acknowledged, and until all is indexed.

Rules of this file: every repeat takes the service and its references one after the other on fresh
servers, so that they meet the same noise; medians are compared.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from bench_data import Dataset
from bench_reference import BATCH_VECTORS, build_bare_graph, put_bare
from bench_report import Case, Ratio, Result, case_of
from bench_server import start_reference
from bench_session import BUCKET, INDEX_NAME, Session
from vectorbucket import Client
from vectorbucket_server.engine.embedded.options import EmbeddedOptions


@dataclass(frozen=True, slots=True)
class Run:
    """One repeat, in seconds from the first message on."""

    answers: Sequence[tuple[float, int]]
    """When each answer came, and how many vectors were stored by then."""
    indexed_s: float
    bare_answered_s: Sequence[float]
    graph_s: float

    def within(self, count: int) -> tuple[float, float]:
        """Return when the service and the bare server had answered for the first vectors."""
        ours_s = next(seconds for seconds, stored in self.answers if stored >= count)
        # The bare client's batches all have the same size; ours are the client's to choose.
        return ours_s, self.bare_answered_s[-(-count // BATCH_VECTORS) - 1]


def put(session: Session) -> Result:
    """Put all vectors with their metadata by unary calls, one after the other."""
    dataset = session.dataset
    bare_answered_s = _put_bare(session, "put", dataset)
    with session.server() as server, Client(server.target) as client, session.working("put"):
        latencies_s = []
        client.get_vector_index(BUCKET, INDEX_NAME)  # connects, outside the measured time
        began = time.perf_counter()
        for start in range(0, len(dataset.keys), BATCH_VECTORS):
            rows = slice(start, start + BATCH_VECTORS)
            called = time.perf_counter()
            client.put_vectors_batch(
                BUCKET,
                INDEX_NAME,
                keys=dataset.keys[rows],
                data=dataset.data[rows],
                metadata=dataset.metadata[rows],
            )
            latencies_s.append(time.perf_counter() - called)
        seconds = time.perf_counter() - began
    count = len(dataset.keys)
    bare = _stream_case("bare stream server", count, bare_answered_s[-1], [bare_answered_s])
    ours = case_of(
        f"{BATCH_VECTORS} vectors a call",
        "vectors",
        count=count,
        seconds=seconds,
        latencies_s=latencies_s,
    )
    ratio = Ratio("vectors per second to bare stream server", bare_answered_s[-1] / seconds)
    return Result("put", (ours, bare), [ratio])


def put_stream(session: Session) -> Result:
    """Stream all vectors, keys and numbers alone, into a fresh server."""
    return _put_stream(session, "put_stream", metadata=False)


def put_stream_metadata(session: Session) -> Result:
    """Stream all vectors with their metadata into a fresh server."""
    return _put_stream(session, "put_stream_metadata", metadata=True)


def vectors_within_bound(count: int, dimension: int) -> int:
    """Return how many of so many vectors fit the default bound on pending ones, one at least."""
    bound = EmbeddedOptions(Path()).pending_bytes_max
    return max(1, min(count, bound // (4 * dimension)))


def _put_stream(session: Session, workload: str, *, metadata: bool) -> Result:
    """Measure a stream and its two references, in turns."""
    repeats = session.settings.repeats
    runs = [
        _run(session, f"{workload}, run {number} of {repeats}", metadata=metadata)
        for number in range(1, repeats + 1)
    ]
    count = len(session.dataset.keys)
    bounded = vectors_within_bound(count, session.dataset.dimension)
    acknowledged_s = median(run.answers[-1][0] for run in runs)
    indexed_s = median(run.indexed_s for run in runs)
    bare_s = median(run.bare_answered_s[-1] for run in runs)
    graph_s = median(run.graph_s for run in runs)
    answers = [[seconds for seconds, _ in run.answers] for run in runs]
    bare_answers = [run.bare_answered_s for run in runs]
    ours_within_s, bare_within_s = (
        median(moments) for moments in zip(*(run.within(bounded) for run in runs), strict=True)
    )
    ratios = [
        Ratio(
            f"vectors per second of the first {bounded:,} to bare stream server",
            bare_within_s / ours_within_s,
            at_least=0.75,
        ),
        Ratio("seconds until all indexed to hnswlib alone", indexed_s / graph_s, at_most=1.25),
    ]
    return Result(
        workload,
        (
            _stream_case("all acknowledged", count, acknowledged_s, answers),
            _stream_case("bare stream server", count, bare_s, bare_answers),
            Case("all indexed", "vectors", count, indexed_s),
            Case("hnswlib alone", "vectors", count, graph_s),
        ),
        ratios,
    )


def _run(session: Session, what: str, *, metadata: bool) -> Run:
    """Take one repeat."""
    dataset = session.dataset
    if not metadata:
        dataset = replace(dataset, metadata=({},) * len(dataset.keys))
    bare_answered_s = _put_bare(session, what, dataset)
    with session.server() as server, Client(server.target) as client:
        answers, indexed_s = session.put_and_index(client, what, metadata=metadata)
    with session.working(f"{what}: hnswlib alone"):
        graph_s = build_bare_graph(dataset.data).build_s
    return Run(answers, indexed_s, bare_answered_s, graph_s)


def _put_bare(session: Session, what: str, dataset: Dataset) -> list[float]:
    """Return when the bare server acknowledged each batch."""
    with (
        session.working(f"{what}: bare stream server"),
        session.folder() as data_dir,
        start_reference(data_dir) as server,
    ):
        return put_bare(server.target, dataset)


def _stream_case(
    name: str, count: int, seconds: float, answered_s: Sequence[Sequence[float]]
) -> Case:
    """Return a case whose latencies are the times from one answer to the next, over all runs."""
    gaps = np.concatenate([np.diff([0.0, *moments]) for moments in answered_s])
    return case_of(name, "vectors", count=count, seconds=seconds, latencies_s=gaps.tolist())
