"""One index on Milvus: its writes, and the way to its reads.

Rules of this file: a write returns when readers see it, unless whoever writes says that he will
wait for that himself. Milvus' rate limits slow a writer down for as long as he has patience.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from vectorbucket.errors import QpsLimitExceeded
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline, WriteGuard
from vectorbucket_server.engine.milvus.access import Access
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.pushdown import keys_expression
from vectorbucket_server.engine.milvus.reads import KEYS_A_CALL, Reads, in_parts
from vectorbucket_server.engine.milvus.rows import in_messages, rows_of
from vectorbucket_server.engine.milvus.visibility import Visibility
from vectorbucket_server.model import Index, VectorBatch

_PAUSE_S = 0.1


class OpenIndex:
    """An index whose rows are in Milvus. Used by many threads at once."""

    def __init__(
        self,
        index: Index,
        connection: Connection,
        catalogue: Catalogue,
        options: MilvusOptions,
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what is needed; nothing is asked of Milvus yet. See Access."""
        self.index = index
        self.access = Access(index, connection, catalogue, options, on_gone)
        self.reads = Reads(self.access, options)
        self._timeout_s = options.timeout_s
        self._order = threading.Lock()
        """Held by whoever writes under a guard."""
        self._visibility = Visibility(self.access.probe)

    def put(
        self,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None,
        patience_s: float | None,
        deadline: Deadline,
        visible: bool,
    ) -> bool:
        """Store a batch; see Engine.put_vectors."""
        deadline.check()
        rows = rows_of(self.index, batch)

        def store() -> None:
            # What is begun is finished, whether the caller waits for it or not.
            for some in in_messages(rows):
                self.access.upsert(some, NO_DEADLINE)

        admitted = True
        if guard is None:
            _patiently(store, patience_s, deadline)
        else:
            with self._order:
                admitted = guard.admit()
                if admitted:
                    _patiently(store, patience_s, deadline)
                    guard.committed()
        if visible:
            self.wait_until_visible(NO_DEADLINE)
        return admitted

    def wait_until_visible(self, deadline: Deadline) -> None:
        """Return once all that was written before is seen by whoever reads."""
        self._visibility.wait(deadline)

    def delete(self, keys: Sequence[str], deadline: Deadline) -> None:
        """Delete vectors; see Engine.delete_vectors."""
        deadline.check()

        def remove() -> None:
            for some in in_parts(list(dict.fromkeys(keys)), KEYS_A_CALL):
                self.access.delete(keys_expression(some), NO_DEADLINE)

        _patiently(remove, self._timeout_s, deadline)
        self.wait_until_visible(NO_DEADLINE)


def _patiently(write: Callable[[], None], patience_s: float | None, deadline: Deadline) -> None:
    """Make a write, again and again while Milvus' rate limits refuse it and there is patience.

    Args:
        write: The write; may be made twice.
        patience_s: For how long; None: as long as the deadline allows.
        deadline: Over when the caller has gone.

    Raises:
        QpsLimitExceeded: There was no more patience.
        RequestTimeout: The deadline passed.
    """
    given_up = None if patience_s is None else time.monotonic() + patience_s
    while True:
        try:
            write()
        except QpsLimitExceeded:
            deadline.check()
            if given_up is not None and time.monotonic() + _PAUSE_S > given_up:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
