"""Workloads that put: how long until all is acknowledged, and until all is indexed.

Rules of this file: every repeat takes the service and its references one after the other on fresh
servers, so that they meet the same noise; medians are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from bench_reference import build_bare_graph, put_bare
from bench_report import Case, Result, case_of
from bench_server import start_reference
from bench_session import Session
from vectorbucket import Client


@dataclass(frozen=True, slots=True)
class Run:
    """One repeat, in seconds from the first message on."""

    answered_s: Sequence[float]
    """When each answer came."""
    indexed_s: float
    bare_answered_s: Sequence[float]
    graph_s: float


def put_stream(session: Session) -> Result:
    """Stream all vectors, keys and numbers alone, into a fresh server."""
    return _put_stream(session, "put_stream", metadata=False)


def put_stream_metadata(session: Session) -> Result:
    """Stream all vectors with their metadata into a fresh server."""
    return _put_stream(session, "put_stream_metadata", metadata=True)


def _put_stream(session: Session, workload: str, *, metadata: bool) -> Result:
    """Measure a stream and its two references, in turns."""
    repeats = session.settings.repeats
    runs = [
        _run(session, f"{workload}, run {number} of {repeats}", metadata=metadata)
        for number in range(1, repeats + 1)
    ]
    count = len(session.dataset.keys)
    acknowledged_s = median(run.answered_s[-1] for run in runs)
    indexed_s = median(run.indexed_s for run in runs)
    bare_s = median(run.bare_answered_s[-1] for run in runs)
    graph_s = median(run.graph_s for run in runs)
    answers = [run.answered_s for run in runs]
    bare_answers = [run.bare_answered_s for run in runs]
    return Result(
        workload,
        (
            _stream_case("all acknowledged", count, acknowledged_s, answers),
            _stream_case("bare stream server", count, bare_s, bare_answers),
            Case("all indexed", "vectors", count, indexed_s),
            Case("hnswlib alone", "vectors", count, graph_s),
        ),
        {
            "acknowledged to bare stream server": acknowledged_s / bare_s,
            "indexed to hnswlib alone": indexed_s / graph_s,
        },
    )


def _run(session: Session, what: str, *, metadata: bool) -> Run:
    """Take one repeat."""
    dataset = session.dataset
    if not metadata:
        dataset = replace(dataset, metadata=({},) * len(dataset.keys))
    with (
        session.working(f"{what}: bare stream server"),
        session.folder() as data_dir,
        start_reference(data_dir) as server,
    ):
        bare_answered_s = put_bare(server.target, dataset)
    with session.server() as server, Client(server.target) as client:
        answered_s, indexed_s = session.put_and_index(client, what, metadata=metadata)
    with session.working(f"{what}: hnswlib alone"):
        graph_s = build_bare_graph(dataset.data).build_s
    return Run(answered_s, indexed_s, bare_answered_s, graph_s)


def _stream_case(
    name: str, count: int, seconds: float, answered_s: Sequence[Sequence[float]]
) -> Case:
    """Return a case whose latencies are the times from one answer to the next, over all runs."""
    gaps = np.concatenate([np.diff([0.0, *moments]) for moments in answered_s])
    return case_of(name, "vectors", count=count, seconds=seconds, latencies_s=gaps.tolist())
