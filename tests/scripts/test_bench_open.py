"""Tests of bench_open.py: a start ends with a right answer, and memory is that of the server."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import bench_open
from bench_data import draw_dataset
from bench_open import memory, open_again, start_until_right
from bench_server import start_server
from bench_session import BUCKET, INDEX_NAME, Session, Settings, make_index
from vectorbucket import Client

SETTINGS = Settings(vectors=400, dimension=8, seed=1, data=None, repeats=2, seconds=0.1)


def test_starts_are_measured_beside_the_import() -> None:
    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        result = open_again(session)
    clean, killed, imported = result.cases
    assert clean.name == "start after a clean stop"
    assert killed.name == "start after SIGKILL, 200 changes"
    assert clean.seconds is not None
    assert killed.seconds is not None
    assert imported.seconds is not None
    beyond, whole, killed_beyond = result.ratios
    assert beyond.value == pytest.approx(clean.seconds - imported.seconds)
    assert beyond.at_most == 1.0
    assert (whole.value, whole.at_most) == (killed.seconds, 3.0)
    assert killed_beyond.at_most is None


def test_memory_is_compared_with_what_is_allowed() -> None:
    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        result = memory(session)
    taken = {case.name: case.count for case in result.cases}
    assert list(taken) == [
        "empty",
        "loaded",
        "started again",
        "twice the float32 numbers + 120 MB",
    ]
    assert 10 < taken["empty"] < 120
    assert taken["twice the float32 numbers + 120 MB"] == 120
    assert [ratio.at_most for ratio in result.ratios] == [1.0, 1.0]
    assert all(ratio.met for ratio in result.ratios)


def test_server_that_lost_a_vector_never_answers_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_open, "_RIGHT_WITHIN_S", 0.1)
    dataset = draw_dataset(100, 8, seed=1, queries=1)
    with start_server(tmp_path / "data") as server, Client(server.target) as client:
        make_index(server.target, 8)
        client.put_vectors(BUCKET, INDEX_NAME, keys=dataset.keys[1:], data=dataset.data[1:])
    with pytest.raises(RuntimeError, match="does not find what it was given"):
        start_until_right(tmp_path / "data", dataset)
    rest = replace(
        dataset,
        keys=dataset.keys[1:],
        data=np.ascontiguousarray(dataset.data[1:]),
        metadata=dataset.metadata[1:],
    )
    again, seconds = start_until_right(tmp_path / "data", rest)
    assert seconds > 0
    assert again.stop() == 0
