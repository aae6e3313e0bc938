"""Processes that write to an embedded engine and die at a chosen instruction.

This program forks one for every line of JSON on its standard input, ``[DATA_DIR, SEED, POINT,
NTH]``, and answers with another, ``{"exit_code": …, "lines": […]}``; so modules are imported once.
A child opens the engine, then applies the operations of a seed one after the other, writing
``begun`` before and ``done`` after each, until the NTH time that it comes to POINT; there it ends
without a word, as if killed. What the engine does is not changed: methods are wrapped, nothing is
replaced.

Rules of this file: test_crash.py runs it; the engine knows nothing of it; before it forks it never
starts a thread or an engine, so that every child begins as a new process would.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durability.ledger import Operation, random_operations
from vectorbucket.errors import NoSuchBucket
from vectorbucket_server.engine.embedded import indexer, rebuild, saver
from vectorbucket_server.engine.embedded.dead_rows import DeadRows
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.forked import Child
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rebuild import Rebuild
from vectorbucket_server.engine.embedded.saver import Saver
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Bucket, DistanceMetric, Index, VectorBatch

DIMENSION = 8
GRAPH_ROWS_MIN = 50
BUCKET = "crashing"
DIED = 77
"""The exit code of a process that came to its point."""

_OPERATIONS_MAX = 4_000
"""After so many it gives up: the point is not on its way. What it says of them fits into a pipe,
which nobody reads before its end."""

_DIES_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Point:
    """A place to die at: before or after a call of a method."""

    owner: type
    method: str
    after: bool
    comings_max: int
    """Most comings to wait for: some points are far between."""


POINTS = {
    f"{'after' if after else 'before'} {what}": Point(owner, method, after, comings_max)
    for what, owner, method, comings_max in (
        ("a write to the store", Store, "write", 25),
        ("a sync of the store", Store, "sync", 25),
        ("rows are staged", Generation, "stage", 25),
        ("a batch becomes visible", Generation, "commit", 25),
        ("a turn of the indexer", Generation, "turn", 25),
        ("dead rows are removed", DeadRows, "remove", 25),
        ("a child is waited for that writes a checkpoint", Child, "wait", 3),
        ("a checkpoint is named", Saver, "_name", 3),
        ("a step of a rebuild", Rebuild, "step", 10),
        ("the last step of a rebuild", Rebuild, "finish", 5),
        ("the old generation goes", Rebuild, "sweep", 5),
    )
    for after in (False, True)
}
"""Point by name."""


def options(data_dir: Path) -> EmbeddedOptions:
    """Return the options of the engine, which builds graphs early and saves them often."""
    return EmbeddedOptions(
        data_dir=data_dir,
        graph_rows_min=GRAPH_ROWS_MIN,
        checkpoint_changes_min=50,
        checkpoint_changes_share=0.0,
    )


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
    comings = itertools.count(1)

    def dying(*arguments: Any, **named: Any) -> Any:
        last = next(comings) == nth
        if last and not point.after:
            os._exit(DIED)
        result = wrapped(*arguments, **named)
        if last:
            os._exit(DIED)
        return result

    setattr(point.owner, point.method, dying)


def write_until_dead(data_dir: Path, seed: int, point: Point, nth: int, said: int) -> None:
    """Write until the point is reached.

    Args:
        data_dir: Where the engine is.
        seed: Of the operations.
        point: Where to die.
        nth: At which coming.
        said: The descriptor to write ``begun`` and ``done`` to.
    """
    indexer._BURST_S = 0.0  # else the indexer would wait until the burst is over
    rebuild._DEAD_MIN, saver._LOOK_AGAIN_S = 20, 0.01  # else neither would have its turn
    engine = EmbeddedEngine(options(data_dir))
    engine.open()
    index = open_index(engine)
    arm(point, nth)
    for _, operation in zip(range(_OPERATIONS_MAX), operations(seed), strict=False):
        # Straight to the descriptor: a buffer would die with the process.
        os.write(said, b"begun\n")
        apply(engine, index, operation)
        os.write(said, b"done\n")
    engine.close()


def forked(data_dir: str, seed: int, point: str, nth: int) -> dict[str, Any]:
    """Let a child write until it dies; return its exit code and what it wrote.

    The exit code is negative for a signal: one that does not end in time is killed. What it fails
    with is on standard error.
    """
    reading, said = os.pipe()
    child = multiprocessing.get_context("fork").Process(
        target=write_until_dead, args=(Path(data_dir), seed, POINTS[point], nth, said)
    )
    child.start()
    os.close(said)
    child.join(_DIES_WITHIN_S)
    if child.exitcode is None:
        child.kill()
        child.join()
    with os.fdopen(reading, encoding="ascii") as lines:
        return {"exit_code": child.exitcode, "lines": lines.read().split()}


def main() -> None:
    """Do what standard input asks for, until it ends."""
    for line in sys.stdin:
        print(json.dumps(forked(*json.loads(line))), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
