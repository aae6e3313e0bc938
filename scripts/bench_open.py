"""Workloads of a server's start and size: until the first right answer, and how much it takes.

Rules of this file: a start is measured from the moment the command is given, the interpreter's own
start included; an answer is right when vectors that were stored before find themselves.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from bench_churn import replaced
from bench_data import Dataset
from bench_report import Case, Ratio, Result
from bench_server import (
    SOURCES,
    ServerProcess,
    anonymous_bytes,
    start_server,
    wait_until_quiet,
)
from bench_session import BUCKET, INDEX_NAME, TOP_K, Session, make_index
from vectorbucket import Client

CHANGES = 5_000
"""Vectors that are replaced between the checkpoint and the kill."""

MEMORY_BASE_BYTES = 120_000_000
"""What a server may take beside twice its float32 numbers."""

_IMPORT = "import vectorbucket_server.app"
_RIGHT_WITHIN_S = 120.0
_MEGABYTE = 1_000_000


def open_again(session: Session) -> Result:
    """Start over a data directory, after a clean stop and after a kill, until it answers right."""
    dataset = session.dataset
    changes = min(CHANGES, len(dataset.keys) // 2)
    other = replaced(dataset, 1, seed=session.settings.seed)
    clean_s, killed_s, import_s = [], [], []
    with session.folder() as data_dir:
        now = dataset
        _load(session, data_dir).stop()
        for number in range(session.settings.repeats):
            with session.working(f"open, run {number + 1} of {session.settings.repeats}"):
                import_s.append(_import_s())
                server, seconds = start_until_right(data_dir, now)
                clean_s.append(seconds)
                # Every run replaces what the run before it has put.
                now = _changed(dataset, other if number % 2 == 0 else dataset, changes)
                _put(server, now, changes)
                server.kill()
                server, seconds = start_until_right(data_dir, now)
                killed_s.append(seconds)
                server.stop()
    clean, killed, imported = median(clean_s), median(killed_s), median(import_s)
    return Result(
        "open",
        (
            Case("start after a clean stop", "starts", 1, clean),
            Case(f"start after SIGKILL, {changes:,} changes", "starts", 1, killed),
            Case(f"python -c '{_IMPORT}'", "starts", 1, imported),
        ),
        (
            Ratio("seconds after a clean stop beyond the import", clean - imported, at_most=1.0),
            Ratio("seconds after SIGKILL", killed, at_most=3.0),
            Ratio("seconds after SIGKILL beyond the import", killed - imported),
        ),
    )


def memory(session: Session) -> Result:
    """Anonymous memory of a server: empty, loaded, and started again over the same data."""
    allowed = 2 * session.dataset.data.nbytes + MEMORY_BASE_BYTES
    with session.folder() as data_dir:
        with start_server(data_dir) as server, session.working("memory: empty"):
            wait_until_quiet(server.pid)
            empty = anonymous_bytes(server.pid)
        server = _load(session, data_dir)
        with session.working("memory: loaded"):
            wait_until_quiet(server.pid)
            loaded = anonymous_bytes(server.pid)
            server.stop()
        with session.working("memory: started again"):
            server, _ = start_until_right(data_dir, session.dataset)
            wait_until_quiet(server.pid)
            again = anonymous_bytes(server.pid)
            server.stop()
    figures = {"empty": empty, "loaded": loaded, "started again": again}
    cases = [Case(name, "MB", round(taken / _MEGABYTE)) for name, taken in figures.items()]
    cases.append(Case("twice the float32 numbers + 120 MB", "MB", round(allowed / _MEGABYTE)))
    ratios = [
        Ratio(f"{name} to twice the float32 numbers + 120 MB", taken / allowed, at_most=1.0)
        for name, taken in figures.items()
        if taken is not empty
    ]
    return Result("memory", cases, ratios)


def start_until_right(data_dir: Path, dataset: Dataset) -> tuple[ServerProcess, float]:
    """Start a server and return it with the seconds until it answered right.

    Args:
        data_dir: Where its data are.
        dataset: What it holds.

    Raises:
        RuntimeError: It answers, but not right, for two minutes.
    """
    places = np.linspace(0, len(dataset.keys) - 1, 5).astype(int).tolist()
    began = time.perf_counter()
    server = start_server(data_dir)
    with Client(server.target) as client:
        while not all(_finds_itself(client, dataset, place) for place in places):
            if time.perf_counter() > began + _RIGHT_WITHIN_S:
                server.kill()
                raise RuntimeError("the server does not find what it was given")
        return server, time.perf_counter() - began


def _finds_itself(client: Client, dataset: Dataset, place: int) -> bool:
    """Return whether a query for a stored vector finds it; others may be as near."""
    hits = client.query_vectors(BUCKET, INDEX_NAME, dataset.data[place], top_k=TOP_K)
    return dataset.keys[place] in [hit.key for hit in hits]


def _load(session: Session, data_dir: Path) -> ServerProcess:
    """Start a server and return it when it has indexed the data set and has nothing more to do."""
    server = start_server(data_dir)
    make_index(server.target, session.dataset.dimension)
    with Client(server.target) as client:
        session.put_and_index(client, "loading a server")
    wait_until_quiet(server.pid)
    return server


def _changed(dataset: Dataset, source: Dataset, count: int) -> Dataset:
    """Return a data set whose first vectors are another's."""
    return replace(
        dataset,
        data=np.concatenate([source.data[:count], dataset.data[count:]]),
        metadata=source.metadata[:count] + dataset.metadata[count:],
    )


def _put(server: ServerProcess, dataset: Dataset, count: int) -> None:
    """Put the first vectors of a data set."""
    few = dataset.first(count)
    with Client(server.target) as client:
        client.put_vectors(BUCKET, INDEX_NAME, keys=few.keys, data=few.data, metadata=few.metadata)


def _import_s() -> float:
    """Return how long an interpreter takes to start and to import the server."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORT], env=SOURCES, check=True)
    return time.perf_counter() - began
