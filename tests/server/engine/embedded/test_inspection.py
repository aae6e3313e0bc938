"""What is shown of a data directory is what is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resting import GRAPHED, SMALL, change, files_of
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


def test_everything_is_shown_and_nothing_changed(resting: EmbeddedOptions) -> None:
    before = files_of(resting.data_dir)
    found = inspect(resting.data_dir, resting)
    assert files_of(resting.data_dir) == before
    assert (found.data_dir, found.format_version) == (str(resting.data_dir), 1)
    named = (BUCKET.name, BUCKET.account_id, BUCKET.created_ms)
    assert found.buckets == [BucketFacts(*named, has_policy=False, has_logging=True)]
    graphed, small = found.indexes
    assert (graphed.bucket_name, graphed.name, graphed.index_id) == (BUCKET.name, GRAPHED, 1)
    assert (graphed.dimension, graphed.metric, graphed.m) == (4, "euclidean", 16)
    assert (graphed.vector_count, graphed.seq, graphed.created_ms) == (120, 1, 5)
    assert list(graphed.generations) == ["generations/1/1"]
    assert (small.name, small.vector_count, small.checkpoints) == (SMALL, 3, [])
    assert (found.backup_created_ms, found.dropping, found.unknown_generations) == (None, [], [])


def test_checkpoint_is_shown_with_its_files_and_time(resting: EmbeddedOptions) -> None:
    (one,) = inspect(resting.data_dir, resting).indexes[0].checkpoints
    path = resting.data_dir / one.path
    own = sum(file.stat().st_size for file in path.iterdir())
    rows = 120 * 4 * 5  # float32 and codes
    keys = sum(len(f"k{number}") for number in range(120))
    assert (one.path, one.seq, one.count) == ("generations/1/1/checkpoint-1", 1, 120)
    assert one.size_bytes == own + rows + keys
    assert one.written_ms == (path / "metadata.bin").stat().st_mtime_ns // 1_000_000


def test_missing_checkpoint_has_no_time(resting: EmbeddedOptions) -> None:
    (resting.data_dir / "generations" / "1").rename(resting.data_dir / "away")
    (one,) = inspect(resting.data_dir, resting).indexes[0].checkpoints
    assert one.written_ms is None


def test_sizes_are_those_of_the_disk(resting: EmbeddedOptions) -> None:
    found = inspect(resting.data_dir, resting)
    assert set(found.family_bytes) == {family.value for family in Family}
    assert found.family_bytes["data"] > 120 * 16
    tables = sum(path.stat().st_size for path in (resting.data_dir / "store").glob("*.sst"))
    assert sum(found.family_bytes.values()) == tables
    assert found.store_bytes >= tables
    assert found.indexes[0].generations["generations/1/1"] == disk_bytes(
        resting.data_dir / "generations" / "1" / "1"
    )


def test_sparse_files_count_as_what_they_take(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "full").write_bytes(b"x" * 10_000)
    assert 10_000 <= disk_bytes(tmp_path) < 1 << 20


def test_leftovers_are_shown(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, drop_key(7), b"")
    for name in ("7", "8"):
        (resting.data_dir / "generations" / name).mkdir()
    found = inspect(resting.data_dir, resting)
    assert (found.dropping, found.unknown_generations) == ([7], ["generations/8"])


def test_backup_is_shown_as_one(resting: EmbeddedOptions) -> None:
    alone = inspect(resting.data_dir, resting)
    write_backup_file(resting.data_dir, version="1", create_ms=77)
    assert inspect(resting.data_dir, resting) == replace(alone, backup_created_ms=77)
    (resting.data_dir / BACKUP_FILE).write_text("{")
    with pytest.raises(BadBackup):
        inspect(resting.data_dir, resting)


def test_other_formats_are_shown(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, FORMAT_KEY, encode_number(9))
    assert inspect(resting.data_dir, resting).format_version == 9
    change(resting, Family.CATALOG, FORMAT_KEY, None)
    assert inspect(resting.data_dir, resting).format_version is None


def test_broken_record_is_named(resting: EmbeddedOptions) -> None:
    change(resting, Family.CATALOG, state_key(1), b"short")
    with pytest.raises(Corruption, match=f"family catalog, key {state_key(1).hex()}"):
        inspect(resting.data_dir, resting)
