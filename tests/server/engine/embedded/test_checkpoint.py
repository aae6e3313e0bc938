"""A checkpoint is what was written, or it is not believed; a changed byte never reaches hnswlib.

Method: a generation with every kind of slot is written, its files are damaged one at a time, and
what would load the graph is watched. (tests/durability does the same through the whole engine.)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lives import Life, names
from oracles import draw_noise
from rooms import files_no_longer_than, make_index, make_options, numbered
from searches import RED, check, fill
from vectorbucket_server.engine.embedded import checkpoint as module
from vectorbucket_server.engine.embedded.checkpoint import BadCheckpoint, free_name, load, write
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.engine.embedded.schema import Checkpoint, IndexState
from vectorbucket_server.model import DistanceMetric, Index

DIMENSION = 4
M = 16
NAME = "checkpoint-1"
FILES = (
    f"{NAME}/graph.hnsw",
    f"{NAME}/slots.npy",
    f"{NAME}/metadata.bin",
    "column.f32",
    "codes.i8",
    "keys",
)
SHARED = FILES[3:]


@dataclass(slots=True)
class Saved:
    """A generation, and its checkpoint."""

    life: Life
    index: Index
    checkpoint: Checkpoint

    @property
    def directory(self) -> Path:
        """Return the generation's."""
        return self.life.generation.directory

    def load(self, checkpoint: Checkpoint | None = None, **changes: Any) -> module.Loaded:
        """Load it, for this index or one that differs."""
        index = replace(self.index, **{k: v for k, v in changes.items() if k != "m"})
        return load(checkpoint or self.checkpoint, self.directory, index, changes.get("m", M))

    def resumed(self) -> Generation:
        """Return a generation that goes on with it."""
        loaded, options = self.load(), make_options(self.directory.parent, graph_rows_min=1)
        return Generation(self.directory, self.index, options, rows=loaded.rows, graph=loaded.graph)


def save(life: Life, index: Index, name: str = NAME) -> Checkpoint:
    """Write a checkpoint."""
    state = IndexState(next_label=10_000, seq=life.seq, vector_count=len(life.labels))
    return write(life.generation, index, state, M, name)


@pytest.fixture(name="make")
def fixture_make(tmp_path: Path) -> Callable[..., Saved]:
    """Return how to save a generation: in the graph, pending, dead before and after their turn."""

    def make(metric: DistanceMetric = DistanceMetric.EUCLIDEAN, seed: int = 0) -> Saved:
        folder = tmp_path / f"{metric.value}{seed}"
        life, index = Life(folder, metric=metric), make_index(DIMENSION, metric)
        life.generation = Generation(
            folder / "1", index, make_options(folder, graph_rows_min=1, ef_construction=50)
        )
        life.put(names(seed, 9_990))
        fill(life, 300, indexed=240)
        life.generation.turn(10, 1)  # hides those that died after their turn
        return Saved(life, index, save(life, index))

    return make


@pytest.fixture(name="saved")
def fixture_saved(make: Callable[..., Saved]) -> Saved:
    """Return a generation that was saved."""
    return make()


