"""A data directory that no server uses, with all that there can be in it, and how to harm it.

Rules of this file: it makes, changes and looks; what is right is said by the tests alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rooms import BUCKET, eventually, make_options, numbered, opened_engine, put_index
from vectorbucket_server.engine.embedded.at_rest import Finding
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import Family
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.engine.embedded.verification import Counts, Verification
from vectorbucket_server.model import BucketLogging

GRAPH_ROWS_MIN = 50
COUNT = 120
"""Vectors of the index with a graph, its id is 1; the one without has 3, and id 2."""

GRAPHED, SMALL = "graphed", "small"


def resting_options(folder: Path) -> EmbeddedOptions:
    """Return the options of a data directory in a folder."""
    return make_options(folder, graph_rows_min=GRAPH_ROWS_MIN)


def make_resting(folder: Path) -> EmbeddedOptions:
    """Make a data directory with a saved graph; all labels are alive, 1 to COUNT and 1 to 3."""
    with opened_engine(folder, graph_rows_min=GRAPH_ROWS_MIN) as engine:
        logging = BucketLogging(BUCKET.name, "", "")
        engine.set_bucket_logging(BUCKET.name, logging)
        graphed, small = put_index(engine, GRAPHED), put_index(engine, SMALL)
        engine.put_vectors(graphed, numbered(COUNT)[0])
        engine.put_vectors(small, numbered(3)[0])
        eventually(
            lambda: engine.index_statistics(graphed).pending_vector_count == 0, "it has a graph"
        )
    return resting_options(folder)


def copied(source: Path, folder: Path) -> EmbeddedOptions:
    """Return the options of a copy of the data directory of one folder in another."""
    shutil.copytree(source / "data", folder / "data", copy_function=_copy)
    return resting_options(folder)


def _copy(source: str, target: str) -> None:
    """Copy a file, and leave out of it what most of these files are: room for more."""
    content = Path(source).read_bytes()
    with Path(target).open("wb") as file:
        file.write(content.rstrip(b"\0"))
        file.truncate(len(content))


@contextmanager
def store_of(options: EmbeddedOptions) -> Iterator[Store]:
    """Yield the store, open for writing."""
    store = Store(options.data_dir / "store", options)
    try:
        yield store
    finally:
        store.close()


def change(
    options: EmbeddedOptions, family: Family, key: bytes, value: bytes | None
) -> bytes | None:
    """Set a record, or remove it with None; return what it was."""
    with store_of(options) as store:
        before = store.get(family, key)
        _write(store, [(family, key, value)])
    return before


def change_all(
    options: EmbeddedOptions, changes: Iterable[tuple[Family, bytes, bytes | None]]
) -> None:
    """Set records, or remove them with None."""
    with store_of(options) as store:
        _write(store, changes)


def _write(store: Store, changes: Iterable[tuple[Family, bytes, bytes | None]]) -> None:
    batch = store.batch()
    for family, key, value in changes:
        if value is None:
            batch.delete(family, key)
        else:
            batch.put(family, key, value)
    store.write(batch)


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file; from its end, if the offset is negative."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def numbers_of(options: EmbeddedOptions, number: int) -> tuple[Path, int]:
    """Return the table file with the numbers of the vector of a number, and where in it."""
    wanted = np.float32(number).tobytes() + bytes(12)
    for path in sorted((options.data_dir / "store").glob("*.sst")):
        if (place := path.read_bytes().find(wanted)) >= 0:
            return path, place
    raise AssertionError(f"no table file has vector {number}")


def verified(options: EmbeddedOptions, data_dir: Path | None = None) -> list[Finding]:
    """Return what is found in the data directory, or in another one."""
    return counted(options, data_dir)[0]


def counted(options: EmbeddedOptions, data_dir: Path | None = None) -> tuple[list[Finding], Counts]:
    """Return what is found, and how much was looked at."""
    look = Verification(data_dir or options.data_dir, options, lambda *_: None)
    return list(look.findings()), look.counts


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    """Return severity, and place and words of findings as one text."""
    return [(one.severity.value, f"{one.place}: {one.what}") for one in findings]


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of all files in a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
