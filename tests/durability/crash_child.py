"""A process that writes to an embedded engine and dies at a chosen instruction.

    crash_child.py DATA_DIR SEED POINT NTH

It opens the engine, then applies the operations of a seed one after the other, writing ``begun``
before and ``done`` after each, until the NTH time that it comes to POINT; there it ends without a
word, as if killed. What the engine does is not changed: methods are wrapped, nothing is replaced.

Rules of this file: test_crash.py runs it; the engine knows nothing of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durability.ledger import Operation, random_operations
from vectorbucket.errors import NoSuchBucket
from vectorbucket_server.engine.embedded import indexer
from vectorbucket_server.engine.embedded.dead_rows import DeadRows
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Bucket, DistanceMetric, Index, VectorBatch

DIMENSION = 8
GRAPH_ROWS_MIN = 50
BUCKET = "crashing"
DIED = 77
"""The exit code of a process that came to its point."""

_OPERATIONS_MAX = 400
"""After so many it gives up: the point is not on its way."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place to die at: before or after a call of a method."""

    owner: type
    method: str
    after: bool


POINTS = {
    f"{'after' if after else 'before'} {what}": Point(owner, method, after)
    for what, owner, method in (
        ("a write to the store", Store, "write"),
        ("a sync of the store", Store, "sync"),
        ("rows are staged", Generation, "stage"),
        ("a batch becomes visible", Generation, "commit"),
        ("a turn of the indexer", Generation, "turn"),
        ("dead rows are removed", DeadRows, "remove"),
    )
    for after in (False, True)
}
"""Point by name."""


def options(data_dir: Path) -> EmbeddedOptions:
    """Return the options of the engine, which builds graphs early."""
    return EmbeddedOptions(data_dir=data_dir, graph_rows_min=GRAPH_ROWS_MIN)


def operations(seed: int) -> Iterator[Operation]:
    """Yield the operations of a seed, which writer and judge share."""
    return random_operations(seed, "k", keys=150, batch_max=30, delete_share=0.2)


def open_index(engine: EmbeddedEngine) -> Index:
    """Return the index that is written to, made if this is the first process."""
    try:
        return engine.get_index(BUCKET, "vectors")
    except NoSuchBucket:
        engine.put_bucket(Bucket(BUCKET, "1", 0), buckets_max=1)
        index = Index(BUCKET, "vectors", DIMENSION, DistanceMetric.EUCLIDEAN)
        return engine.put_index(index, indexes_max=1)


def apply(engine: EmbeddedEngine, index: Index, operation: Operation) -> None:
    """Do an operation."""
    if operation.deletes:
        engine.delete_vectors(index, operation.keys)
    else:
        batch = VectorBatch(operation.keys, operation.rows(DIMENSION), operation.metadata())
        engine.put_vectors(index, batch)


def arm(point: Point, nth: int) -> None:
    """Make the process die at the nth coming to a point."""
    wrapped: Callable[..., Any] = getattr(point.owner, point.method)
    comings = iter(range(nth - 1, -1, -1))

    def dying(*arguments: Any, **named: Any) -> Any:
        last = next(comings) == 0
        if last and not point.after:
            os._exit(DIED)
        result = wrapped(*arguments, **named)
        if last:
            os._exit(DIED)
        return result

    setattr(point.owner, point.method, dying)


def main(data_dir: Path, seed: int, point: Point, nth: int) -> None:
    """Write until the point is reached."""
    indexer._BURST_S = 0.0  # else the indexer would wait until the burst is over
    engine = EmbeddedEngine(options(data_dir))
    engine.open()
    index = open_index(engine)
    arm(point, nth)
    for _, operation in zip(range(_OPERATIONS_MAX), operations(seed), strict=False):
        # Straight to the descriptor: a buffer would die with the process.
        os.write(1, b"begun\n")
        apply(engine, index, operation)
        os.write(1, b"done\n")
    engine.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), POINTS[sys.argv[3]], int(sys.argv[4]))
