"""The bar of a long put, drawn into a text that says it is a terminal."""

from __future__ import annotations

import io

import pytest

from vectorbucket import ProgressBar, PutProgress


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Watch:
    """A clock that goes on by a second each time somebody looks."""

    def __init__(self, step_s: float = 1.0) -> None:
        self._now_s = 0.0
        self._step_s = step_s

    def __call__(self) -> float:
        """Return the time."""
        self._now_s += self._step_s
        return self._now_s


def test_bar_shows_share_counts_and_rate() -> None:
    bar = ProgressBar("faces", stream=Terminal(), width=10)
    assert bar.line(PutProgress(2500, 0, 10_000), 2.0) == (
        "faces  [##--------]  25%  2,500 of 10,000  1,250/s"
    )


def test_rejected_vectors_count_as_done_and_are_named() -> None:
    bar = ProgressBar("faces", stream=Terminal(), width=4)
    assert bar.line(PutProgress(500, 500, 1000), 0.0) == (
        "faces  [####] 100%  1,000 of 1,000  500 rejected"
    )


@pytest.mark.parametrize("total", [None, 0])
def test_without_a_total_there_is_a_count_and_no_bar(total: int | None) -> None:
    bar = ProgressBar("faces", stream=Terminal())
    assert bar.line(PutProgress(1500, 0, total), 1.0) == "faces  1,500  1,500/s"


def test_more_vectors_than_were_announced_do_not_overflow_the_bar() -> None:
    bar = ProgressBar("faces", stream=Terminal(), width=4)
    assert "[####] 100%  7 of 5" in bar.line(PutProgress(7, 0, 5), 1.0)


def test_line_is_redrawn_in_place_and_ended_once() -> None:
    terminal = Terminal()
    bar = ProgressBar("faces", stream=terminal, width=2, clock=Watch())
    bar(PutProgress(1, 0, 2))
    bar(PutProgress(2, 0, 2))
    bar(PutProgress(2, 0, 2, finished=True))
    drawn = terminal.getvalue()
    assert drawn.count("\r") == 3
    assert drawn.count("\n") == 1
    assert drawn.endswith("\x1b[K\n")
    assert "[#-]  50%" in drawn


def test_drawings_are_spaced_but_the_last_is_never_left_out() -> None:
    terminal = Terminal()
    bar = ProgressBar(stream=terminal, interval_s=10.0, clock=Watch(1.0))
    for stored in range(25):
        bar(PutProgress(stored, 0, 25))
    bar(PutProgress(25, 0, 25, finished=True))
    assert terminal.getvalue().count("\r") == 4
    assert "25 of 25" in terminal.getvalue()


def test_nothing_is_written_where_nobody_watches() -> None:
    log = io.StringIO()
    bar = ProgressBar(stream=log)
    bar(PutProgress(1, 0, 2))
    bar(PutProgress(2, 0, 2, finished=True))
    assert log.getvalue() == ""


def test_standard_error_of_a_test_run_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressBar()(PutProgress(1, 0, 2, finished=True))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
