"""Tests of bench_filtered.py: every share, kind and spread is measured, with or without the RPC."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from bench_data import UNIFORM
from bench_filtered import SLOWER_AT_MOST, query_filtered
from bench_filters import SHARES, SPREADS
from bench_session import Session, Settings

SETTINGS = Settings(vectors=500, dimension=8, seed=1, data=None, repeats=1, seconds=0.02)


@pytest.mark.parametrize("in_process", [False, True])
def test_filters_are_measured_with_recall_and_ratio(*, in_process: bool) -> None:
    settings = replace(SETTINGS, in_process=in_process)
    with Session(settings, Console(file=io.StringIO())) as session:
        result = query_filtered(session)
    filtered = [case for case in result.cases if case.ratio is not None]
    assert len(filtered) == len(SPREADS) * len(SHARES) * 3
    assert [case.name for case in result.cases if case.ratio is None] == [
        "random, no filter",
        "cluster, no filter",
    ]
    # So few vectors are searched exactly.
    assert all(case.recall_at_10 == 1.0 for case in result.cases)
    ratios = {ratio.name: ratio for ratio in result.ratios}
    assert ratios["answers with fewer than 10 though more match"].value == 0
    for spread, words in (("random", "at random"), ("cluster", "opposite the query")):
        slowest = ratios[f"p50 to p50 without a filter, slowest with matches {words}"]
        assert slowest.at_most == SLOWER_AT_MOST[spread]
        assert slowest.value == max(
            case.ratio or 0 for case in filtered if case.name.startswith(spread)
        )
        recall = ratios[f"recall@10, lowest with matches {words}"]
        assert (recall.value, recall.at_least, recall.met) == (1.0, 0.99, True)


def test_noise_has_no_floor_for_its_recall() -> None:
    settings = replace(SETTINGS, in_process=True, distribution=UNIFORM)
    with Session(settings, Console(file=io.StringIO())) as session:
        result = query_filtered(session)
    recalls = [ratio for ratio in result.ratios if ratio.name.startswith("recall")]
    assert [ratio.met for ratio in recalls] == [None, None]
