"""Tests of bench_load.py: batches come when they are due, with new keys, until it is stopped."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np

from bench_data import draw_mixture
from bench_load import rows_at_pace
from bench_subject import BATCH_VECTORS

ROWS = draw_mixture(300, 8, seed=1)


def test_keys_are_new_and_rows_are_near_those_given() -> None:
    taken = list(itertools.islice(rows_at_pace(ROWS, 0, threading.Event()), 1_000))
    assert len({key for key, _ in taken}) == 1_000
    for number, (_, row) in enumerate(taken):
        given = ROWS[number % 300]
        assert row.dtype == np.float32
        assert not np.array_equal(row, given)
        assert np.linalg.norm(row - given) < 0.05


def test_batch_is_not_given_before_it_is_due() -> None:
    began = time.perf_counter()
    pace = 2 * BATCH_VECTORS / 0.2
    taken = list(
        itertools.islice(rows_at_pace(ROWS, pace, threading.Event()), 2 * BATCH_VECTORS + 1)
    )
    assert len(taken) == 2 * BATCH_VECTORS + 1
    assert time.perf_counter() - began >= 0.2


def test_stopping_ends_it_after_a_whole_batch() -> None:
    stop = threading.Event()
    rows = rows_at_pace(ROWS, 0, stop)
    next(rows)
    stop.set()
    assert len(list(rows)) == BATCH_VECTORS - 1
