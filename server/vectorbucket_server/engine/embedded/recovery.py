"""Opening an index: its newest good checkpoint, and from the store what came after it.

There is no log to replay: the store is the truth. What of it a checkpoint does not hold is put
behind the checkpoint's rows; what the graph does not hold yet is pending, found by exact scans
until the indexer has caught up. Without a checkpoint that can be believed, everything comes from
the store.

Rules of this file:

- It only reads the store.
- What does not fit together in the store is Corruption that names family and key, never guessed
  around. What does not fit in a checkpoint costs time and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.base import Deadline, Observer
from vectorbucket_server.engine.embedded import checkpoint as checkpoints
from vectorbucket_server.engine.embedded.checkpoint import BadCheckpoint
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    Checkpoint,
    Family,
    IndexState,
    LabelArray,
    checkpoints_key,
    corrupt,
    decode_change,
    decode_checkpoints,
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


class BeingLoaded(ServiceUnavailable):
    """Somebody else is loading the index, and that takes longer than a moment."""


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


def load_checkpoints(store: Store, index: Index) -> list[Checkpoint]:
    """Return the checkpoints that the store names, the newest first."""
    key = checkpoints_key(index.index_id)
    value = store.get(Family.CATALOG, key)
    return [] if value is None else decode_checkpoints(key, value)


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """What recovery made."""

    generation: Generation
    """Everything that the store holds of the index."""
    checkpoints: list[Checkpoint]
    """Those that may still be good, the newest first; the first one is what it began with."""


class Recovery:
    """One index on its way into memory."""

    def __init__(
        self, store: Store, index: Index, options: EmbeddedOptions, observer: Observer
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            store: The truth.
            index: What is opened.
            options: Of the engine.
            observer: Is told of checkpoints that cannot be believed.
        """
        self._store = store
        self._index = index
        self._options = options
        self._observer = observer

    def run(
        self, state: IndexState, directory: Path, *, stop: Deadline, resume: bool = True
    ) -> Recovered:
        """Return a generation of everything that the store holds of the index.

        Args:
            state: Of the index.
            directory: Where its generations are. Those that nothing needs are removed.
            stop: Ends it.
            resume: Whether to look for a checkpoint. Its files are gone on with, so nobody may
                still read a generation that was made from them.

        Raises:
            Corruption: Records are missing, broken, or do not fit each other.
            OSError: The generation's files cannot be written.
            RequestTimeout: ``stop`` says so.
        """
        live = self._live_labels(state)
        named = load_checkpoints(self._store, self._index)
        # Before they are swept: a rebuild that does not know yet that it is outdated will throw
        # away the directory that it has made.
        taken = [int(path.name) for path in directory.glob("*") if path.name.isdecimal()]
        sweep(directory, named, below=None)
        generation = None
        while named and resume and generation is None:
            generation = self._resumed(named[0], state, live, directory)
            if generation is None:
                named = named[1:]
        next_label = named[0].next_label if generation is not None else 0
        if generation is None:
            fresh = directory / str(max(taken, default=0) + 1)
            generation = Generation(fresh, self._index, self._options)
        try:
            self._add(generation, state, live[np.searchsorted(live, next_label) :], stop)
        except BaseException:
            generation.close()
            raise
        return Recovered(generation, named)

    def _live_labels(self, state: IndexState) -> LabelArray:
        """Return the labels of the vectors that exist, ascending."""
        index = self._index
        first, last = index_range(index.index_id)
        live = np.fromiter(
            (
                decode_number(Family.VECTORS, key, value)
                for key, value in self._store.scan(Family.VECTORS, first, last)
            ),
            dtype=np.uint64,
        )
        live.sort()
        if len(live) != state.vector_count:
            what = f"index {index.name!r} has {len(live)} keys and counts {state.vector_count}"
            raise corrupt(Family.VECTORS, first, f"{what} vectors")
        if len(live) and int(live[-1]) >= state.next_label:
            raise corrupt(
                Family.CATALOG,
                state_key(index.index_id),
                f"label {int(live[-1])} exists and the next one would be {state.next_label}",
            )
        return live

    def _resumed(
        self, checkpoint: Checkpoint, state: IndexState, live: LabelArray, directory: Path
    ) -> Generation | None:
        """Return the generation that a checkpoint holds, or None if it is not to be believed."""
        base = directory / str(checkpoint.generation)
        m = graph_m(self._index, self._options)
        try:
            if checkpoint.seq > state.seq or checkpoint.next_label > state.next_label:
                raise BadCheckpoint(f"{base / checkpoint.name} is newer than the store")  # noqa: TRY301
            loaded = checkpoints.load(checkpoint, base, self._index, m)
            older = live[: np.searchsorted(live, checkpoint.next_label)]
            dead = _dead(loaded.rows.labels, older)
            died = int(np.count_nonzero(dead)) - int(np.count_nonzero(loaded.rows.dead))
            generation = Generation(
                base,
                self._index,
                self._options,
                rows=replace(loaded.rows, dead=dead),
                graph=loaded.graph,
            )
        except (BadCheckpoint, OSError, ValueError) as error:
            what = f"loading of a checkpoint of {self._index.name!r}"
            self._observer.background_failed(what, error)
            return None
        generation.unsaved += died
        return generation

    def _add(
        self, generation: Generation, state: IndexState, labels: LabelArray, stop: Deadline
    ) -> None:
        """Add vectors from the store behind what the generation holds."""
        index, none = self._index, np.empty(0, dtype=np.uint64)
        if not len(labels):
            generation.publish(state.seq, none, none)
            return
        first, end = label_key(index.index_id, int(labels[0])), index_range(index.index_id)[1]
        rows = self._store.scan(Family.ROWS, first, end)
        data = self._store.scan(Family.DATA, first, end)
        for start in range(0, len(labels), _ROWS_PER_CHUNK):
            stop.check()
            chunk = labels[start : start + _ROWS_PER_CHUNK]
            keys = [label_key(index.index_id, label) for label in chunk.tolist()]
            names, metadata = decode_rows(_pick(Family.ROWS, rows, keys))
            matrix = np.empty((len(keys), index.dimension), dtype=np.float32)
            for row, (key, value) in zip(matrix, _pick(Family.DATA, data, keys), strict=True):
                row[:] = decode_data(key, value, index.dimension)
            generation.stage(generation.metric.preprocess(matrix), names)
            generation.commit(state.seq, chunk, metadata, none)


