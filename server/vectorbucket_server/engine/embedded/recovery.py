"""Opening an index: a generation from what the store holds.

There is no log to replay: the store is the truth, a generation is made from it, and what the graph
does not hold yet is pending, found by exact scans until the indexer has caught up.

Rules of this file:

- It only reads the store.
- What does not fit together is Corruption that names family and key, never guessed around.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    LabelArray,
    corrupt,
    decode_change,
    decode_data,
    decode_number,
    decode_row_key,
    decode_row_metadata,
    decode_state,
    index_range,
    label_key,
    label_of,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Index, Metadata

_ROWS_PER_CHUNK = 1_000


def load_state(store: Store, index: Index) -> IndexState:
    """Return the counters of an index.

    Raises:
        Corruption: The record is missing or broken.
    """
    key = state_key(index.index_id)
    value = store.get(Family.CATALOG, key)
    if value is None:
        raise corrupt(Family.CATALOG, key, f"the state of index {index.name!r} is missing")
    return decode_state(key, value)


def load_dead(store: Store, index: Index) -> Iterator[tuple[int, LabelArray]]:
    """Yield (seq, labels) of what died and was not removed yet, in order of seq."""
    for key, value in store.scan(Family.CHANGES, *index_range(index.index_id)):
        yield label_of(Family.CHANGES, key), decode_change(key, value)


def build_generation(
    store: Store,
    index: Index,
    state: IndexState,
    directory: Path,
    options: EmbeddedOptions,
    *,
    stop: Deadline = NO_DEADLINE,
) -> Generation:
    """Return a generation of everything that the store holds of an index; its graph is still empty.

    Raises:
        Corruption: Records are missing, broken, or do not fit each other.
        OSError: The column cannot be written.
        RequestTimeout: ``stop`` says so.
    """
    live = _live_labels(store, index)
    if len(live) != state.vector_count:
        raise corrupt(
            Family.VECTORS,
            index_range(index.index_id)[0],
            f"index {index.name!r} has {len(live)} keys and counts {state.vector_count} vectors",
        )
    if len(live) and int(live[-1]) >= state.next_label:
        raise corrupt(
            Family.CATALOG,
            state_key(index.index_id),
            f"label {int(live[-1])} exists and the next one would be {state.next_label}",
        )
    generation = Generation(directory, index, options)
    none = np.empty(0, dtype=np.uint64)
    try:
        rows = store.scan(Family.ROWS, *index_range(index.index_id))
        data = store.scan(Family.DATA, *index_range(index.index_id))
        for first in range(0, len(live), _ROWS_PER_CHUNK):
            stop.check()
            labels = live[first : first + _ROWS_PER_CHUNK]
            keys = [label_key(index.index_id, label) for label in labels.tolist()]
            names, metadata = _rows(rows, keys)
            matrix = np.empty((len(keys), index.dimension), dtype=np.float32)
            for row, (key, value) in zip(matrix, _pick(Family.DATA, data, keys), strict=True):
                row[:] = decode_data(key, value, index.dimension)
            generation.stage(generation.metric.preprocess(matrix), names)
            generation.commit(state.seq, labels, metadata, none)
    except BaseException:
        generation.discard()
        raise
    if not len(live):
        generation.commit(state.seq, none, [], none)
    return generation


def _live_labels(store: Store, index: Index) -> LabelArray:
    """Return the labels of the vectors that exist, ascending."""
    labels = np.fromiter(
        (
            decode_number(Family.VECTORS, key, value)
            for key, value in store.scan(Family.VECTORS, *index_range(index.index_id))
        ),
        dtype=np.uint64,
    )
    labels.sort()
    return labels


def _rows(
    rows: Iterator[tuple[bytes, bytes]], keys: list[bytes]
) -> tuple[list[bytes], list[Metadata]]:
    """Return the vectors' keys and metadata of the next rows."""
    names, metadata = [], []
    for key, value in _pick(Family.ROWS, rows, keys):
        names.append(decode_row_key(key, value).encode())
        metadata.append(decode_row_metadata(key, value))
    return names, metadata


def _pick(
    family: Family, rows: Iterator[tuple[bytes, bytes]], keys: list[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records under ``keys``, both ascending; records of dead labels are passed over."""
    for wanted in keys:
        for key, value in rows:
            if key == wanted:
                yield key, value
                break
            if key > wanted:
                raise corrupt(family, wanted, "a record is missing")
        else:
            raise corrupt(family, wanted, "a record is missing")
