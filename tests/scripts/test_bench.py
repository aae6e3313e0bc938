"""Tests of bench.py: a small run from end to end, and what a bad command line gets."""

from __future__ import annotations

import json

import pytest

import bench
from bench_ours import EngineSubject
from bench_peer_base import PeerUnavailable
from bench_report import Result
from bench_server import ROOT
from bench_session import Session

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
    assert [ratio["at_least"] or ratio["at_most"] for ratio in result["ratios"]] == [0.75, 1.25]
    assert all(ratio["value"] > 0 for ratio in result["ratios"])


def test_sample_is_measured_with_queries_that_it_does_not_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--workloads", "query", "--data", str(SAMPLE), "--vectors", "300"]
    assert bench.main([*arguments, "--seconds", "0.1"]) == 0
    table, _, line = capsys.readouterr().out.strip().rpartition("\n")
    result = json.loads(line)
    assert (result["data"], result["vectors"]) == (SAMPLE.name, 300)
    for shown in ("1 caller", "8 callers", "bare gRPC server", "hnswlib alone", "recall@10"):
        assert shown in table


def test_all_workloads_run_unless_some_are_named() -> None:
    assert bench.parse_arguments([]).workloads == list(bench.WORKLOADS)
    chosen = bench.parse_arguments(["--workloads", "query,put_stream"])
    assert chosen.workloads == ["query", "put_stream"]


def test_every_workload_is_there() -> None:
    assert set(bench.WORKLOADS) == {
        *("put", "put_stream", "put_stream_metadata", "put_during_query"),
        *("query", "query_batch", "query_filtered", "engine", "churn", "open", "memory"),
        *("rest_query", "rest_put", "milvus"),
    }


def test_defaults_are_the_documented_ones() -> None:
    chosen = bench.parse_arguments([])
    settings = chosen.settings
    assert (settings.vectors, settings.dimension, settings.data) == (20_000, 384, None)
    assert (settings.distribution, settings.in_process) == ("mixture", False)
    assert settings.milvus is None
    assert (chosen.only_json, dict(chosen.peers)) == (False, {})


def test_peers_are_compared_without_workloads_unless_some_are_named() -> None:
    chosen = bench.parse_arguments(["--peer", "zvec,pgvector", "--peer-target", "pgvector=host=x"])
    assert chosen.workloads == []
    assert dict(chosen.peers) == {"zvec": None, "pgvector": "host=x"}
    both = bench.parse_arguments(["--peer", "zvec", "--workloads", "put"])
    assert (both.workloads, list(both.peers)) == (["put"], ["zvec"])


def test_figures_of_peers_and_ours_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twin(EngineSubject):
        name = "twin"

        def __init__(self, target: str | None) -> None:
            assert target == "there"
            super().__init__(8)

    monkeypatch.setattr(bench, "known_peers", lambda: {"twin": Twin})
    arguments = "--peer twin --peer-target twin=there --vectors 300 --dimension 8 --seconds 0.05"
    assert bench.main([*arguments.split(), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["workload"] for line in lines] == ["twin", "engine", "engine to twin"]
    assert all(ratio["value"] for ratio in lines[2]["ratios"] if "per second" in ratio["name"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workloads", "put_stream,dance"], "unknown workload 'dance'; there are put,"),
        (["--vectors", "0"], "--vectors is 0; it must be more than 0"),
        (["--dimension", "-1"], "--dimension is -1"),
        (["--seconds", "0"], "--seconds is 0"),
        (["--data", "nowhere.npz"], "--data nowhere.npz is no file"),
        (["--distribution", "normal"], "invalid choice: 'normal'"),
        (["--peer", "abacus"], "unknown peer 'abacus'; there are"),
        (["--peer-target", "zvec=here"], "--peer-target zvec=here is not NAME=TARGET of a --peer"),
    ],
)
def test_wrong_command_line_is_told_what_is_wrong(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        bench.main(arguments)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


def test_peer_that_cannot_be_had_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_target: str | None) -> EngineSubject:
        raise PeerUnavailable("the peer abacus needs beads; install them")

    monkeypatch.setattr(bench, "known_peers", lambda: {"abacus": missing})
    assert bench.main(["--peer", "abacus", "--vectors", "300", "--dimension", "8"]) == 2
    assert "bench.py: the peer abacus needs beads; install them\n" in capsys.readouterr().err


def test_workload_that_cannot_be_had_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_session: Session) -> Result:
        raise PeerUnavailable("install beads")

    def found(_session: Session) -> Result:
        return Result("found", (), notes=("with beads",))

    monkeypatch.setattr(bench, "WORKLOADS", {"missing": missing, "found": found})
    assert bench.main(["--vectors", "300", "--dimension", "8", "--json"]) == 2
    told = capsys.readouterr()
    assert "bench.py: install beads\n" in told.err
    result = json.loads(told.out)
    assert (result["workload"], result["notes"]) == ("found", ["with beads"])


def test_peer_that_cannot_be_had_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_target: str | None) -> EngineSubject:
        raise PeerUnavailable("install beads")

    peers = {"twin": lambda _target: EngineSubject(8), "abacus": missing}
    monkeypatch.setattr(bench, "known_peers", lambda: peers)
    arguments = "--peer twin,abacus --vectors 300 --dimension 8 --seconds 0.05 --json"
    assert bench.main(arguments.split()) == 2
    told = capsys.readouterr()
    assert "bench.py: install beads\n" in told.err
    assert json.loads(told.out.splitlines()[-1])["workload"] == "engine to engine"
