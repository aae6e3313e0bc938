"""What became of the batches of a put so far, who is told, and what the caller gets in the end.

Rules of this file: no network; callbacks are called here, on the caller's thread, and what they
raise reaches the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

from vectorbucket._models import PutRejected, PutResult, RejectedBatch
from vectorbucket._progress import ProgressCallback, PutProgress
from vectorbucket.errors import VectorBucketError

RejectedCallback: TypeAlias = Callable[[RejectedBatch], None]
"""Called for each batch that was rejected, as soon as that is known."""


class Tally:
    """Counts batches.

    Args:
        total: Vectors that are to be put; None if unknown.
        on_rejected: Told of each rejected batch; with it, rejections are no exception.
        progress: Told of each answer.
    """

    def __init__(
        self,
        total: int | None = None,
        *,
        on_rejected: RejectedCallback | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self._total = total
        self._on_rejected = on_rejected
        self._progress = progress
        self._batches = 0
        self._stored = 0
        self._refused = 0
        self._rejected: list[RejectedBatch] = []

    def stored(self, count: int) -> None:
        """Note that a batch of so many vectors is stored."""
        self._batches += 1
        self._stored += count
        self._report()

    def rejected(self, batch: RejectedBatch) -> None:
        """Note that a batch was rejected."""
        self._batches += 1
        self._refused += batch.count
        self._rejected.append(batch)
        if self._on_rejected is not None:
            self._on_rejected(batch)
        self._report()

    def __enter__(self) -> Self:
        """Return the tally."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Make the last report; where the put failed, tell the error how far it had come."""
        self._report(finished=True)
        if isinstance(error, VectorBucketError):
            error.add_note(self.summary())

    def summary(self) -> str:
        """Return one line that says what became of the batches so far."""
        return (
            f"Until then {self._stored} vectors were stored and {self._refused} were rejected, of "
            f"{self._batches} batches."
        )

    def result(self) -> PutResult:
        """Return what became of all batches.

        Raises:
            VectorBucketError: The one batch that there was has been rejected.
            PutRejected: Of several batches, at least one has been rejected. Neither is raised when
                each rejection had a callback.
        """
        result = PutResult(self._stored, sorted(self._rejected, key=_position))
        if not self._rejected or self._on_rejected is not None:
            return result
        if self._batches == 1:
            raise self._rejected[0].error
        raise PutRejected(result)

    def _report(self, *, finished: bool = False) -> None:
        """Tell the progress callback how far the put has come."""
        callback, self._progress = self._progress, None
        if callback is not None:
            callback(PutProgress(self._stored, self._refused, self._total, finished))
        # Only now: a callback that raised is not called again.
        self._progress = callback


def _position(batch: RejectedBatch) -> int:
    """Return where a batch stands among all."""
    return batch.first_position
