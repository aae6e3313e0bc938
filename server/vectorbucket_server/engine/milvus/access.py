"""The way to one index's rows: made ready when it is not, and told apart from one that has gone.

A call that finds the collection unloaded, or without its partition, makes the index ready and is
made again, once; a call that finds another collection under the name raises NoSuchVectorIndex: the
partition is named by the index's id.

Rules of this file: it knows calls, not what they are for; whether an index is still there, the
catalogue knows.

Consistency: reads are Bounded. They see at least what Milvus had five seconds ago, so that a node
that has only just come up and still catches up does not answer from the past; and what a Strong
read has seen since, which every write waits for (visibility.py). With more than one replica reads
are Strong, because such a read has asked only one of them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from vectorbucket.errors import InternalError, NoSuchVectorIndex
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import KEY, index_collection, partition_of
from vectorbucket_server.engine.milvus.failures import Missing, Refused, Unloaded, still_loading
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.pushdown import keys_expression
from vectorbucket_server.engine.milvus.wire import Found, Row
from vectorbucket_server.model import Float32Array, Index

T = TypeVar("T")

_LOOK_AT_DEADLINE_S = 0.1


class Access:
    """Calls of Milvus about one index. Used by many threads at once."""

    def __init__(
        self,
        index: Index,
        connection: Connection,
        catalogue: Catalogue,
        options: MilvusOptions,
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what is needed; nothing is asked of Milvus yet.

        Args:
            index: The index.
            connection: To the database.
            catalogue: Of the database.
            options: Of the engine.
            on_gone: Called whenever it is found that the index does not exist any more.
        """
        self.index = index
        self._on_gone = on_gone
        self._connection = connection
        self._catalogue = catalogue
        self._name = index_collection(index.bucket_name, index.name)
        self._partition = partition_of(index.index_id)
        self._consistency = "Strong" if options.replicas > 1 else "Bounded"
        self._timeout_s, self._load_timeout_s = options.timeout_s, options.load_timeout_s
        self._preparing = threading.Lock()
        self._made_ready_s = -math.inf
        """When somebody last made the index ready."""

    # --- Readiness --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Let Milvus begin to load the index, without waiting for it.

        Raises:
            NoSuchVectorIndex: It does not exist any more.
        """
        self._checked(self._prepare)

    def load(self, deadline: Deadline) -> None:
        """Wait until Milvus has the index in memory, and what was written to it.

        Raises:
            NoSuchVectorIndex: It does not exist any more.
            RequestTimeout: The deadline passed.
        """
        self._checked(lambda: self._make_ready(deadline, self._load_timeout_s))

    def check_there(self) -> None:
        """Return if the index is still there.

        Raises:
            NoSuchVectorIndex: It is not.
        """
        if not self._catalogue.is_there(self.index):
            self._on_gone()
            raise NoSuchVectorIndex.of(self.index.bucket_name, self.index.name)

    def _prepare(self) -> None:
        self._catalogue.prepare(self.index)
        self._connection.begin_load(self._name)

    def _make_ready(
        self, deadline: Deadline, patience_s: float, unready_s: float = math.inf
    ) -> None:
        """Return once the index is ready, or raise that it is not, while Milvus goes on with it.

        Args:
            deadline: How long the caller waits.
            patience_s: How long he would, without one.
            unready_s: When it was not. If others have made it ready since, there is nothing to do:
                so of many who find out at the same time, one does it for all.
        """
        given_up_s = time.monotonic() + patience_s
        while not self._preparing.acquire(timeout=_LOOK_AT_DEADLINE_S):
            deadline.check()
            if time.monotonic() > given_up_s:
                raise still_loading(patience_s)
        try:
            if self._made_ready_s > unready_s:
                return
            self._prepare()
            self._connection.wait_until_loaded(self._name, given_up_s - time.monotonic(), deadline)
            if self._connection.replica_count(self._name) > 1:
                self._consistency = "Strong"
            self._strong_read()
            self._made_ready_s = time.monotonic()
        finally:
            self._preparing.release()

    def _ready(self, call: Callable[[], T], deadline: Deadline) -> T:
        """Make a call; if the index is not ready, make it so, and call again."""

        def tried_again() -> T:
            try:
                return call()
            except (Missing, Unloaded):
                unready_s = time.monotonic()
                self.check_there()
                self._make_ready(deadline, self._timeout_s, unready_s)
            return call()

        return self._checked(tried_again)

    def _checked(self, call: Callable[[], T]) -> T:
        """Make a call; tell an index that is gone from a call that is wrong."""
        try:
            return call()
        except NoSuchVectorIndex:
            self._on_gone()
            raise
        except (Missing, Unloaded, Refused) as error:
            self.check_there()
            raise InternalError("Milvus refused a call about an index that it has") from error

    # --- Calls; all raise NoSuchVectorIndex when the index does not exist any more ----------------

    def upsert(self, rows: list[Row], deadline: Deadline) -> None:
        """Store rows; see Connection.upsert."""
        self._ready(
            lambda: self._connection.upsert(self._name, self._partition, rows, deadline), deadline
        )

    def delete(self, expression: str, deadline: Deadline) -> None:
        """Delete rows; see Connection.delete."""
        self._ready(
            lambda: self._connection.delete(self._name, self._partition, expression, deadline),
            deadline,
        )

    def probe(self) -> None:
        """Return once readers see all that was written before."""
        self._ready(self._strong_read, NO_DEADLINE)

    def query(
        self,
        expression: str,
        fields: Sequence[str],
        *,
        limit: int | None = None,
        deadline: Deadline = NO_DEADLINE,
    ) -> list[Row]:
        """Return rows, ascending by key; see Connection.query."""
        return self._ready(
            lambda: self._query(expression, fields, limit=limit, deadline=deadline), deadline
        )

    def query_if_loaded(self, expression: str, fields: Sequence[str]) -> list[Row] | None:
        """Return rows, as ``query`` does; None if the index is not in memory, or gone."""
        try:
            return self._query(expression, fields)
        except (Missing, Unloaded, Refused):
            return None

    def search(
        self,
        vectors: Float32Array,
        *,
        limit: int,
        expression: str,
        fields: Sequence[str],
        ef: int,
        deadline: Deadline,
    ) -> Found:
        """Return hits; see Connection.search."""
        return self._ready(
            lambda: self._connection.search(
                self._name,
                self._partition,
                vectors,
                limit=limit,
                expression=expression,
                fields=fields,
                ef=ef,
                consistency=self._consistency,
                deadline=deadline,
            ),
            deadline,
        )

    def _query(
        self,
        expression: str,
        fields: Sequence[str],
        *,
        limit: int | None = None,
        deadline: Deadline = NO_DEADLINE,
    ) -> list[Row]:
        return self._connection.query(
            self._name,
            self._partition,
            expression,
            fields,
            consistency=self._consistency,
            limit=limit,
            deadline=deadline,
        )

    def _strong_read(self) -> None:
        """Read nothing, but not before Milvus has caught up with all writes of before."""
        self._connection.query(
            self._name, self._partition, keys_expression([""]), [KEY], consistency="Strong", limit=1
        )
