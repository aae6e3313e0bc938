"""How far a transfer has come: a bar in a terminal, a line now and then elsewhere.

Rules of this file: everything goes to standard error; no thread, so that nothing is drawn but when
something has come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

DRAW_INTERVAL_S = 0.1
"""Seconds between drawings of a bar, at least."""

LINE_INTERVAL_S = 10.0
"""Seconds between lines where there is no terminal."""


class TransferProgress:
    """Shows how many vectors were transferred.

    Args:
        verb: What was done with them, as ``exported``.
        already: How many of them an earlier run transferred, which is no rate of this one.
        stream: Where to show it.
        color: Whether there may be colours.
        clock: What time it is.
    """

    def __init__(
        self,
        verb: str,
        *,
        already: int = 0,
        stream: TextIO,
        color: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verb = verb
        self._already = already
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._shown = self._started
        self._bar: Progress | None = None
        if stream.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[counts]}"),
                console=Console(file=stream, no_color=not color or None),
                auto_refresh=False,
                transient=True,
                get_time=clock,
            )
            self._task = self._bar.add_task(verb, total=None, counts="")

    def __enter__(self) -> Self:
        """Begin to show it."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Show it no more."""
        if self._bar is not None:
            self._bar.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._started

    def show(self, count: int, total: int | None) -> None:
        """Show that so many were transferred, unless something was shown just now.

        Args:
            count: Vectors, those of earlier runs included.
            total: How many there are, about; None where nobody knows.
        """
        now = self._clock()
        if now - self._shown < (LINE_INTERVAL_S if self._bar is None else DRAW_INTERVAL_S):
            return
        self._shown = now
        # There may be more by now than were counted in the beginning.
        total = None if total is None else max(count, total)
        text = self.text(count, total)
        if self._bar is None:
            self._stream.write(f"{self._verb} {text}\n")
            self._stream.flush()
        else:
            self._bar.update(self._task, completed=count, total=total, counts=text)
            self._bar.refresh()

    def text(self, count: int, total: int | None) -> str:
        """Return the line that shows so many vectors."""
        elapsed_s = self.elapsed_s
        rate = (count - self._already) / elapsed_s if elapsed_s > 0 else 0.0
        said = f"{count:,} vectors" if total is None else f"{count:,} of {total:,} vectors"
        if rate:
            said += f", {rate:,.0f}/s"
        # Said here and not by the bar: a total that is an estimate changes, and it would begin anew
        # to measure each time.
        if rate and total is not None and total > count:
            said += f", {timedelta(seconds=round((total - count) / rate))} left"
        return said
