"""Fetching what labels stand for: vectors by key, pages, hits.

Rules of this file:

- The caller has entered as a reader (dead_rows.py), so rows under labels that it finds cannot
  vanish.
- A row that is missing nevertheless is Corruption.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, repeat

import numpy as np

from vectorbucket_server.engine.embedded.rows import SlotArray, View
from vectorbucket_server.engine.embedded.schema import (
    Family,
    corrupt,
    decode_data,
    decode_number,
    decode_row_key,
    decode_row_metadata,
    index_range,
    label_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.search import Ranked
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Hit, Index, Metadata, Page, Query, Segment, Vector

_ROWS_PER_FETCH = 128


class Reader:
    """Reads the records of one index."""

    def __init__(self, index: Index, store: Store) -> None:
        self._index = index
        self._store = store
        self._prefix = vector_prefix(index.index_id)

    def get(self, keys: Sequence[str], *, data: bool, metadata: bool) -> list[Vector]:
        """Return the vectors that exist, in the order of first mention."""
        unique = list(dict.fromkeys(keys))
        vector_keys = [self._prefix + key.encode() for key in unique]
        values = self._store.get_many(Family.VECTORS, vector_keys)
        found = [
            (key, decode_number(Family.VECTORS, vector_key, value))
            for key, vector_key, value in zip(unique, vector_keys, values, strict=True)
            if value is not None
        ]
        return [vector for vector, _ in self._fetch(found, data=data, metadata=metadata)]

    def page(
        self,
        *,
        after: str,
        limit: int,
        bytes_max: int,
        segment: Segment,
        data: bool,
        metadata: bool,
    ) -> Page[Vector]:
        """Return a page of a segment, ascending by key."""
        located = self._located(after, segment)
        items: list[Vector] = []
        size = 0
        while chunk := list(islice(located, min(_ROWS_PER_FETCH, limit - len(items)))):
            for vector, size_bytes in self._fetch(chunk, data=data, metadata=metadata):
                if items and size >= bytes_max:
                    return Page(items, items[-1].key)
                items.append(vector)
                size += size_bytes
            if len(items) == limit:
                more = next(located, None) is not None
                return Page(items, items[-1].key if more else None)
        return Page(items, None)

    def _located(self, after: str, segment: Segment) -> Iterator[tuple[str, int]]:
        """Yield (key, label) of a segment from the first key after ``after`` on."""
        start = self._prefix + (after.encode() + b"\0" if after else b"")
        stop = index_range(self._index.index_id)[1]
        for vector_key, value in self._store.scan(Family.VECTORS, start, stop):
            key = vector_key[len(self._prefix) :]
            if segment.holds(key):
                yield key.decode(), decode_number(Family.VECTORS, vector_key, value)

    def _fetch(
        self, located: Sequence[tuple[str, int]], *, data: bool, metadata: bool
    ) -> Iterator[tuple[Vector, int]]:
        """Yield the vectors at these labels, each with its size in bytes."""
        row_keys = [label_key(self._index.index_id, label) for _, label in located]
        missing: list[bytes | None] = [None] * len(located)
        rows = self._store.get_many(Family.ROWS, row_keys) if metadata else missing
        numbers = self._store.get_many(Family.DATA, row_keys) if data else missing
        for (key, _), row_key, row, number in zip(located, row_keys, rows, numbers, strict=True):
            if metadata and row is None:
                raise corrupt(Family.ROWS, row_key, "missing")
            if data and number is None:
                raise corrupt(Family.DATA, row_key, "missing")
            if row is not None and decode_row_key(row_key, row) != key:
                raise corrupt(Family.ROWS, row_key, f"the row is not that of key {key!r}")
            vector = Vector(
                key,
                decode_data(row_key, number, self._index.dimension) if number is not None else None,
                decode_row_metadata(row_key, row) if row is not None else None,
            )
            yield vector, len(row or b"") + len(number or b"") + len(key)

    def hits(self, view: View, ranked: Sequence[Ranked], query: Query) -> list[list[Hit]]:
        """Return hits for ranked slots."""
        if len(ranked) == 1:
            slots, distances = ranked[0]
        else:
            slots = np.concatenate([answer.slots for answer in ranked])
            distances = np.concatenate([answer.distances for answer in ranked])
        metadata = self._metadata(view, slots) if query.return_metadata else repeat(None)
        hits = map(Hit, view.keys.at(slots), distances.tolist(), metadata)
        return [list(islice(hits, len(answer.slots))) for answer in ranked]

    def _metadata(self, view: View, slots: SlotArray) -> Iterator[Metadata]:
        """Yield the metadata of slots; a row that several queries found is read once."""
        labels = view.labels[slots].tolist()
        unique = list(dict.fromkeys(labels))
        row_keys = [label_key(self._index.index_id, label) for label in unique]
        found: dict[int, Metadata] = {}
        rows = self._store.get_many(Family.ROWS, row_keys)
        for label, row_key, row in zip(unique, row_keys, rows, strict=True):
            if row is None:
                raise corrupt(Family.ROWS, row_key, "missing")
            decode_row_key(row_key, row)
            found[label] = decode_row_metadata(row_key, row)
        return map(found.__getitem__, labels)
