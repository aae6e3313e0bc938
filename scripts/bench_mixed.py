"""The workload of queries beside a load: how much later answers come while vectors are put.

Rules of this file: the load is a process of its own; a percentile is compared with that of as many
queries without the load, on the same server, right before; that the paced load kept its pace and
that as many were asked is asked for, too.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bench_data import Float32Array
from bench_ours import ServerSubject
from bench_report import Case, Ratio, Result
from bench_server import ROOT, SOURCES, wait_until_quiet
from bench_session import Session
from bench_subject import ask
from vectorbucket import Client

PACE = 3_000
"""Vectors per second of the paced load."""

SLOWER_AT_MOST = 5.0
"""How many times the idle p99 that beside the paced load may be."""

PACE_KEPT_AT_LEAST = 0.95
"""What share of the pace is to be acknowledged."""

_PATIENCE = 20
"""How many times longer than without a load as many queries may take until they are cut short."""

_END_WITHIN_S = 60.0


@dataclass(slots=True)
class Load:
    """What a load has done; known when it has ended."""

    per_second: float = 0.0
    """Vectors that were acknowledged."""


def put_during_query(session: Session) -> Result:
    """Query by one caller, alone, beside a paced stream and beside one without a pace."""
    queries, seconds = session.dataset.queries, session.settings.seconds
    with session.server() as server:
        with Client(server.target) as client:
            session.put_and_index(client, "put_during_query: loading")
        wait_until_quiet(server.pid)
        subject = ServerSubject(server)
        with session.working("put_during_query: idle"):
            idle = ask(subject, queries, seconds=seconds)
        count = len(idle.latencies_s)
        cases = [idle.case("idle", session.wanted())]
        ratios = []
        for pace, name in (
            (PACE, f"beside {PACE:,} vectors/s"),
            (0, "beside a stream unthrottled"),
        ):
            with (
                session.working(f"put_during_query: {name}"),
                loading(server.target, session.dataset.data, pace) as load,
            ):
                beside = ask(subject, queries, count=count, seconds=_PATIENCE * seconds)
            # The load moves the true neighbours, so that recall would say nothing here.
            cases.append(beside.timing(name))
            cases.append(Case(f"{name}: acknowledged", "vectors", round(load.per_second), 1.0))
            bound = SLOWER_AT_MOST if pace else None
            slower = beside.p99_ms() / idle.p99_ms()
            ratios.append(Ratio(f"p99 {name} to idle p99", slower, at_most=bound))
            if pace:
                kept = load.per_second / pace
                asked = len(beside.latencies_s) / count
                ratios += [
                    Ratio("acknowledged to the pace", kept, at_least=PACE_KEPT_AT_LEAST),
                    Ratio(f"queries {name} to idle queries", asked, at_least=1.0),
                ]
        subject.close()
    return Result("put_during_query", cases, ratios)


@contextmanager
def loading(target: str, rows: Float32Array, pace: float) -> Iterator[Load]:
    """Put rows into a server from another process while the block runs.

    Args:
        target: HOST:PORT.
        rows: float32, shape (n, dimension).
        pace: Vectors per second; 0: as fast as the server takes them.

    Yields:
        What it did, known after the block.

    Raises:
        RuntimeError: The load failed.
    """
    saved = io.BytesIO()
    np.save(saved, rows)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "bench_load.py"), target, str(pace)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=SOURCES,
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    load = Load()
    try:
        process.stdin.write(saved.getvalue())
        process.stdin.close()
        if process.stdout.readline() != b"loading\n":
            raise RuntimeError(f"the load did not begin (exit code {process.wait()})")
        yield load
        process.terminate()
        told = process.stdout.readline().split()
        if process.wait(_END_WITHIN_S) or not told:
            raise RuntimeError(f"the load failed (exit code {process.returncode})")
        load.per_second = float(told[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
