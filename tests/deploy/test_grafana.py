"""The dashboard for Grafana: every panel says what it shows, of metrics that there are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from house import ROOT
from vectorbucket_server.observability.metric_table import BY_NAME, METRICS

DASHBOARD: dict[str, Any] = json.loads((ROOT / "server/deploy/grafana.json").read_text())
PANELS = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
TITLES = [f"{one['id']}-{one['title']}" for one in PANELS]

OF_HISTOGRAMS = re.compile(r"_(bucket|sum|count)$")
NAME = re.compile(r"\b(?:vectorbucket|process)_[a-z_]+")
LABELS = re.compile(r"([a-z_]+)(?:=~|!~|!=|=)\"")
GROUPED = re.compile(r"\bby \(([a-z, ]+)\)")


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def metric_of(name: str) -> str:
    """Return the metric in the table that a name in an expression is of."""
    if name in BY_NAME:
        return name
    stem = OF_HISTOGRAMS.sub("", name)
    assert stem in BY_NAME, f"{name} is in no table"
    assert BY_NAME[stem].kind == "histogram"
    return stem


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_panel_has_a_title_a_unit_and_a_sentence(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_panel_shows_metrics_of_the_table_by_labels_that_they_have(panel: dict[str, Any]) -> None:
    for expression in expressions(panel):
        names = {metric_of(name) for name in NAME.findall(expression)}
        assert names
        known = {label for name in names for label in BY_NAME[name].labels}
        grouped = {one.strip() for some in GROUPED.findall(expression) for one in some.split(",")}
        assert {*LABELS.findall(expression), *grouped} <= known | {"instance", "le"}
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_counters_are_shown_by_how_they_grow(panel: dict[str, Any]) -> None:
    for expression in expressions(panel):
        for name in NAME.findall(expression):
            grows = BY_NAME[metric_of(name)].kind in ("counter", "histogram")
            assert grows == bool(re.search(rf"(rate|increase)\({name}\{{", expression))


def test_every_metric_is_in_a_panel() -> None:
    shown = {
        metric_of(name)
        for panel in PANELS
        for expression in expressions(panel)
        for name in NAME.findall(expression)
    }
    assert shown == {metric.name for metric in METRICS}


def test_rows_are_what_an_operator_asks_about() -> None:
    rows = [one["title"] for one in DASHBOARD["panels"] if one["type"] == "row"]
    assert rows[1:] == [
        "Traffic",
        "Latency",
        "Errors",
        "Ingestion",
        "Indexes",
        "Disk",
        "Milvus",
        "Process",
    ]


def test_panels_lie_beside_each_other() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert max(x for x, _ in cells) < 24
        assert not places & cells
        places |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_data_source_and_server_are_chosen_by_variables() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "instance"}
    assert variables["datasource"]["query"] == "prometheus"
    assert "vectorbucket_build_info" in variables["instance"]["definition"]
