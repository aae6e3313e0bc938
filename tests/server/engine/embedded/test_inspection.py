"""What is shown of a data directory is what is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resting import GRAPHED, SMALL, change, copied, files_of, make_resting
from rooms import BUCKET
from vectorbucket.errors import Corruption
from vectorbucket_server.engine.backup_file import BACKUP_FILE, BadBackup, write_backup_file
from vectorbucket_server.engine.embedded.inspection import BucketFacts, disk_bytes, inspect
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    FORMAT_KEY,
    Family,
    drop_key,
    encode_number,
    state_key,
)


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data directory that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    make_resting(folder)
    return folder


@pytest.fixture(name="options")
def fixture_options(made: Path, tmp_path: Path) -> EmbeddedOptions:
    """Return the options of a copy of it."""
    return copied(made, tmp_path)


def test_everything_is_shown_and_nothing_changed(options: EmbeddedOptions) -> None:
    before = files_of(options.data_dir)
    found = inspect(options.data_dir, options)
    assert files_of(options.data_dir) == before
    assert (found.data_dir, found.format_version) == (str(options.data_dir), 1)
    named = (BUCKET.name, BUCKET.account_id, BUCKET.created_ms)
    assert found.buckets == [BucketFacts(*named, has_policy=False, has_logging=True)]
    graphed, small = found.indexes
    assert (graphed.bucket_name, graphed.name, graphed.index_id) == (BUCKET.name, GRAPHED, 1)
    assert (graphed.dimension, graphed.metric, graphed.m) == (4, "euclidean", 16)
    assert (graphed.vector_count, graphed.seq, graphed.created_ms) == (120, 1, 5)
    assert list(graphed.generations) == ["generations/1/1"]
    assert (small.name, small.vector_count, small.checkpoints) == (SMALL, 3, [])
    assert (found.backup_created_ms, found.dropping, found.unknown_generations) == (None, [], [])


def test_checkpoint_is_shown_with_its_files_and_time(options: EmbeddedOptions) -> None:
    (one,) = inspect(options.data_dir, options).indexes[0].checkpoints
    path = options.data_dir / one.path
    own = sum(file.stat().st_size for file in path.iterdir())
    rows = 120 * 4 * 5  # float32 and codes
    keys = sum(len(f"k{number}") for number in range(120))
    assert (one.path, one.seq, one.count) == ("generations/1/1/checkpoint-1", 1, 120)
    assert one.size_bytes == own + rows + keys
    assert one.written_ms == (path / "metadata.bin").stat().st_mtime_ns // 1_000_000


def test_missing_checkpoint_has_no_time(options: EmbeddedOptions) -> None:
    (options.data_dir / "generations" / "1").rename(options.data_dir / "away")
    (one,) = inspect(options.data_dir, options).indexes[0].checkpoints
    assert one.written_ms is None


def test_sizes_are_those_of_the_disk(options: EmbeddedOptions) -> None:
    found = inspect(options.data_dir, options)
    assert set(found.family_bytes) == {family.value for family in Family}
    assert found.family_bytes["data"] > 120 * 16
    tables = sum(path.stat().st_size for path in (options.data_dir / "store").glob("*.sst"))
    assert sum(found.family_bytes.values()) == tables
    assert found.store_bytes >= tables
    assert found.indexes[0].generations["generations/1/1"] == disk_bytes(
        options.data_dir / "generations" / "1" / "1"
    )


def test_sparse_files_count_as_what_they_take(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "full").write_bytes(b"x" * 10_000)
    assert 10_000 <= disk_bytes(tmp_path) < 1 << 20


def test_leftovers_are_shown(options: EmbeddedOptions) -> None:
    change(options, Family.CATALOG, drop_key(7), b"")
    for name in ("7", "8"):
        (options.data_dir / "generations" / name).mkdir()
    found = inspect(options.data_dir, options)
    assert (found.dropping, found.unknown_generations) == ([7], ["generations/8"])


def test_backup_is_shown_as_one(options: EmbeddedOptions) -> None:
    alone = inspect(options.data_dir, options)
    write_backup_file(options.data_dir, version="1", create_ms=77)
    assert inspect(options.data_dir, options) == replace(alone, backup_created_ms=77)
    (options.data_dir / BACKUP_FILE).write_text("{")
    with pytest.raises(BadBackup):
        inspect(options.data_dir, options)


def test_other_formats_are_shown(options: EmbeddedOptions) -> None:
    change(options, Family.CATALOG, FORMAT_KEY, encode_number(9))
    assert inspect(options.data_dir, options).format_version == 9
    change(options, Family.CATALOG, FORMAT_KEY, None)
    assert inspect(options.data_dir, options).format_version is None


def test_broken_record_is_named(options: EmbeddedOptions) -> None:
    change(options, Family.CATALOG, state_key(1), b"short")
    with pytest.raises(Corruption, match=f"family catalog, key {state_key(1).hex()}"):
        inspect(options.data_dir, options)
