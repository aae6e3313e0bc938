"""Where exports go: every target goes on from its points, whatever lies behind them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vectorbucket import Vector
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.transfer_definition import Definition, definition_beside
from vectorbucket.cli.transfer_target import (
    JsonLinesTarget,
    StreamTarget,
    Target,
    parquet_target,
    partial_path,
)

DEFINITION = Definition(2, "euclidean")

KINDS = ["jsonl", "jsonl.gz", "parquet"]


def target_of(path: Path) -> Target:
    if path.suffix == ".parquet":
        return parquet_target(path, DEFINITION, {}, data=True)
    return JsonLinesTarget(path, DEFINITION, {}, compressed=path.suffix == ".gz")


def keys_in(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).column("key").to_pylist())
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)["key"] for line in raw.splitlines()]


def some(start: int, stop: int) -> list[Vector]:
    return [Vector(f"k{n}", np.array([n, 1], np.float32), {"n": n}) for n in range(start, stop)]


def numbered(stop: int) -> list[str]:
    return [f"k{number}" for number in range(stop)]


@pytest.mark.parametrize("kind", KINDS)
def test_file_gets_its_name_when_it_is_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    target = target_of(path)
    target.begin(0)
    assert target.write(some(0, 5)) > 0
    target.reach_point()
    target.write(some(5, 9))
    assert not path.exists()
    assert target.finish() == path.stat().st_size
    target.close()
    assert keys_in(path) == numbered(9)
    beside = {path.name} if kind == "parquet" else {path.name, f"{path.name}.index.json"}
    assert {one.name for one in tmp_path.iterdir()} == beside
    assert definition_beside(path) == (None if kind == "parquet" else DEFINITION)


def torn_tail(path: Path) -> None:
    """Leave behind a point what a process that was killed may have left."""
    if path.is_dir():
        (path / "part-000002.parquet").write_bytes(b"PAR1 and no more")
        (path / "joined.parquet").write_bytes(b"PAR1")
    else:
        with path.open("ab") as file:
            file.write(b'{"key": "torn')


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", [torn_tail, lambda _: None], ids=["torn tail", "as it was"])
def test_target_goes_on_from_its_last_point(
    tmp_path: Path, kind: str, leave: Callable[[Path], None]
) -> None:
    path = tmp_path / f"a.{kind}"
    target = target_of(path)
    target.begin(0)
    target.write(some(0, 3))
    target.reach_point()
    target.write(some(3, 6))
    point = target.reach_point()
    target.write(some(90, 95))
    target.close()
    leave(partial_path(path))
    again = target_of(path)
    again.begin(point)
    again.write(some(6, 9))
    again.finish()
    again.close()
    assert keys_in(path) == numbered(9)
    assert not partial_path(path).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_beginning_throws_away_what_was_begun(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    begun = target_of(path)
    begun.begin(0)
    begun.write(some(40, 50))
    begun.reach_point()
    begun.close()
    anew = target_of(path)
    anew.begin(0)
    anew.write(some(0, 2))
    anew.finish()
    anew.close()
    assert keys_in(path) == numbered(2)


@pytest.mark.parametrize("kind", KINDS)
def test_file_of_nothing_is_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    target = target_of(path)
    target.begin(0)
    target.finish()
    target.close()
    assert keys_in(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_less_than_the_point_says_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    target = target_of(path)
    target.begin(0)
    target.write(some(0, 3))
    point = target.reach_point()
    target.close()
    again = target_of(path)
    with pytest.raises(BadInput, match="--overwrite begins anew"):
        again.begin(point + 1)
    again.close()


def test_same_vectors_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        target = target_of(tmp_path / f"{name}.jsonl.gz")
        target.begin(0)
        target.write(some(0, 100))
        target.finish()
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_stream_gets_lines_and_stays_open() -> None:
    stream = io.BytesIO()
    target = StreamTarget(stream)
    target.begin(0)
    target.write(some(0, 2))
    assert target.finish() == len(stream.getvalue())
    target.close()
    assert [json.loads(line)["key"] for line in stream.getvalue().splitlines()] == numbered(2)


def test_parquet_without_numbers_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    target = parquet_target(path, DEFINITION, {}, data=False)
    target.begin(0)
    target.write([Vector("a", None, {})])
    target.finish()
    assert pq.read_schema(path).names == ["key", "metadata"]
