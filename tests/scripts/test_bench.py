"""Tests of bench.py: a small run from end to end, and what a bad command line gets."""

from __future__ import annotations

import json

import pytest

import bench
from bench_server import ROOT

SAMPLE = ROOT / "scripts" / "demo_data" / "debian-packages-2k.npz"


def test_workload_runs_from_end_to_end_on_500_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--workloads put_stream --vectors 500 --dimension 8 --seed 3 --repeats 1 --json"
    assert bench.main(arguments.split()) == 0
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert (result["workload"], result["data"], result["seed"]) == ("put_stream", "mixture", 3)
    assert (result["vectors"], result["dimension"]) == (500, 8)
    assert result["machine"]["cores"] >= 1
    assert all(case["per_second"] > 0 and case["count"] == 500 for case in result["cases"])
    assert all(ratio > 0 for ratio in result["ratios"].values())


def test_sample_is_measured_with_queries_that_it_does_not_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--workloads", "query", "--data", str(SAMPLE), "--vectors", "300"]
    assert bench.main([*arguments, "--seconds", "0.1"]) == 0
    table, _, line = capsys.readouterr().out.strip().rpartition("\n")
    result = json.loads(line)
    assert (result["data"], result["vectors"]) == (SAMPLE.name, 300)
    for shown in ("1 caller", "8 callers", "hnswlib alone", "recall@10"):
        assert shown in table


def test_all_workloads_run_unless_some_are_named() -> None:
    assert bench.parse_arguments([])[0] == list(bench.WORKLOADS)
    assert bench.parse_arguments(["--workloads", "query,put_stream"])[0] == ["query", "put_stream"]


def test_defaults_are_those_of_the_issue() -> None:
    _, settings, only_json = bench.parse_arguments([])
    assert (settings.vectors, settings.dimension, settings.data) == (20_000, 384, None)
    assert not only_json


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workloads", "put_stream,dance"], "unknown workload 'dance'; there are put_stream,"),
        (["--vectors", "0"], "--vectors is 0; it must be more than 0"),
        (["--dimension", "-1"], "--dimension is -1"),
        (["--seconds", "0"], "--seconds is 0"),
        (["--data", "nowhere.npz"], "--data nowhere.npz is no file"),
    ],
)
def test_wrong_command_line_is_told_what_is_wrong(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        bench.main(arguments)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err
