"""A steady load for a server: new vectors in one stream, at a pace, until it is told to stop.

Run as a program, so that the queries beside it do not share an interpreter with it:

    bench_load.py TARGET PACE < rows.npy

where PACE is in vectors per second, 0 for as fast as the server takes them, and the rows are put
again and again, a little moved, under new keys. It says ``loading`` when the first batch was
acknowledged, ends with SIGTERM, and then says how many vectors a second were acknowledged.

Rules of this file: the client's own stream with its default batches; what paces it is the iterable
that the client reads.
"""

from __future__ import annotations

import io
import itertools
import signal
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

from bench_data import Float32Array, moved_rows
from bench_session import BUCKET, INDEX_NAME
from bench_subject import BATCH_VECTORS
from vectorbucket import Client, PutProgress

_MOVED = 0.01
"""How far, as a share of its length, a row put again lies from where it lay."""


def rows_at_pace(
    rows: Float32Array, pace: float, stop: threading.Event
) -> Iterator[tuple[str, Float32Array]]:
    """Yield keys and vectors until ``stop`` is set, a batch at once, each batch when it is due.

    Args:
        rows: float32, shape (n, dimension).
        pace: Vectors per second; 0: no pace.
        stop: Ends it, after a whole batch.
    """
    rng = np.random.default_rng(7)
    began = time.perf_counter()
    for start in itertools.count(0, BATCH_VECTORS):
        due = began + start / pace if pace else 0.0
        if stop.wait(max(0.0, due - time.perf_counter())):
            return
        places = np.arange(start, start + BATCH_VECTORS) % len(rows)
        for number, row in enumerate(moved_rows(rows[places], _MOVED, rng), start):
            yield f"load-{number:09d}", row


def load(target: str, pace: float, rows: Float32Array) -> None:
    """Put until SIGTERM; print when it began, and at the end how fast it was."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    counts: list[tuple[float, int]] = []

    def note(progress: PutProgress) -> None:
        if progress.finished:
            return  # comes when the load is told to stop, not when a batch was acknowledged
        if progress.rejected:
            raise RuntimeError("the server rejects the load")
        if not counts:
            print("loading", flush=True)
        counts.append((time.perf_counter(), progress.stored))

    with Client(target) as client:
        client.put_vectors(BUCKET, INDEX_NAME, rows_at_pace(rows, pace, stop), progress=note)
    (began, first), (ended, last) = counts[0], counts[-1]
    print(f"acknowledged {(last - first) / max(ended - began, 1e-9):.0f}", flush=True)


if __name__ == "__main__":
    load(sys.argv[1], float(sys.argv[2]), np.load(io.BytesIO(sys.stdin.buffer.read())))
