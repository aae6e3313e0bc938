"""Rows of a file → an index: over one put stream, with every row accounted for.

Rules of this file: a row counts as done when its batch is acknowledged, or when it was rejected and
written down; rows are done in the order of the file, so that one number says where to go on. What
waits for an acknowledgement is in memory, and is bounded by the stream's window.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeAlias

from vectorbucket import Client, PutProgress, RejectedBatch, VectorBucketError
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import BadRow, Row, Source
from vectorbucket.cli.transfer_rejects import Rejects, bad_row
from vectorbucket.errors import VectorIndexParameterInvalid

NOTE_ROWS = 5_000
"""Rows from one note of how far an import has come to the next: a fraction of a second's work."""

_PLACE = re.compile(r"vectors\[(\d+)\]")
"""How an error names a vector of a batch."""

Tuple: TypeAlias = tuple[str, Any, Any]


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an import has come.

    Attributes:
        rows: Rows of the file, from its beginning, that are done.
        stored: Of these, how many are stored.
    """

    rows: int = 0
    stored: int = 0


class Import:
    """One run of an import.

    Args:
        client: Puts the vectors.
        place: Bucket and index.
        source: The file.
        rejects: Where bad rows go; None: the first one ends the import.
        begun: How far an earlier run had come.
        note: Told now and then, and in the end, how far this one has come.
    """

    def __init__(
        self,
        client: Client,
        place: tuple[str, str],
        source: Source,
        *,
        rejects: Rejects | None,
        begun: Reached,
        note: Callable[[Reached], None],
    ) -> None:
        self._client = client
        self._place = place
        self._source = source
        self._rejects = rejects
        self._note = note
        self._waiting: deque[Row] = deque()
        self._answered = 0
        self._read = begun.rows
        self._stored = begun.stored
        self._noted = begun.rows
        self._ended_at: int | None = None
        self._failure: Exception | None = None

    @property
    def reached(self) -> Reached:
        """How far it has come."""
        rows = self._waiting[0].number - 1 if self._waiting else self._read
        if self._ended_at is not None:
            rows = min(rows, self._ended_at)
        return Reached(rows, self._stored)

    def run(self, dimension: int, batch_size: int, show: Callable[[Reached], None]) -> Reached:
        """Import what is left of the file.

        Args:
            dimension: Numbers in each vector of the index.
            batch_size: Vectors in a batch.
            show: Told after each answer how far it has come.

        Raises:
            BadInput: A row is bad, and bad rows end the import; or the file is damaged.
            VectorBucketError: The server refused for another reason than a row.
        """

        def progressed(progress: PutProgress) -> None:
            self._acknowledge(progress.stored + progress.rejected)
            show(self.reached)

        rows = self._rows(dimension)
        try:
            first = next(rows, None)
            # A put of nothing would be refused.
            if first is not None:
                self._put(chain([first], rows), batch_size, progressed)
        finally:
            self._note_reached()
        if self._failure is not None:
            raise self._failure
        return self.reached

    def _put(
        self,
        rows: Iterable[Tuple],
        batch_size: int,
        progressed: Callable[[PutProgress], None],
    ) -> None:
        """Put rows over one stream."""
        self._client.put_vectors(
            *self._place,
            rows,
            on_rejected=self._refused,
            progress=progressed,
            batch_vectors_max=batch_size,
        )

    def _rows(self, dimension: int) -> Iterator[Tuple]:
        """Yield what is to be put, until the file or the import ends."""
        try:
            for row in self._source.rows(self._read, dimension):
                if self._failure is not None:
                    return
                self._read = row.number
                if isinstance(row, Row):
                    self._waiting.append(row)
                    yield row.key, row.data, row.metadata
                elif self._rejects is None:
                    self._end(self._error(row), row.number - 1)
                    return
                else:
                    self._rejects.write(row)
        except BadInput as damaged:
            # What came before is still acknowledged.
            self._failure = self._failure or damaged

    def _acknowledge(self, answered: int) -> None:
        """Take what was answered from what waits: the oldest, because answers come in order."""
        fresh, self._answered = answered - self._answered, answered
        for _ in range(fresh):
            row = self._waiting.popleft()
            # What is put again after an end is counted then.
            if self._ended_at is None or row.number <= self._ended_at:
                self._stored += 1
        if self.reached.rows - self._noted >= NOTE_ROWS:
            self._note_reached()

    def _refused(self, batch: RejectedBatch) -> None:
        """Do what is to be done about a batch that was not stored."""
        rows = list(islice(self._waiting, batch.count))
        before = rows[0].number - 1
        if self._ended_at is not None and before >= self._ended_at:
            return
        position = _position(batch.error)
        if position is None or position >= len(rows):
            self._end(batch.error, before)
        elif self._rejects is None:
            self._end(self._error(self._bad(rows, position, batch.error)), before)
        else:
            # Until the rest is stored, nothing of the batch is done, however this ends.
            held, self._ended_at = self._ended_at, before
            self._stored -= self._put_rest(rows, batch.error, self._rejects)
            self._ended_at = held

    def _put_rest(self, rows: list[Row], error: VectorBucketError, rejects: Rejects) -> int:
        """Put a refused batch without the rows that it was refused for.

        A row whose key stands further on in the file, and is under way, is left out as well: the
        later one holds.

        Returns:
            For how many rows it was refused.

        Raises:
            VectorBucketError: It is refused for another reason than a row.
        """
        newer = {row.key for row in islice(self._waiting, len(rows), None)}
        rejected = 0
        while True:
            position = _position(error)
            if position is None or position >= len(rows):
                raise error
            rejects.write(self._bad(rows, position, error))
            del rows[position]
            rejected += 1
            rows = [row for row in rows if row.key not in newer]
            if not rows:
                return rejected
            try:
                vectors = [(row.key, row.data, row.metadata) for row in rows]
                self._client.put_vectors_batch(*self._place, vectors)
            except VectorIndexParameterInvalid as again:
                error = again
            else:
                return rejected

    def _note_reached(self) -> None:
        """Note how far it has come."""
        reached = self.reached
        if self._rejects is not None:
            self._rejects.flush()
        self._noted = reached.rows
        self._note(reached)

    def _end(self, failure: Exception, rows: int) -> None:
        """Take no more rows; so many are done, whatever else is answered."""
        self._failure = failure
        self._ended_at = rows

    def _bad(self, rows: list[Row], position: int, error: VectorBucketError) -> BadRow:
        """Return the row that a batch was refused for, in words that count in the file."""
        _, _, field = (error.field or "").partition("].")
        _, _, problem = error.message.partition(f"vectors[{position}]")
        problem = _PLACE.sub(
            lambda found: f"{self._source.unit} {rows[int(found[1])].number}",
            problem.lstrip(". ") or error.message,
        )
        return bad_row(rows[position], field, problem)

    def _error(self, bad: BadRow) -> BadInput:
        """Return the error that a row is bad."""
        named = f" (key {bad.key!a})" if bad.key is not None else ""
        place = f"{self._source.name}, {self._source.unit} {bad.number}{named}"
        problem = bad.problem if bad.field else f"it {bad.problem}"
        return BadInput(
            f"{place}: {problem}; --on-error skip goes on without such rows and writes them down"
        )


def _position(error: VectorBucketError) -> int | None:
    """Return which vector of its batch an error is about; None if it is about none."""
    found = _PLACE.match(error.field or "")
    return int(found[1]) if found and isinstance(error, VectorIndexParameterInvalid) else None
