"""Importing: which rows are done, what becomes of bad ones, and where an import goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from client.cli.transfers import lines_of, stored
from faulty_proxy import Fault, FaultyProxy
from vectorbucket import Client, NoSuchVectorIndex, RetryPolicy, VectorBucketError
from vectorbucket.cli import transfer_import
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows_json import JsonLines
from vectorbucket.cli.transfer_import import Import, Reached
from vectorbucket.cli.transfer_rejects import Rejects

GOOD: list[Any] = [{"key": f"k{n:04}", "data": [n, 1], "metadata": {"n": n}} for n in range(100)]
KEYS: list[str] = [vector["key"] for vector in GOOD]


@dataclass
class Desk:
    """Imports texts into an index of two numbers, cosine."""

    client: Client
    bucket: str
    folder: Path
    notes: list[Reached] = field(default_factory=list)
    rejects: Rejects | None = None

    def run(
        self,
        vectors: Iterable[Any],
        *,
        skip: bool = False,
        begun: Reached | None = None,
        batch_size: int = 10,
        index_name: str = "faces",
    ) -> Reached:
        """Import vectors; texts stand for themselves."""
        text = "".join(f"{one}\n" if isinstance(one, str) else lines_of([one]) for one in vectors)
        begun = begun or Reached()
        self.rejects = Rejects(self.path, "line", begun.rows) if skip else None
        run = Import(
            self.client,
            (self.bucket, index_name),
            JsonLines("file", io.BytesIO(text.encode())),
            rejects=self.rejects,
            begun=begun,
            note=self.notes.append,
        )
        try:
            return run.run(2, batch_size, lambda _: None)
        finally:
            if self.rejects is not None:
                self.rejects.close()

    @property
    def path(self) -> Path:
        """Where rejected rows go."""
        return self.folder / "rejects.jsonl"

    @property
    def rejected(self) -> list[tuple[int, str, str]]:
        """Line, field and reason of each rejected row."""
        lines = map(json.loads, self.path.read_text().splitlines())
        return [(line["line"], line["field"], line["reason"]) for line in lines]

    @property
    def keys(self) -> list[str]:
        """The keys that are stored."""
        return [key for key, _, _ in stored(self.client, self.bucket, "faces")]


@pytest.fixture
def desk(client: Client, bucket: str, tmp_path: Path) -> Desk:
    """A desk with an empty index."""
    client.put_vector_index(bucket, "faces", dimension=2, distance_metric="cosine")
    return Desk(client, bucket, tmp_path)


def test_every_row_is_stored_and_noted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_import, "NOTE_ROWS", 25)
    assert desk.run(GOOD) == Reached(100, 100)
    assert desk.keys == KEYS
    counts = [note.rows for note in desk.notes]
    assert counts == [30, 60, 90, 100]
    assert all(note.stored == note.rows for note in desk.notes)


def test_nothing_to_import_is_nothing_done(desk: Desk) -> None:
    assert desk.run([]) == Reached(0, 0)
    assert desk.run(["", ""], skip=True) == Reached(0, 0)
    assert desk.run(GOOD, begun=Reached(100, 100)) == Reached(100, 100)
    assert desk.keys == []


@pytest.mark.parametrize("at", [0, 9, 10, 37, 99])
def test_bad_row_ends_the_import_after_what_came_before_is_stored(desk: Desk, at: int) -> None:
    vectors = [*GOOD[:at], {"key": "bad", "data": [1]}, *GOOD[at:]]
    with pytest.raises(BadInput) as caught:
        desk.run(vectors)
    assert str(caught.value).startswith(f"file, line {at + 1} (key 'bad'): data has 1 numbers")
    assert "--on-error skip" in str(caught.value)
    assert desk.keys == KEYS[:at]
    assert desk.notes[-1] == Reached(at, at)
    # Corrected, it goes on behind what was done.
    vectors[at] = {"key": "good", "data": [1, 2]}
    assert desk.run(vectors, begun=desk.notes[-1]) == Reached(101, 101)
    assert desk.keys == sorted([*KEYS, "good"])


@pytest.mark.parametrize("at", [0, 9, 10, 37, 99])
def test_row_that_the_server_refuses_ends_the_import_with_its_line(desk: Desk, at: int) -> None:
    vectors = [*GOOD[:at], {"key": "zero", "data": [0, 0]}, *GOOD[at:]]
    with pytest.raises(BadInput) as caught:
        desk.run(vectors)
    assert f"file, line {at + 1} (key 'zero'): data is a zero vector" in str(caught.value)
    assert desk.notes[-1].rows == at // 10 * 10
    assert desk.notes[-1].stored == desk.notes[-1].rows
    assert set(KEYS[: desk.notes[-1].rows]) <= set(desk.keys)
    vectors[at] = {"key": "good", "data": [1, 2]}
    assert desk.run(vectors, begun=desk.notes[-1]) == Reached(101, 101)
    assert desk.keys == sorted([*KEYS, "good"])


def test_bad_rows_are_passed_over_and_written_down(desk: Desk) -> None:
    bad = {
        3: "no JSON",
        4: {"key": "null", "data": [1, 2], "metadata": {"x": None}},
        25: {"key": "zero", "data": [0, 0]},
        26: {"key": "k" * 1025, "data": [1, 2]},
        27: {"key": "reserved", "data": [1, 2], "metadata": {"$x": 1}},
        60: {"key": KEYS[57], "data": [1, 2]},
        99: {"key": "zero too", "data": [0, 0]},
    }
    vectors = [bad.get(n, vector) for n, vector in enumerate(GOOD)]
    reached = desk.run(vectors, skip=True)
    assert desk.keys == [key for n, key in enumerate(KEYS) if n not in bad]
    assert reached == Reached(100, 100 - len(bad))
    found = {line - 1: (field, reason) for line, field, reason in desk.rejected}
    assert found.keys() == bad.keys()
    assert [found[n][0] for n in sorted(bad)] == [
        "",
        "metadata.x",
        "data",
        "key",
        "metadata",
        "key",
        "data",
    ]
    assert "line 58" in found[60][1]
    assert not any("vectors[" in reason for _, reason in found.values())


def test_file_of_bad_rows_only_stores_nothing(desk: Desk) -> None:
    assert desk.run(["no JSON"] * 7, skip=True) == Reached(7, 0)
    assert desk.run([{"key": f"{n}", "data": [0, 0]} for n in range(25)], skip=True) == Reached(
        25, 0
    )
    assert [line for line, _, _ in desk.rejected] == list(range(1, 26))
    assert desk.keys == []


def test_newest_row_of_a_key_holds_though_its_older_batch_was_refused(desk: Desk) -> None:
    older = [{"key": "twice", "data": [1, 1], "metadata": {"v": "old"}}]
    newer = [{"key": "twice", "data": [1, 1], "metadata": {"v": "new"}}]
    vectors = [*older, {"key": "zero", "data": [0, 0]}, *GOOD[:8], *newer, *GOOD[8:20]]
    desk.run(vectors, skip=True)
    (found,) = desk.client.get_vectors(desk.bucket, "faces", ["twice"], return_metadata=True)
    assert found.metadata == {"v": "new"}
    assert [line for line, _, _ in desk.rejected] == [2]
    assert set(KEYS[:20]) <= set(desk.keys)


def test_resumed_import_rejects_no_row_twice(desk: Desk) -> None:
    vectors: list[Any] = [*GOOD[:30], "no JSON", *GOOD[30:60], "no JSON", *GOOD[60:]]
    desk.run(vectors[:50], skip=True)
    reached = desk.run(vectors, skip=True, begun=Reached(35, 34))
    assert reached == Reached(102, 100)
    assert [line for line, _, _ in desk.rejected] == [31, 62]
    assert desk.rejects is not None
    assert desk.rejects.count == 2


def test_damaged_file_ends_the_import_after_what_came_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vectorbucket.cli.rows_json.LINE_BYTES_MAX", 200)
    with pytest.raises(BadInput, match="line 26: it is longer than 200 bytes"):
        desk.run([*GOOD[:25], "x" * 300], skip=True)
    assert desk.keys == KEYS[:25]
    assert desk.notes[-1] == Reached(25, 25)


def test_error_that_is_about_no_row_ends_the_import(desk: Desk) -> None:
    with pytest.raises(NoSuchVectorIndex):
        desk.run(GOOD, skip=True, index_name="gone")
    assert desk.notes == [Reached(0, 0)]
    with pytest.raises(VectorBucketError, match="501"):
        desk.run([{"key": f"{n}", "data": [n, 1]} for n in range(600)], skip=True, batch_size=501)
    assert desk.notes[-1].rows == 0
    assert not desk.path.exists()


@pytest.mark.parametrize("cut", [300, 3_000, 9_000, 20_000])
def test_import_whose_connection_is_lost_for_good_goes_on_where_it_was(
    desk: Desk, server_address: str, cut: int
) -> None:
    vectors = [{"key": f"k{n:04}", "data": [n, 1]} for n in range(900)]
    faults = [Fault(cut_up=cut), *[Fault(cut_up=1)] * 10_000]
    with FaultyProxy(server_address, *faults) as proxy:
        impatient = RetryPolicy(first_delay_s=0.001, delay_s_max=0.001, attempts_max=2)
        with Client(proxy.address, retry=impatient, resume_timeout_s=0.05) as client:
            broken = Desk(client, desk.bucket, desk.folder)
            with pytest.raises(VectorBucketError):
                broken.run(vectors)
    begun = broken.notes[-1]
    assert begun.rows == begun.stored < 900
    assert {f"k{n:04}" for n in range(begun.rows)} <= set(desk.keys)
    assert desk.run(vectors, begun=begun) == Reached(900, 900)
    assert len(desk.keys) == 900


def test_interrupt_amid_a_refused_batch_leaves_it_to_be_done(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = [*GOOD[:15], {"key": "zero", "data": [0, 0]}, *GOOD[15:40]]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(desk.client, "put_vectors_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            desk.run(vectors, skip=True)
    assert desk.notes[-1] == Reached(10, 10)
    assert desk.run(vectors, skip=True, begun=desk.notes[-1]) == Reached(41, 40)
    assert desk.keys == KEYS[:40]
