"""The table of metrics: names with units, labels with few values, a sentence for each."""

from __future__ import annotations

import re

import pytest

from vectorbucket_server.observability.metric_table import (
    BACKGROUND_WORK,
    BY_NAME,
    DURATION_BOUNDS_S,
    METRICS,
    OTHER,
    Metric,
    work_of,
)

NAMES = [metric.name for metric in METRICS]
UNITS = {"seconds": "_seconds", "bytes": "_bytes", "share": "_ratio", "1": "_info"}
BOUNDED = {
    *("method", "code", "kind", "reason", "direction", "plan", "work", "version", "engine"),
    *("call", "outcome"),
}


def test_no_name_stands_twice() -> None:
    assert len(BY_NAME) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_name_says_whose_it_is_and_its_unit(metric: Metric) -> None:
    assert re.fullmatch(r"(vectorbucket|process)_[a-z_]+", metric.name)
    stem = metric.name.removesuffix("_total")
    assert (stem != metric.name) == (metric.kind == "counter")
    if metric.unit in UNITS:
        assert stem.endswith(UNITS[metric.unit])


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_help_is_a_sentence_and_labels_are_bounded(metric: Metric) -> None:
    assert metric.help[0].isupper()
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert set(metric.labels) <= BOUNDED


def test_bounds_of_durations_ascend() -> None:
    assert sorted(set(DURATION_BOUNDS_S)) == list(DURATION_BOUNDS_S)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("indexing of 'rebuild'", "indexing"),
        ("the checkpoint of 'faces'", "checkpoint"),
        ("loading of a checkpoint of 'x'", "loading"),
        ("rebuild of 'faces'", "rebuild"),
        ("removal of dead rows", "removal"),
        ("'indexing' is the name of an index", OTHER),
        ("", OTHER),
    ],
)
def test_work_is_told_by_its_words_and_never_by_the_name_of_an_index(what: str, kind: str) -> None:
    assert work_of(what) == kind
    assert kind in (*BACKGROUND_WORK, OTHER)
