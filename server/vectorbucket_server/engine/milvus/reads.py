"""Gets, listings and queries of one index on Milvus.

Rules of this file: it reads through Access and keeps nothing. What Milvus answers is bounded in
rows and in bytes, so much is asked for in several calls. Of those in the order of the keys only an
empty answer is the last: Milvus counts a row that is being replaced twice against the limit, old
and new, and answers it once, so that a short answer says nothing about what follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.milvus.access import Access
from vectorbucket_server.engine.milvus.definitions import KEY, KEY_BYTES_MAX, METADATA
from vectorbucket_server.engine.milvus.exact import nearest
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.pushdown import (
    after_expression,
    boolean_expression,
    keys_expression,
)
from vectorbucket_server.engine.milvus.rows import (
    JSON_BYTES_MAX,
    distance_of,
    fields_of,
    metadata_of,
    searchable,
    vector_of,
)
from vectorbucket_server.model import WHOLE, Float32Array, Hit, Page, Query, Segment, Vector

ROWS_MAX = 16_383
"""Rows of one answer: Milvus' own limit, 16,384, less one."""

KEYS_A_CALL = 1_000
"""Keys in one expression."""

_ANSWER_BYTES = 32 * 1024 * 1024
"""Bytes of one answer, at most about: Milvus sends no more than 64 MiB."""

_HITS_A_CALL = 20_000
"""Hits of one search, all its queries together; with metadata fewer: what fits one answer."""

_TOP_K_MAX = 16_384
"""Hits for one query of a search: Milvus' own limit. For more, all that match are looked at."""

_EF_MAX = 32_768
_COUNT = "count(*)"