@pytest.fixture(name="loads")
def fixture_loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files that hnswlib is given to load."""
    given: list[Path] = []
    original = Graph.load

    def noted(path: Path, **named: Any) -> Graph:
        given.append(path)
        return original(path, **named)

    monkeypatch.setattr(Graph, "load", noted)
    return given


# --- What is written is read ----------------------------------------------------------------------


@pytest.mark.parametrize("metric", list(DistanceMetric))
def test_generation_that_was_read_is_the_one_that_was_written(
    make: Callable[..., Saved], metric: DistanceMetric
) -> None:
    saved = make(metric)
    old, new = saved.life.generation, saved.resumed()
    count = old.view.count
    assert (new.view.count, new.live_count, new.graphed) == (count, old.live_count, old.graphed)
    assert (new.absent, new.marked) == (old.absent, old.marked)
    assert len(old.absent), "there are slots that were dead before their turn"
    assert len(old.marked), "there are slots that died after it"
    assert old.pending_slots, "there are slots that wait for theirs"
    everything = np.arange(count)
    for name in ("labels", "rows", "codes", "code_scales", "squared_norms"):
        before, after = getattr(old.view, name)[:count], getattr(new.view, name)[:count]
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert new.view.keys.at(everything) == old.view.keys.at(everything)
    assert new.view.largest_squared_norm == old.view.largest_squared_norm
    np.testing.assert_array_equal(new.view.live(everything), old.view.live(everything))
    assert list(new.metadata_index.matching(RED, count)) == list(
        old.metadata_index.matching(RED, count)
    )
    queries = draw_noise(20, DIMENSION, seed=9)
    np.testing.assert_array_equal(
        new.search(queries, 30, 1).slots, old.search(queries, 30, 1).slots
    )


@pytest.mark.parametrize("metric", list(DistanceMetric))
def test_generation_that_was_read_goes_on_as_any_other(
    make: Callable[..., Saved], metric: DistanceMetric
) -> None:
    saved = make(metric)
    life, queries = saved.life, draw_noise(10, DIMENSION, seed=9)
    life.generation = saved.resumed()
    for expression in (None, RED):
        check(life, queries, 10, expression)
    life.delete(sorted(life.labels)[:40])
    fresh = names(400, 1_000)
    life.put(fresh, draw_noise(400, DIMENSION, seed=5), [{"colour": "red"}] * 400)
    check(life, queries, 10, RED)
    life.index_all()
    for expression in (None, RED):
        check(life, queries, 10, expression)
    assert life.generation.unsaved > 440
    assert save(life, saved.index, "checkpoint-2").count == life.generation.view.count


def test_record_says_what_was_written(saved: Saved) -> None:
    checkpoint, generation = saved.checkpoint, saved.life.generation
    assert (checkpoint.generation, checkpoint.name) == (1, NAME)
    assert (checkpoint.seq, checkpoint.next_label) == (saved.life.seq, 10_000)
    assert (checkpoint.count, checkpoint.graphed) == (generation.view.count, 250)
    assert (checkpoint.dimension, checkpoint.m) == (DIMENSION, M)
    assert set(checkpoint.files) == set(FILES)
    for name in FILES[:3]:
        assert checkpoint.files[name].size_bytes == (saved.directory / name).stat().st_size
    assert checkpoint.files["column.f32"].size_bytes == checkpoint.count * DIMENSION * 4
    assert checkpoint.files["codes.i8"].size_bytes == checkpoint.count * DIMENSION


def test_everything_is_on_the_disk_before_the_record_is_returned(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(module, "_sync", synced.append)
    name = "checkpoint-2"
    save(saved.life, saved.index, name)
    base = saved.directory
    files = {base / file.replace(NAME, name) for file in FILES}
    assert set(synced) == files | {base / name, base, base.parent}


def test_names_of_checkpoints_ascend(saved: Saved, tmp_path: Path) -> None:
    assert free_name(tmp_path) == "checkpoint-1"
    assert free_name(saved.directory) == "checkpoint-2"
    (saved.directory / "checkpoint-10").mkdir()
    assert free_name(saved.directory) == "checkpoint-11"


def test_rows_that_came_later_do_not_harm_a_checkpoint(saved: Saved) -> None:
    before = saved.life.generation.view
    saved.life.put(names(5_000, 2_000))
    saved.life.delete(sorted(saved.life.labels)[:50])
    second = save(saved.life, saved.index, "checkpoint-2")
    loaded = saved.load()
    assert len(loaded.rows.labels) == before.count < second.count
    assert len(saved.load(second).rows.labels) == second.count
    np.testing.assert_array_equal(
        ~loaded.rows.dead, before.live(np.arange(before.count, dtype=np.intp))
    )


def test_directory_that_is_taken_is_not_written_over(saved: Saved) -> None:
    with pytest.raises(FileExistsError):
        save(saved.life, saved.index)
    saved.load()


def test_full_disk_is_noticed_though_hnswlib_does_not(saved: Saved) -> None:
    with files_no_longer_than(1_000), pytest.raises(OSError, match=r"graph\.hnsw"):
        save(saved.life, saved.index, "checkpoint-2")
    saved.load()


# --- Damage ---------------------------------------------------------------------------------------


def flip(path: Path, position: int) -> None:
    """Invert a byte."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path, size: int) -> None:
    """Leave the first bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])


DAMAGE: dict[str, Callable[[Path, int], object]] = {
    "first byte flipped": lambda path, _: flip(path, 0),
    "second byte flipped": lambda path, _: flip(path, 1),
    "byte in the middle flipped": lambda path, size: flip(path, size // 2),
    "last byte flipped": lambda path, size: flip(path, size - 1),
    "last byte missing": lambda path, size: cut(path, size - 1),
    "half missing": lambda path, size: cut(path, size // 2),
    "empty": lambda path, _: cut(path, 0),
    "missing": lambda path, _: path.unlink(),
    "zeros": lambda path, size: path.write_bytes(bytes(size)),
    "a directory": lambda path, _: [path.unlink(), path.mkdir()],  # type: ignore[func-returns-value]
}
"""What can become of a file, given how many of its bytes the checkpoint holds."""


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_damaged_file_is_named_before_hnswlib_is_asked(
    saved: Saved, loads: list[Path], name: str, what: str
) -> None:
    path = saved.directory / name
    whole = path.read_bytes()
    DAMAGE[what](path, saved.checkpoint.files[name].size_bytes)
    with pytest.raises(BadCheckpoint, match=str(path)):
        saved.load()
    assert loads == []
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    saved.load()
    assert loads == [saved.directory / FILES[0]]


def test_any_flipped_bit_is_noticed_before_hnswlib_is_asked(
    saved: Saved, loads: list[Path]
) -> None:
    rng = np.random.default_rng(3)
    for name in FILES:
        path = saved.directory / name
        whole = path.read_bytes()
        for position in rng.integers(saved.checkpoint.files[name].size_bytes, size=20).tolist():
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with pytest.raises(BadCheckpoint, match="checksum"):
                saved.load()
        path.write_bytes(whole)
    assert loads == []
    saved.load()


@pytest.mark.parametrize("name", SHARED)
def test_what_stands_behind_the_part_of_a_checkpoint_does_not_matter(
    saved: Saved, name: str
) -> None:
    with (saved.directory / name).open("ab") as file:
        file.write(b"\xff" * 1_000)
    saved.load()
    size = saved.checkpoint.files[name].size_bytes
    cut(saved.directory / name, size)
    saved.load()


@pytest.mark.parametrize("name", FILES[:3])
def test_file_that_is_too_long_is_bad_or_read_as_it_was(saved: Saved, name: str) -> None:
    with (saved.directory / name).open("ab") as file:
        file.write(b"\xff" * 1_000)
    if name == FILES[1]:
        assert len(saved.load().rows.labels) == saved.checkpoint.count
        return
    with pytest.raises(BadCheckpoint, match=NAME):
        saved.load()


def test_directory_of_a_checkpoint_that_is_gone_is_named(saved: Saved, loads: list[Path]) -> None:
    shutil.rmtree(saved.directory / NAME)
    with pytest.raises(BadCheckpoint, match=NAME):
        saved.load()
    assert loads == []


# --- Foreign --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"dimension": 5}, {"metric": DistanceMetric.COSINE}, {"m": 8}], ids=str
)
def test_checkpoint_of_an_index_of_another_shape_is_refused(
    saved: Saved, loads: list[Path], changes: dict[str, Any]
) -> None:
    with pytest.raises(BadCheckpoint, match="another shape than index 'vectors'"):
        saved.load(**changes)
    assert loads == []


@pytest.mark.parametrize("name", FILES)
def test_file_of_another_indexs_checkpoint_is_refused(
    make: Callable[..., Saved], saved: Saved, loads: list[Path], name: str
) -> None:
    other = make(seed=1)
    other.load()
    loads.clear()
    shutil.copy(other.directory / name, saved.directory / name)
    with pytest.raises(BadCheckpoint, match=str(saved.directory / name)):
        saved.load()
    assert loads == []


@pytest.mark.parametrize("name", FILES[:3])
def test_file_of_an_older_checkpoint_is_refused(saved: Saved, loads: list[Path], name: str) -> None:
    life = saved.life
    life.put(names(1, 9_000), numbered(1)[0].data)
    life.delete(sorted(life.labels)[:2])
    life.index_all()
    second = save(life, saved.index, "checkpoint-2")
    newer = saved.directory / name.replace(NAME, second.name)
    shutil.copy(saved.directory / name, newer)
    with pytest.raises(BadCheckpoint, match=str(newer)):
        saved.load(second)
    assert loads == []


@pytest.mark.parametrize(("field", "by"), [("count", 1), ("count", -1), ("graphed", 1)])
def test_record_that_counts_otherwise_is_refused(saved: Saved, field: str, by: int) -> None:
    changed = replace(saved.checkpoint, **{field: getattr(saved.checkpoint, field) + by})
    with pytest.raises(BadCheckpoint, match="slots, "):
        saved.load(changed)


@pytest.mark.parametrize("name", FILES)
def test_record_that_names_no_checksum_of_a_file_is_refused(
    saved: Saved, loads: list[Path], name: str
) -> None:
    files = {key: value for key, value in saved.checkpoint.files.items() if key != name}
    with pytest.raises(BadCheckpoint, match="other files"):
        saved.load(replace(saved.checkpoint, files=files))
    assert loads == []


def test_file_that_hnswlib_refuses_is_a_bad_checkpoint(saved: Saved) -> None:
    # Its checksum is right, so only hnswlib can say so.
    path = saved.directory / FILES[0]
    cut(path, path.stat().st_size - 8)
    files = saved.checkpoint.files | {FILES[0]: module._measure(path)}
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        saved.load(replace(saved.checkpoint, files=files))
