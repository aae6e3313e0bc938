"""Exporting: where one begins, what it notes, and that it goes on without loss or doubling."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pytest

from client.cli.transfers import make_numbered
from vectorbucket import Client, Vector
from vectorbucket._models import IndexInfo
from vectorbucket.cli import transfer_export
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.transfer_export import (
    Done,
    Selection,
    export_vectors,
    note_in,
    record_path,
    unfinished,
)
from vectorbucket.cli.transfer_record import read_record

INDEX = IndexInfo(
    "photos",
    "faces",
    "float32",
    4,
    "euclidean",
    (),
    datetime(2026, 1, 2, tzinfo=UTC),
    "enable",
    vector_count=1_000,
)
TASK = {"bucket": "photos"}


class Shelf:
    """A target that keeps keys, and whose points are how many there are."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.points: list[int] = []

    def begin(self, point: int) -> None:
        del self.keys[point:]

    def write(self, vectors: Sequence[Vector]) -> int:
        self.keys += [vector.key for vector in vectors]
        return len(vectors)

    def reach_point(self) -> int:
        self.points.append(len(self.keys))
        return len(self.keys)

    def finish(self) -> int:
        return len(self.keys)

    def close(self) -> None:
        pass


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 10, points every 30."""
    monkeypatch.setattr(transfer_export, "CHUNK_VECTORS", 10)
    monkeypatch.setattr(transfer_export, "POINT_VECTORS", 30)


@pytest.mark.usefixtures("small")
def test_points_are_noted_with_the_key_and_count_before_them(client: Client, bucket: str) -> None:
    make_numbered(client, bucket, "faces", 105)
    index, shelf = client.get_vector_index(bucket, "faces"), Shelf()
    notes, shown = list[Done](), list[int]()
    count = export_vectors(
        client,
        index,
        Selection(),
        shelf,
        begun=Done(),
        note=notes.append,
        show=shown.append,
    )
    assert count == 105
    assert shelf.keys == [f"k{number:06}" for number in range(105)]
    assert notes == [Done(n, f"k{n - 1:06}", n) for n in (30, 60, 90)]
    assert shown == [*range(10, 105, 10), 105]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("stopped_at", [1, 3, 4, 7, 10])
def test_export_that_was_stopped_goes_on_without_loss_or_doubling(
    client: Client, bucket: str, stopped_at: int
) -> None:
    make_numbered(client, bucket, "faces", 105)
    index, shelf, notes = client.get_vector_index(bucket, "faces"), Shelf(), [Done()]

    def show(count: int) -> None:
        if count // 10 == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_vectors(
            client, index, Selection(), shelf, begun=Done(), note=notes.append, show=show
        )
    begun = notes[-1]
    assert begun.count == stopped_at * 10 // 30 * 30
    shelf.begin(begun.point)
    count = export_vectors(
        client, index, Selection(), shelf, begun=begun, note=notes.append, show=lambda _: None
    )
    assert count == 105
    assert shelf.keys == [f"k{number:06}" for number in range(105)]


def test_large_vectors_make_points_by_their_bytes(
    client: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_export, "CHUNK_VECTORS", 10)
    monkeypatch.setattr(transfer_export, "POINT_BYTES", 20)
    make_numbered(client, bucket, "faces", 55)
    shelf, notes = Shelf(), list[Done]()
    index = client.get_vector_index(bucket, "faces")
    export_vectors(
        client, index, Selection(), shelf, begun=Done(), note=notes.append, show=lambda _: None
    )
    assert shelf.points == [20, 40]


def test_only_what_is_selected_is_exported(client: Client, bucket: str) -> None:
    make_numbered(client, bucket, "faces", 50)
    index = client.get_vector_index(bucket, "faces")

    def exported(selection: Selection) -> list[str]:
        shelf = Shelf()
        export_vectors(
            client, index, selection, shelf, begun=Done(), note=lambda _: None, show=lambda _: None
        )
        return shelf.keys

    assert exported(Selection({"n": {"$lt": 3}})) == ["k000000", "k000001", "k000002"]
    shares = [exported(Selection(segment_count=4, segment_index=n)) for n in range(4)]
    assert all(shares)
    assert sorted(chain(*shares)) == exported(Selection())


def test_selection_says_what_it_is_and_how_many_there_will_be() -> None:
    assert Selection().as_json(INDEX) == {
        "bucket": "photos",
        "indexName": "faces",
        "createTime": "2026-01-02T00:00:00+00:00",
        "filter": None,
        "data": True,
    }
    assert Selection(segment_count=4, segment_index=1).as_json(INDEX)["segment"] == "1 of 4"
    assert Selection().total(INDEX) == 1_000
    assert Selection(segment_count=4).total(INDEX) == 250
    assert Selection({"n": 1}).total(INDEX) is None


# --- Where it begins ------------------------------------------------------------------------------


def begun(path: Path, *, resume: bool = False, overwrite: bool = False) -> Done:
    return unfinished(path, TASK, resume=resume, overwrite=overwrite)


def test_new_export_begins_at_the_beginning(tmp_path: Path) -> None:
    assert begun(tmp_path / "a.jsonl") == Done()
    assert begun(tmp_path / "a.jsonl", resume=True) == Done()


@pytest.mark.parametrize("resume", [True, False])
def test_file_that_exists_is_replaced_only_if_told(tmp_path: Path, resume: bool) -> None:  # noqa: FBT001
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    with pytest.raises(BadInput, match=r"a\.jsonl exists; --overwrite replaces it"):
        begun(path, resume=resume)
    assert begun(path, resume=resume, overwrite=True) == Done()
    assert path.read_text() == "precious"


def test_unfinished_export_is_resumed_or_thrown_away_only_if_told(tmp_path: Path) -> None:
    path, done = tmp_path / "a.jsonl", Done(7, "k", 700)
    partial = tmp_path / "a.jsonl.partial"
    partial.write_text("begun")
    note_in(path, TASK)(done)
    with pytest.raises(BadInput, match=r"--resume goes on with it, --overwrite begins anew"):
        begun(path)
    assert begun(path, resume=True) == done
    assert begun(path, resume=True, overwrite=True) == done
    assert partial.exists()
    assert begun(path, overwrite=True) == Done()
    assert not partial.exists()
    assert not record_path(path).exists()


def test_export_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    note_in(path, {"bucket": "videos"})(Done(7, "k", 700))
    with pytest.raises(BadInput, match='its bucket is "videos", now it is "photos"'):
        begun(path, resume=True)
    assert read_record(record_path(path), {"bucket": "videos"}) is not None