def graph_m(index: Index, options: EmbeddedOptions) -> int:
    """Return the links of a vector in the index's graph."""
    return index.graph.m or options.m


def sweep(directory: Path, named: Sequence[Checkpoint], *, below: int | None) -> None:
    """Remove the generations and checkpoints of an index that the store does not name.

    Args:
        directory: Where the generations of the index are.
        named: The checkpoints to keep, and with them their generations.
        below: Generations from this number on are left alone, whatever they are; None removes
            those, too.

    Raises:
        OSError: Something could not be removed.
    """
    kept = {(str(one.generation), one.name) for one in named}
    numbers = {number for number, _ in kept}
    for generation in directory.glob("*"):
        if not (generation.name.isdecimal() and generation.is_dir()):
            continue  # not ours
        if generation.name in numbers:
            for path in generation.glob("checkpoint-*"):
                if (generation.name, path.name) not in kept:
                    shutil.rmtree(path)
        elif below is None or int(generation.name) < below:
            shutil.rmtree(generation)


def decode_rows(rows: Iterator[tuple[bytes, bytes]]) -> tuple[list[bytes], list[Metadata]]:
    """Return the vectors' keys (UTF-8) and metadata of records of ``rows``."""
    names, metadata = [], []
    for key, value in rows:
        names.append(decode_row_key(key, value).encode())
        metadata.append(decode_row_metadata(key, value))
    return names, metadata


def _dead(labels: LabelArray, live: LabelArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which of a checkpoint's labels are dead.

    Raises:
        BadCheckpoint: A live label is missing in it.
    """
    dead = np.ones(len(labels), dtype=np.bool_)
    places = np.searchsorted(labels, live)
    if len(live) and (places[-1] >= len(labels) or (labels[places] != live).any()):
        raise BadCheckpoint("a vector is missing in the checkpoint")
    dead[places] = False
    return dead


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