class Reads:
    """What can be read of an index. Used by many threads at once."""

    def __init__(self, access: Access, options: MilvusOptions) -> None:
        """Take the way to the rows."""
        self._access = access
        self._index = access.index
        self._ef = access.index.graph.ef_search or options.ef_search

    def count(self, expression: str = "", deadline: Deadline = NO_DEADLINE) -> int:
        """Return how many vectors there are for which an expression holds."""
        (row,) = self._access.query(expression, [_COUNT], deadline=deadline)
        return int(row[_COUNT])

    def count_if_loaded(self) -> int | None:
        """Return how many vectors there are; None if Milvus has the index not in memory."""
        rows = self._access.query_if_loaded("", [_COUNT])
        return None if rows is None else int(rows[0][_COUNT])

    def get(self, keys: Sequence[str], *, data: bool, metadata: bool) -> list[Vector]:
        """Return vectors; see Engine.get_vectors."""
        found: dict[str, Vector] = {}
        distinct = list(dict.fromkeys(keys))
        fields = fields_of(data=data, metadata=metadata)
        rows_a_call = self._rows_a_call(data=data, metadata=metadata)
        for some in in_parts(distinct, min(KEYS_A_CALL, rows_a_call)):
            for row in self._access.query(keys_expression(some), fields):
                found[row[KEY]] = vector_of(row, data=data, metadata=metadata)
        return [found[key] for key in distinct if key in found]

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
        """Return a page of a listing; see Engine.list_vectors."""
        items: list[Vector] = []
        size = 0
        fields = fields_of(data=data, metadata=metadata)
        rows_a_call = self._rows_a_call(data=data, metadata=metadata)
        while True:
            # One more than is wanted, to know whether one follows.
            wanted = min(limit + 1 - len(items), rows_a_call)
            rows = self._access.query(after_expression(after, segment), fields, limit=wanted)
            for row in rows:
                if len(items) == limit or (items and size >= bytes_max):
                    return Page(items, items[-1].key)
                items.append(vector_of(row, data=data, metadata=metadata))
                size += _size(row, self._index.dimension if data else 0)
            if not rows:
                return Page(items, None)
            after = items[-1].key

    def search(self, query: Query, deadline: Deadline) -> list[list[Hit]]:
        """Return the nearest vectors; see Engine.query_vectors."""
        expression = "" if query.filter is None else boolean_expression(query.filter)
        ef = query.ef_search or self._ef
        fitting = self._rows_a_call(data=False, metadata=True)
        # More than fit come without metadata, which are fetched when it is known whose.
        is_too_large = query.return_metadata and query.top_k > fitting
        sought = replace(query, return_metadata=False) if is_too_large else query
        hits_a_call = min(_HITS_A_CALL, fitting) if sought.return_metadata else _HITS_A_CALL
        results: list[list[Hit]] = []
        queries = searchable(self._index.metric, query.vectors)
        for vectors in in_parts(queries, max(1, hits_a_call // query.top_k)):
            deadline.check()
            results += self._searched(vectors, sought, expression, ef, deadline)
        short = [number for number, hits in enumerate(results) if len(hits) < query.top_k]
        if short and self.count(expression, deadline) <= min(len(results[n]) for n in short):
            short = []
        if short:
            self._complete(results, short, query, expression, deadline)
        if is_too_large:
            for number in sorted(set(range(len(results))).difference(short)):
                vector, hits = query.vectors[number : number + 1], results[number]
                results[number] = self._fetched(vector, hits, expression, deadline)
        return results

    def _searched(
        self, vectors: Float32Array, query: Query, expression: str, ef: int, deadline: Deadline
    ) -> list[list[Hit]]:
        """Return what Milvus finds nearest, in the contract's order."""
        found = self._access.search(
            vectors,
            limit=min(_TOP_K_MAX, query.top_k),
            expression=expression,
            fields=[METADATA] if query.return_metadata else [],
            ef=min(_EF_MAX, max(ef, query.top_k)),
            deadline=deadline,
        )
        metric = self._index.metric
        results = []
        for hits in found:
            result = [
                Hit(
                    hit["id"],
                    distance_of(metric, hit["distance"]),
                    metadata_of(hit["entity"]) if query.return_metadata else None,
                )
                for hit in hits
            ]
            result.sort(key=lambda hit: (hit.distance, hit.key.encode()))
            results.append(result)
        return results

    def _fetched(
        self, vector: Float32Array, hits: Sequence[Hit], expression: str, deadline: Deadline
    ) -> list[Hit]:
        """Return the hits of one query with their metadata, which fit no single answer.

        They are measured anew: of what was put since, distance and metadata are both of now.
        """

        def parts() -> Iterator[Sequence[Vector]]:
            keys = [hit.key for hit in hits]
            rows_a_call = self._rows_a_call(data=True, metadata=True)
            for some in in_parts(keys, min(KEYS_A_CALL, rows_a_call)):
                wanted = _all_of(keys_expression(some), expression)
                fields = fields_of(data=True, metadata=True)
                rows = self._access.query(wanted, fields, deadline=deadline)
                yield [vector_of(row, data=True, metadata=True) for row in rows]

        return nearest(self._index.metric, vector, parts(), len(hits), deadline)[0]

    def _complete(
        self,
        results: list[list[Hit]],
        short: Sequence[int],
        query: Query,
        expression: str,
        deadline: Deadline,
    ) -> None:
        """Answer the queries that a graph search left short by looking at all that match.

        Graphs are searched along their links, which may not lead to all of the few that match.
        """
        matching = self._all(expression, metadata=query.return_metadata, deadline=deadline)
        exact = nearest(
            self._index.metric, query.vectors[list(short)], matching, query.top_k, deadline
        )
        for number, hits in zip(short, exact, strict=True):
            results[number] = hits

    def _all(
        self, expression: str, *, metadata: bool, deadline: Deadline
    ) -> Iterator[Sequence[Vector]]:
        """Yield all vectors for which an expression holds, some at a time."""
        after: str | None = None
        rows_a_call = self._rows_a_call(data=True, metadata=metadata)
        while True:
            follows = "" if after is None else after_expression(after, WHOLE)
            rows = self._access.query(
                _all_of(expression, follows) or f'{KEY} >= ""',
                fields_of(data=True, metadata=metadata),
                limit=rows_a_call,
                deadline=deadline,
            )
            if not rows:
                return
            yield [vector_of(row, data=True, metadata=metadata) for row in rows]
            after = rows[-1][KEY]

    def _rows_a_call(self, *, data: bool, metadata: bool) -> int:
        """Return how many rows fit one answer of Milvus, whatever they hold."""
        row_bytes = KEY_BYTES_MAX + 64 + (4 * self._index.dimension if data else 0)
        row_bytes += JSON_BYTES_MAX if metadata else 0
        return max(1, min(ROWS_MAX, _ANSWER_BYTES // row_bytes))


def _all_of(*expressions: str) -> str:
    """Return what holds where all of these do; an empty one always holds."""
    return " and ".join(f"({expression})" for expression in expressions if expression)


def _size(row: dict[str, Any], dimension: int) -> int:
    """Return about how many bytes a row takes in an answer."""
    return len(row[KEY].encode()) + 4 * dimension + len(str(row.get(METADATA, "")))


Parted = TypeVar("Parted", bound=Any)


def in_parts(whole: Parted, size: int) -> Iterator[Parted]:
    """Yield a sequence or a matrix in parts of a size."""
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
