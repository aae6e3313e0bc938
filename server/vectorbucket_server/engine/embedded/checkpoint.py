"""A generation on disk: written in a forked child, verified before a byte of it is believed.

A checkpoint is a directory in its generation's, ``checkpoint-N``, with three files: the graph,
what is known of the slots, and the lists of metadata. The generation's own files (rows, codes,
keys) only grow, so its checkpoints share them and note how far they go. The store names the
checkpoints that exist, with size and checksum of every file: what the store does not name is no
checkpoint, however it looks. So a torn, foreign or outdated one is never taken for good.

Rules of this file:

- hnswlib loads flipped bytes without complaint and crashes later: nothing is loaded before its
  checksum was verified.
- ``write`` runs in a child (forked.py): no locks, no store.
- No pickle: arrays are ``.npy`` one after the other, lists are MessagePack.

Source: FORMAT.md says what is where.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from vectorbucket_server.engine.embedded import metadata_file
from vectorbucket_server.engine.embedded.generation import Generation, SavedGraph
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.engine.embedded.metric import METRICS
from vectorbucket_server.engine.embedded.rows import (
    CODES_FILE,
    COLUMN_FILE,
    KEYS_FILE,
    SavedRows,
)
from vectorbucket_server.engine.embedded.schema import Checkpoint, CheckpointFile, IndexState
from vectorbucket_server.model import Index

GRAPH_FILE = "graph.hnsw"
SLOTS_FILE = "slots.npy"
METADATA_FILE = "metadata.bin"

_OWN_FILES = (GRAPH_FILE, SLOTS_FILE, METADATA_FILE)
_SHARED_FILES = (COLUMN_FILE, CODES_FILE, KEYS_FILE)

_PREFIX = "checkpoint-"
_READ_BYTES = 1 << 22
_CAPACITY_GROWTH = 5 / 4
"""Room for a quarter more, so that the first puts after a start need not move the graph."""


class BadCheckpoint(Exception):
    """A checkpoint is not what the store says it is; the message says what and where."""


def free_name(generation: Path) -> str:
    """Return a name for the next checkpoint in a generation's directory."""
    taken = [int(path.name.removeprefix(_PREFIX)) for path in generation.glob(f"{_PREFIX}*")]
    return f"{_PREFIX}{max(taken, default=0) + 1}"


# --- Writing ------------------------------------------------------------------------------------


def write(generation: Generation, index: Index, state: IndexState, m: int, name: str) -> Checkpoint:
    """Write a checkpoint of a generation that nobody changes meanwhile, and sync it.

    Args:
        generation: What is written; it has a graph.
        index: Whose generation it is.
        state: Of the index at this moment.
        m: Links of a vector in the graph.
        name: Of the directory to make in the generation's.

    Raises:
        OSError: The disk is full or failing; the files are of no use and may be removed.
    """
    view, base = generation.view, generation.directory
    directory = base / name
    directory.mkdir()
    generation.save_graph(directory / GRAPH_FILE)
    _write_slots(generation, directory / SLOTS_FILE)
    (directory / METADATA_FILE).write_bytes(metadata_file.encode(generation.metadata_index))
    files = {f"{name}/{file}": _measure(directory / file) for file in _OWN_FILES}
    text_end = int(view.keys.starts[view.count])
    files[COLUMN_FILE] = _part(view.rows[: view.count].reshape(-1).data)
    files[CODES_FILE] = _part(view.codes[: view.count].reshape(-1).data)
    files[KEYS_FILE] = _part(memoryview(view.keys.text)[:text_end])
    for path in (*(base / file for file in files), directory, base, base.parent):
        _sync(path)
    return Checkpoint(
        generation=int(base.name),
        name=name,
        seq=state.seq,
        next_label=state.next_label,
        count=view.count,
        graphed=generation.graphed,
        dimension=index.dimension,
        metric=index.metric,
        m=m,
        files=files,
    )


