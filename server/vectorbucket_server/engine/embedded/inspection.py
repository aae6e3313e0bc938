"""``inspect``: what is in a data directory or a backup, without a server.

Rules of this file: it only reads, and little: the catalogue, and the names and sizes of files. What
is wrong with it is verification.py's to find; broken records end it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vectorbucket_server.engine.backup_file import BACKUP_FILE, read_backup_file
from vectorbucket_server.engine.embedded.at_rest import AtRest, opened_at_rest
from vectorbucket_server.engine.embedded.checkpoint import METADATA_FILE
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import (
    graph_m,
    load_checkpoints,
    load_state,
)
from vectorbucket_server.engine.embedded.schema import (
    BUCKET_PREFIX,
    DROP_PREFIX,
    FORMAT_KEY,
    INDEX_PREFIX,
    Checkpoint,
    Family,
    catalogue_index_id,
    decode_bucket,
    decode_index,
    decode_number,
)
from vectorbucket_server.model import Index

_DISK_BLOCK_BYTES = 512
"""The unit of ``st_blocks``, whatever the disk's own is."""


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """A bucket."""

    name: str
    account_id: str
    created_ms: int
    has_policy: bool
    has_logging: bool


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """A checkpoint that the store names."""

    path: str
    """In the data directory."""
    seq: int
    """The last change that it contains."""
    count: int
    """Vectors in it, dead ones with them."""
    size_bytes: int
    """Of its files, those that it shares with them."""
    written_ms: int | None
    """When, in milliseconds since the Unix epoch; None if it is not there."""


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """An index."""

    bucket_name: str
    name: str
    index_id: int
    dimension: int
    metric: str
    m: int
    created_ms: int
    vector_count: int
    seq: int
    """The number of its last change."""
    checkpoints: list[CheckpointFacts]
    """The newest first."""
    generations: dict[str, int]
    """Bytes on the disk of each directory of a generation, by its path in the data directory."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in a data directory."""

    data_dir: str
    format_version: int | None
    backup_created_ms: int | None
    """When it was begun, if it is a backup."""
    buckets: list[BucketFacts]
    indexes: list[IndexFacts]
    dropping: list[int]
    """Ids of indexes that were deleted, and whose records are still to be removed."""
    family_bytes: dict[str, int]
    """Bytes of the store's table files, by family."""
    store_bytes: int
    """Bytes of all files of the store."""
    unknown_generations: list[str]
    """Folders of indexes that are not there; the server removes them when it starts."""


def inspect(data_dir: Path, options: EmbeddedOptions) -> Inspection:
    """Return what is in a data directory or a backup.

    Raises:
        ServiceUnavailable: It cannot be opened: a server uses it, say.
        Corruption: A record is broken.
        BadBackup: It is a backup whose ``backup.json`` is broken.
    """
    created_ms = None
    if (data_dir / BACKUP_FILE).exists():
        created_ms = read_backup_file(data_dir).create_ms
    with opened_at_rest(data_dir, options) as rest:
        store = rest.store
        indexes = [
            _index(rest, decode_index(key, value), options)
            for key, value in _records(rest, INDEX_PREFIX)
        ]
        drops = [catalogue_index_id(key) for key, _ in _records(rest, DROP_PREFIX)]
        version = store.get(Family.CATALOG, FORMAT_KEY)
        known = {str(one.index_id) for one in indexes} | set(map(str, drops))
        return Inspection(
            data_dir=str(data_dir),
            format_version=(
                None if version is None else decode_number(Family.CATALOG, FORMAT_KEY, version)
            ),
            backup_created_ms=created_ms,
            buckets=[_bucket(key, value) for key, value in _records(rest, BUCKET_PREFIX)],
            indexes=indexes,
            dropping=drops,
            family_bytes={family.value: size for family, size in store.sizes_bytes().items()},
            store_bytes=disk_bytes(data_dir / "store"),
            unknown_generations=[
                path.relative_to(data_dir).as_posix()
                for path in sorted((data_dir / "generations").glob("*"))
                if path.name not in known
            ],
        )


def _records(rest: AtRest, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    return rest.store.scan(Family.CATALOG, prefix, prefix + b"\xff" * 9)


def _bucket(key: bytes, value: bytes) -> BucketFacts:
    bucket = decode_bucket(key, value)
    return BucketFacts(
        bucket.name,
        bucket.account_id,
        bucket.created_ms,
        bool(bucket.policy),
        bucket.logging is not None,
    )


def _index(rest: AtRest, index: Index, options: EmbeddedOptions) -> IndexFacts:
    state = load_state(rest.store, index)
    base = rest.data_dir / "generations" / str(index.index_id)
    return IndexFacts(
        bucket_name=index.bucket_name,
        name=index.name,
        index_id=index.index_id,
        dimension=index.dimension,
        metric=index.metric.value,
        m=graph_m(index, options),
        created_ms=index.created_ms,
        vector_count=state.vector_count,
        seq=state.seq,
        checkpoints=[_checkpoint(rest, base, one) for one in load_checkpoints(rest.store, index)],
        generations={
            path.relative_to(rest.data_dir).as_posix(): disk_bytes(path)
            for path in sorted(base.glob("*"))
            if path.is_dir()
        },
    )


def _checkpoint(rest: AtRest, base: Path, checkpoint: Checkpoint) -> CheckpointFacts:
    path = base / str(checkpoint.generation) / checkpoint.name
    newest = path / METADATA_FILE
    return CheckpointFacts(
        path=path.relative_to(rest.data_dir).as_posix(),
        seq=checkpoint.seq,
        count=checkpoint.count,
        size_bytes=sum(facts.size_bytes for facts in checkpoint.files.values()),
        written_ms=newest.stat().st_mtime_ns // 1_000_000 if newest.is_file() else None,
    )


def disk_bytes(folder: Path) -> int:
    """Return how much of the disk the files in a folder take."""
    return sum(
        path.stat().st_blocks * _DISK_BLOCK_BYTES for path in folder.rglob("*") if path.is_file()
    )
