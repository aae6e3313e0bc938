"""How far a long put has come: what a callback is told, and a bar for a terminal.

Rules of this file: no package but the standard library; a bar writes nothing where nobody watches
(its stream is no terminal).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from vectorbucket._retry import Clock


@dataclass(frozen=True, slots=True)
class PutProgress:
    """How far a put has come.

    Attributes:
        stored: Vectors that are stored, durably.
        rejected: Vectors in batches that were rejected.
        total: Vectors that are to be put; None where the input does not tell.
        finished: Whether this is the last report: all is answered, or the put failed.
    """

    stored: int
    rejected: int
    total: int | None
    finished: bool = False


ProgressCallback: TypeAlias = Callable[[PutProgress], None]
"""Called after each batch that was answered, on the thread that called ``put_vectors``."""


class ProgressBar:
    """A progress callback that draws one line in a terminal.

    For example::

        client.put_vectors("photos", "faces", vectors, progress=ProgressBar("faces"))

    Args:
        label: What is put.
        stream: Where to draw; standard error by default. Silent unless it is a terminal.
        width: Characters of the bar itself.
        interval_s: Seconds between drawings, at least.
        clock: What time it is.
    """

    def __init__(
        self,
        label: str = "vectors",
        *,
        stream: TextIO | None = None,
        width: int = 30,
        interval_s: float = 0.1,
        clock: Clock = time.monotonic,
    ) -> None:
        self._label = label
        self._stream = stream if stream is not None else sys.stderr
        self._width = width
        self._interval_s = interval_s
        self._clock = clock
        self._watched = self._stream.isatty()
        self._started = clock()
        self._drawn: float | None = None

    def __call__(self, progress: PutProgress) -> None:
        """Draw how far the put has come, unless it was drawn just now."""
        if not self._watched:
            return
        now = self._clock()
        recent = self._drawn is not None and now - self._drawn < self._interval_s
        if recent and not progress.finished:
            return
        self._drawn = now
        line = self.line(progress, now - self._started)
        # Carriage return and "erase to the end of the line", as every terminal knows them.
        self._stream.write(f"\r{line}\x1b[K" + ("\n" if progress.finished else ""))
        self._stream.flush()

    def line(self, progress: PutProgress, elapsed_s: float) -> str:
        """Return the line that shows a progress after so many seconds."""
        done = progress.stored + progress.rejected
        rate = f"{done / elapsed_s:,.0f}/s" if elapsed_s > 0 else ""
        refused = f"{progress.rejected:,} rejected" if progress.rejected else ""
        if not progress.total:
            return "  ".join(filter(None, (self._label, f"{done:,}", rate, refused)))
        share = min(1.0, done / progress.total)
        filled = int(share * self._width)
        bar = "#" * filled + "-" * (self._width - filled)
        counts = f"{done:,} of {progress.total:,}"
        parts = (self._label, f"[{bar}] {share:4.0%}", counts, rate, refused)
        return "  ".join(filter(None, parts))
