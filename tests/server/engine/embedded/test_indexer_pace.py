"""How many rows a turn takes: pure arithmetic."""

from __future__ import annotations

import pytest

from vectorbucket_server.engine.embedded.indexer import Pace
from vectorbucket_server.engine.embedded.options import EmbeddedOptions


def pace(**changes: object) -> Pace:
    """Return a pace of 3 ms and 256 rows on one thread, unless said otherwise."""
    settings = {"turn_target_s": 0.003, "turn_rows_idle": 256, "indexer_threads": 1, **changes}
    return Pace(EmbeddedOptions(**{"data_dir": None, **settings}))  # type: ignore[arg-type]


def test_turn_is_large_while_nobody_queries() -> None:
    assert pace().rows(queried_recently=False) == 256
    assert pace(turn_rows_idle=1_000).rows(queried_recently=False) == 1_000


def test_turn_is_never_smaller_than_what_keeps_all_threads_busy() -> None:
    # hnswlib uses one thread for 4 × threads rows or fewer.
    for threads in (1, 2, 16):
        tiny = pace(indexer_threads=threads, turn_rows_idle=1, turn_target_s=1e-9)
        assert tiny.rows(queried_recently=False) == 4 * threads + 1
        assert tiny.rows(queried_recently=True) == 4 * threads + 1


def test_turn_is_as_long_as_its_target_while_somebody_queries() -> None:
    steady = pace()
    for _ in range(60):
        steady.measured(rows=100, seconds=0.01)
    assert steady.rows(queried_recently=True) in {29, 30}
    assert steady.rows(queried_recently=False) == 256


def test_turn_for_queries_is_never_larger_than_the_idle_one() -> None:
    quick = pace(turn_rows_idle=64)
    for _ in range(60):
        quick.measured(rows=1_000_000, seconds=0.001)
    assert quick.rows(queried_recently=True) == 64


def test_newest_measurement_counts_a_quarter() -> None:
    one = pace(turn_target_s=1.0, turn_rows_idle=100_000)
    before = one.rows(queried_recently=True)
    one.measured(rows=before + 4_000, seconds=1.0)
    assert one.rows(queried_recently=True) == before + 1_000
    one.measured(rows=before - 3_000, seconds=1.0)
    assert one.rows(queried_recently=True) == before


@pytest.mark.parametrize(("rows", "seconds"), [(0, 1.0), (10, 0.0), (0, 0.0)])
def test_turn_that_measures_nothing_changes_nothing(rows: int, seconds: float) -> None:
    one = pace()
    before = one.rows(queried_recently=True)
    one.measured(rows, seconds)
    assert one.rows(queried_recently=True) == before
