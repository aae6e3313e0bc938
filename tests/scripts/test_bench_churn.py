"""Tests of bench_churn.py: every vector is really replaced, and the worn index is compared."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from bench_churn import churn, replaced
from bench_data import draw_dataset
from bench_session import Session, Settings


@pytest.mark.parametrize("number", [1, 2, 5])
def test_every_key_gets_anothers_vector_and_metadata(number: int) -> None:
    dataset = draw_dataset(50, 8, seed=1, queries=3)
    other = replaced(dataset, number, seed=4)
    assert other.keys == dataset.keys
    assert other.data.dtype == np.float32
    summaries = [one["summary"] for one in dataset.metadata]
    for own, (row, metadata) in enumerate(zip(other.data, other.metadata, strict=True)):
        place = summaries.index(metadata["summary"])
        assert place != own
        assert 0 < np.linalg.norm(dataset.data[place] - row) < 0.3
    assert np.array_equal(replaced(dataset, number, seed=4).data, other.data)
    assert not np.array_equal(replaced(dataset, number + 1, seed=4).data, other.data)


def test_worn_index_is_compared_with_a_fresh_one() -> None:
    settings = Settings(vectors=300, dimension=8, seed=1, data=None, repeats=1, seconds=0.1)
    with Session(settings, Console(file=io.StringIO())) as session:
        result = churn(session)
    cases = {case.name: case for case in result.cases}
    for name in ("before", "after 5 replacements", "fresh index"):
        assert cases[name].recall_at_10 == 1.0
    assert cases["replaced and indexed"].count == 1_500
    ratios = {ratio.name: ratio for ratio in result.ratios}
    recall = ratios["recall@10 less than a fresh index's by"]
    assert (recall.value, recall.at_most, recall.met) == (0.0, 0.01, True)
    assert ratios["p50 to a fresh index's"].at_most == 1.3
