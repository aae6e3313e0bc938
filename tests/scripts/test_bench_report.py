"""Tests of bench_report.py: tables show what JSON says, and nothing is made up."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from bench_report import Case, Ratio, Result, case_of, json_line, machine_facts, table_of

RESULT = Result(
    "query",
    (
        Case("1 caller", "queries", 500, 2.0, p50_ms=1.2345678, p99_ms=3.0, recall_at_10=0.98765),
        Case("hnswlib alone", "vectors", 20_000, 4.0),
    ),
    (
        Ratio("p50 to hnswlib alone", 4.567891, at_most=4.0),
        Ratio("queries per second", 0.9, at_least=0.85),
        Ratio("just told", 3.0),
    ),
)


def test_case_has_the_percentiles_of_its_latencies() -> None:
    latencies = [number / 1_000 for number in range(1, 102)]
    case = case_of("x", "queries", count=101, seconds=2.0, latencies_s=latencies)
    assert case.p50_ms == pytest.approx(51)
    assert case.p99_ms == pytest.approx(100)
    assert case.per_second == 50.5
    assert case.recall_at_10 is None


def test_case_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured of x"):
        case_of("x", "queries", count=0, seconds=1.0, latencies_s=[])


def test_json_line_holds_everything_on_one_line() -> None:
    line = json_line(RESULT, {"vectors": 20_000, "machine": {"cores": 2}})
    assert "\n" not in line
    read = json.loads(line)
    assert read["workload"] == "query"
    assert (read["vectors"], read["machine"]["cores"]) == (20_000, 2)
    assert read["cases"][0] == {
        "name": "1 caller",
        "unit": "queries",
        "count": 500,
        "seconds": 2.0,
        "p50_ms": 1.2346,
        "p99_ms": 3.0,
        "recall_at_10": 0.98765,
        "ratio": None,
        "per_second": 250.0,
    }
    assert read["cases"][1]["recall_at_10"] is None
    assert read["ratios"] == [
        {
            "name": "p50 to hnswlib alone",
            "value": 4.5679,
            "at_least": None,
            "at_most": 4.0,
            "met": False,
        },
        {
            "name": "queries per second",
            "value": 0.9,
            "at_least": 0.85,
            "at_most": None,
            "met": True,
        },
        {"name": "just told", "value": 3.0, "at_least": None, "at_most": None, "met": None},
    ]


def test_table_shows_recall_beside_speed_and_the_ratios_below() -> None:
    screen = io.StringIO()
    Console(width=120, file=screen).print(table_of(RESULT))
    for shown in ("query", "1 caller", "500 queries", "250", "1.23", "0.9877", "20,000"):
        assert shown in screen.getvalue()
    for told in (
        "p50 to hnswlib alone: 4.57 (at most 4: MISSED)",
        "queries per second: 0.9 (at least 0.85: met)",
        "just told: 3 ",
    ):
        assert told in screen.getvalue()
    assert "ratio " not in screen.getvalue()


def test_case_with_a_reference_of_its_own_shows_its_ratio() -> None:
    screen = io.StringIO()
    result = Result("filters", [Case("a", "queries", 1, 1.0, ratio=2.345), RESULT.cases[1]])
    Console(width=120, file=screen).print(table_of(result))
    assert "ratio" in screen.getvalue()
    assert "2.35" in screen.getvalue() or "2.34" in screen.getvalue()


def test_case_without_a_time_has_no_throughput() -> None:
    result = Result("memory", [Case("memory", "MB", 60)])
    assert result.cases[0].per_second is None
    assert json.loads(json_line(result, {}))["cases"][0]["per_second"] is None
    screen = io.StringIO()
    Console(width=120, file=screen).print(table_of(result))
    assert "60 MB" in screen.getvalue()


@pytest.mark.parametrize(
    ("ratio", "met"),
    [
        (Ratio("a", 1.0, at_least=1.0), True),
        (Ratio("a", 0.99, at_least=1.0), False),
        (Ratio("a", 1.0, at_most=1.0), True),
        (Ratio("a", 1.01, at_most=1.0), False),
        (Ratio("a", 1.0, at_least=0.5, at_most=2.0), True),
        (Ratio("a", 7.0), None),
        (Ratio("a", float("nan"), at_most=1.0), False),
    ],
)
def test_ratio_is_met_within_its_bounds(ratio: Ratio, *, met: bool | None) -> None:
    assert ratio.met is met


def test_machine_facts_say_what_figures_depend_on() -> None:
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["processor"]
    assert {"python", "hnswlib", "rocksdict", "grpcio", "numpy", "vectorbucket"} <= set(facts)
    json.dumps(facts)
