"""An index → a file: reads over one stream, writes as it comes, and can be resumed.

Rules of this file: no more is in memory than what lies between two points of the file, a bounded
number of bytes. An export is no picture of one moment: what is written meanwhile may be in it or
not; what was there before and is not touched is in it, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vectorbucket import Client
from vectorbucket._models import IndexInfo, Vector
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.transfer_record import read_record, write_record
from vectorbucket.cli.transfer_target import Target, discard, partial_path

CHUNK_VECTORS = 256
"""Vectors that are written at once: 4 MB of numbers at the largest dimension."""

POINT_VECTORS = 50_000
"""Vectors from one point to resume from to the next, at most."""

POINT_BYTES = 32 * 1024 * 1024
"""Bytes from one point to the next, at most (but for a chunk); a row group of Parquet is as
large."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What of an index is exported.

    Attributes:
        filter: Only vectors that match; None: all.
        data: Whether their numbers are exported.
        segment_count: Into how many segments the keys are split.
        segment_index: Which segment.
    """

    filter: Mapping[str, Any] | None = None
    data: bool = True
    segment_count: int = 1
    segment_index: int = 0

    def as_json(self, index: IndexInfo) -> dict[str, Any]:
        """Return what is exported of an index, as JSON."""
        said: dict[str, Any] = {
            "bucket": index.bucket,
            "indexName": index.index_name,
            "createTime": index.create_time.isoformat(),
            "filter": None if self.filter is None else dict(self.filter),
            "data": self.data,
        }
        if self.segment_count != 1:
            said["segment"] = f"{self.segment_index} of {self.segment_count}"
        return said

    def total(self, index: IndexInfo) -> int | None:
        """Return how many vectors there will be, about; None where nobody knows."""
        if self.filter is not None or index.vector_count is None:
            return None
        return index.vector_count // self.segment_count


@dataclass(frozen=True, slots=True)
class Done:
    """How far an export has come.

    Attributes:
        count: Vectors that are exported.
        last_key: The key of the last one; empty before the first.
        point: Where the target goes on.
    """

    count: int = 0
    last_key: str = ""
    point: int = 0


def record_path(path: Path) -> Path:
    """Return where the record of an unfinished export stands."""
    return path.with_name(f"{path.name}.partial.json")


def unfinished(path: Path, task: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Done:
    """Return where an export to a file begins.

    Args:
        path: The file.
        task: What is to be exported.
        resume: Whether to go on with what was begun.
        overwrite: Whether what is there may be replaced.

    Raises:
        BadInput: Something is there that may not be replaced, or that is another export's.
    """
    record, partial = record_path(path), partial_path(path)
    if path.exists() and not overwrite:
        raise BadInput(f"{path} exists; --overwrite replaces it")
    if resume:
        done = read_record(record, task)
        return Done() if done is None else Done(**done)
    if record.exists() and not overwrite:
        raise BadInput(
            f"{partial} is an export that was not finished; --resume goes on with it, --overwrite "
            "begins anew"
        )
    record.unlink(missing_ok=True)
    discard(partial)
    return Done()


def export_vectors(
    client: Client,
    index: IndexInfo,
    selection: Selection,
    target: Target,
    *,
    begun: Done,
    note: Callable[[Done], None],
    show: Callable[[int], None],
) -> int:
    """Export, from where an earlier run ended to the end.

    Args:
        client: Reads the vectors.
        index: The index.
        selection: What of it.
        target: Takes them; it is begun, and finished by the caller.
        begun: How far the earlier run had come.
        note: Told of each point from which the export can be resumed.
        show: Told after each chunk how many vectors were exported.

    Returns:
        How many vectors were exported, those of earlier runs included.
    """
    vectors = client.scan_vectors(
        index.bucket,
        index.index_name,
        after_key=begun.last_key,
        filter=selection.filter,
        return_data=selection.data,
        return_metadata=True,
        segment_count=selection.segment_count,
        segment_index=selection.segment_index,
    )
    count, fresh, size = begun.count, 0, 0
    for chunk in _chunks(vectors):
        size += target.write(chunk)
        count += len(chunk)
        fresh += len(chunk)
        if fresh >= POINT_VECTORS or size >= POINT_BYTES:
            note(Done(count, chunk[-1].key, target.reach_point()))
            fresh, size = 0, 0
        show(count)
    return count


def note_in(path: Path, task: Mapping[str, Any]) -> Callable[[Done], None]:
    """Return what writes points into the record of a file."""

    def note(done: Done) -> None:
        said = {"count": done.count, "last_key": done.last_key, "point": done.point}
        write_record(record_path(path), task, said)

    return note


def _chunks(vectors: Iterable[Vector]) -> Iterator[list[Vector]]:
    """Yield vectors some at a time."""
    iterator = iter(vectors)
    while chunk := list(islice(iterator, CHUNK_VECTORS)):
        yield chunk
