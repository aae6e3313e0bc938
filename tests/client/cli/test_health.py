"""The command get-health, whose exit code probes use."""

from __future__ import annotations

from client.cli.conftest import Run


def test_server_that_serves_is_told(run: Run) -> None:
    assert run("get-health", "-o", "json").json == {"status": "SERVING"}
    assert run("get-health").out.split() == ["status", "SERVING"]


def test_index_is_asked_for_by_bucket_and_name(run: Run, faces: list[str]) -> None:
    assert run("get-health", *faces, "-o", "json").json == {"status": "SERVING"}
    gone = run("get-health", "--bucket", faces[1], "--index-name", "nothing")
    assert gone.code == 3
    assert "NoSuchVectorIndex" in gone.err


def test_index_without_its_bucket_is_wrong_usage(run: Run) -> None:
    half = run("get-health", "--index-name", "faces")
    assert half.code == 2
    assert "--bucket and --index-name belong together" in half.err


def test_nobody_there_is_temporary(run: Run) -> None:
    away = run("--endpoint", "127.0.0.1:1", "--timeout-s", "0.2", "get-health")
    assert away.code == 4
