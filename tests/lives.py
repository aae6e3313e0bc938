"""A generation and its one writer, without store or threads: what the rooms around it are fed.

Rules of this file: it plays the writer as open_index.py does, and remembers what was put, so that
a test can look at every vector itself; it asserts nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oracles import draw_noise
from rooms import make_index, make_options
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.labels import LabelArray
from vectorbucket_server.engine.embedded.rows import View
from vectorbucket_server.model import DistanceMetric, Float32Array

NO_LABELS: LabelArray = np.empty(0, dtype=np.uint64)


class Life:
    """A generation whose every vector is known."""

    def __init__(
        self,
        folder: Path,
        *,
        dimension: int = 4,
        graph_rows_min: int = 1,
        metric: DistanceMetric = DistanceMetric.EUCLIDEAN,
    ) -> None:
        options = make_options(folder, graph_rows_min=graph_rows_min, ef_construction=50)
        self.metric = metric
        self.generation = Generation(folder / "generation", make_index(dimension, metric), options)
        self.labels: dict[str, int] = {}
        """Label of the newest version by key; no others are alive."""
        self.rows: dict[str, Float32Array] = {}
        """float32, shape (dimension,), as it was put, by key."""
        self.metadata: dict[str, Mapping[str, Any]] = {}
        self.seq = 0
        self._dimension = dimension
        self._next_label = itertools.count(1)

    def put(
        self,
        keys: Sequence[str],
        rows: Float32Array | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Put vectors, over those that have the keys; noise and their key where nothing is given.

        Args:
            keys: Unique keys.
            rows: float32, shape (len(keys), dimension).
            metadata: One mapping a key.
        """
        if rows is None:
            rows = draw_noise(len(keys), self._dimension, seed=self.seq + 1)
        if metadata is None:
            metadata = [{"key": key} for key in keys]
        dead = sorted(self.labels[key] for key in keys if key in self.labels)
        born = list(itertools.islice(self._next_label, len(keys)))
        self.stage(keys, rows)
        self.labels.update(zip(keys, born, strict=True))
        self.rows.update(zip(keys, rows, strict=True))
        self.metadata.update(zip(keys, metadata, strict=True))
        self.seq += 1
        self.generation.commit(
            self.seq, np.array(born, dtype=np.uint64), metadata, np.array(dead, dtype=np.uint64)
        )

    def stage(self, keys: Sequence[str], rows: Float32Array) -> None:
        """Stage vectors and do not commit them."""
        prepared = self.generation.metric.preprocess(rows)
        self.generation.stage(prepared, [key.encode() for key in keys])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete vectors that exist."""
        dead = sorted(self.labels.pop(key) for key in keys)
        self.seq += 1
        self.generation.commit(self.seq, NO_LABELS, [], np.array(dead, dtype=np.uint64))

    def index_all(self) -> None:
        """Take turns until there is nothing to do."""
        while self.generation.has_work:
            self.generation.turn(1_000, 1)


def names(count: int, start: int = 0) -> list[str]:
    """Return keys in the order of their numbers."""
    return [f"k{number:04}" for number in range(start, start + count)]


def keys_of(view: View, slots: Sequence[int] | None = None) -> list[str]:
    """Return the keys of slots, or of all that are live in a view, sorted."""
    chosen = view.live_range(0, view.count) if slots is None else np.array(slots, dtype=np.intp)
    return sorted(view.keys.at(chosen))
