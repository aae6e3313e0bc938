"""How a transfer shows how far it has come."""

from __future__ import annotations

import io

import pytest

from vectorbucket.cli.transfer_progress import (
    DRAW_INTERVAL_S,
    LINE_INTERVAL_S,
    TransferProgress,
)


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    with TransferProgress("exported", stream=stream, clock=clock) as progress:
        for _ in range(25):
            clock.now += LINE_INTERVAL_S / 10
            progress.show(50_000, 1_000_000)
    assert stream.getvalue().splitlines() == [
        "exported 50,000 of 1,000,000 vectors, 5,000/s, 0:03:10 left",
        "exported 50,000 of 1,000,000 vectors, 2,500/s, 0:06:20 left",
    ]


def test_in_a_terminal_there_is_a_bar_with_counts_rate_and_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    stream, clock = Terminal(), Clock()
    with TransferProgress("exported", stream=stream, color=False, clock=clock) as progress:
        clock.now += DRAW_INTERVAL_S * 2
        progress.show(250_000, 1_000_000)
        drawn = stream.getvalue()
        progress.show(300_000, 1_000_000)
        assert stream.getvalue() == drawn
    assert "exported" in drawn
    assert "25%" in drawn
    assert "250,000 of 1,000,000 vectors, 1,250,000/s, 0:00:01 left" in drawn.replace("\n", " ")


def test_bar_without_a_total_shows_what_is_known() -> None:
    stream, clock = Terminal(), Clock()
    with TransferProgress("imported", stream=stream, clock=clock) as progress:
        clock.now += 1
        progress.show(5, None)
    assert "5 vectors" in stream.getvalue()


def test_rate_is_that_of_this_run() -> None:
    clock = Clock()
    progress = TransferProgress("exported", already=900, stream=io.StringIO(), clock=clock)
    assert progress.text(900, 1_000) == "900 of 1,000 vectors"
    clock.now += 2
    assert progress.text(1_000, 1_000) == "1,000 of 1,000 vectors, 50/s"
    assert progress.text(1_000, None) == "1,000 vectors, 50/s"
    assert progress.text(1_000, 400_000) == "1,000 of 400,000 vectors, 50/s, 2:13:00 left"
    assert progress.elapsed_s == 2


def test_total_that_was_passed_grows_with_the_count() -> None:
    stream, clock = io.StringIO(), Clock()
    with TransferProgress("exported", stream=stream, clock=clock) as progress:
        clock.now += LINE_INTERVAL_S
        progress.show(1_000, 950)
    assert stream.getvalue() == "exported 1,000 of 1,000 vectors, 100/s\n"