def _write_slots(generation: Generation, path: Path) -> None:
    """Write what is known of each slot beside its row."""
    view = generation.view
    count = view.count
    arrays = (
        view.labels[:count],
        view.died[:count] <= view.seq,
        view.code_scales[:count],
        view.squared_norms[:count],
        view.keys.starts[: count + 1],
        _slots_of(generation.absent),
        _slots_of(generation.marked),
    )
    with path.open("wb") as file:
        for array in arrays:
            np.save(file, array, allow_pickle=False)


def _slots_of(bitmap: BitMap) -> npt.NDArray[np.uint32]:
    return np.frombuffer(bitmap.to_array(), dtype=np.uint32)


def _part(part: memoryview) -> CheckpointFile:
    """Return size and checksum of the part of a growing file that a checkpoint holds."""
    return CheckpointFile(part.nbytes, zlib.crc32(part))


def _measure(path: Path) -> CheckpointFile:
    """Return size and checksum of a file."""
    size, crc = 0, 0
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            size += len(part)
            crc = zlib.crc32(part, crc)
    return CheckpointFile(size, crc)


def _sync(path: Path) -> None:
    """Return when a file or directory is on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- Reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A checkpoint in memory."""

    rows: SavedRows
    graph: SavedGraph


def load(checkpoint: Checkpoint, directory: Path, index: Index, m: int) -> Loaded:
    """Return what a checkpoint holds.

    Args:
        checkpoint: What the store says of it.
        directory: The generation's.
        index: Whose checkpoint it is.
        m: Links of a vector in the index's graph.

    Raises:
        BadCheckpoint: It does not fit the index, or a file is missing, short or changed.
    """
    wanted = (index.dimension, index.metric, m)
    if (checkpoint.dimension, checkpoint.metric, checkpoint.m) != wanted:
        raise BadCheckpoint(f"{directory} is of another shape than index {index.name!r}")
    if checkpoint.files.keys() != {
        *_SHARED_FILES,
        *(f"{checkpoint.name}/{file}" for file in _OWN_FILES),
    }:
        raise BadCheckpoint(f"{directory / checkpoint.name} is said to have other files")
    for name, expected in checkpoint.files.items():
        _verify(directory / name, expected)
    own = directory / checkpoint.name
    try:
        arrays = _read_slots(own / SLOTS_FILE)
        lists = metadata_file.decode((own / METADATA_FILE).read_bytes(), index.non_filterable_keys)
        labels, dead, scales, norms, starts, absent, marked = arrays
        graph = Graph.load(
            own / GRAPH_FILE,
            space=METRICS[index.metric].space,
            dimension=index.dimension,
            m=m,
            capacity=int(checkpoint.count * _CAPACITY_GROWTH) + 1,
            marked=len(marked),
        )
    except (OSError, ValueError, EOFError, RuntimeError) as error:
        raise BadCheckpoint(f"{own} cannot be read: {error}") from error
    if len(labels) != checkpoint.count or graph.size + len(absent) != checkpoint.graphed:
        raise BadCheckpoint(f"{own} holds {len(labels)} slots, {graph.size} of them in the graph")
    return Loaded(
        SavedRows(labels, dead, scales, norms, starts, lists),
        SavedGraph(graph, checkpoint.graphed, BitMap(absent), BitMap(marked)),
    )


def _verify(path: Path, expected: CheckpointFile) -> None:
    """Return if the first bytes of a file are those that were written.

    Raises:
        BadCheckpoint: They are not.
    """
    left, crc = expected.size_bytes, 0
    try:
        with path.open("rb") as file:
            while left and (part := file.read(min(_READ_BYTES, left))):
                left -= len(part)
                crc = zlib.crc32(part, crc)
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}") from error
    if left:
        raise BadCheckpoint(f"{path} is {left} bytes short of {expected.size_bytes}")
    if crc != expected.crc32:
        raise BadCheckpoint(f"{path} has checksum {crc:08x}, not {expected.crc32:08x}")


def _read_slots(path: Path) -> list[npt.NDArray[Any]]:
    with path.open("rb") as file:
        return [np.load(file, allow_pickle=False) for _ in range(7)]
