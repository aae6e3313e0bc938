"""Tests of bench_report.py: tables show what JSON says, and nothing is made up."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from bench_report import Case, Result, case_of, json_line, machine_facts, table_of

RESULT = Result(
    "query",
    (
        Case("1 caller", "queries", 500, 2.0, p50_ms=1.2345678, p99_ms=3.0, recall_at_10=0.98765),
        Case("hnswlib alone", "vectors", 20_000, 4.0),
    ),
    {"p50 to hnswlib alone": 4.567891},
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
        "per_second": 250.0,
    }
    assert read["cases"][1]["recall_at_10"] is None
    assert read["ratios"] == {"p50 to hnswlib alone": 4.5679}


def test_table_shows_recall_beside_speed_and_the_ratios_below() -> None:
    screen = io.StringIO()
    Console(width=120, file=screen).print(table_of(RESULT))
    for shown in ("query", "1 caller", "500 queries", "250", "1.23", "0.9877", "4.57", "20,000"):
        assert shown in screen.getvalue()


def test_machine_facts_say_what_figures_depend_on() -> None:
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["processor"]
    assert {"python", "hnswlib", "rocksdict", "grpcio", "numpy", "vectorbucket"} <= set(facts)
    json.dumps(facts)
