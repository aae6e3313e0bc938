"""The seam: what an engine is to the rest of the house. This page is the manual; it holds no logic.

An engine keeps buckets, indexes and vectors, and finds nearest vectors. The service above knows
engines only through this file; the suite in tests/engines holds every engine to it; only app.py
chooses one.

Rules of this file:

- Every method says what is returned, what is *not* an error, and what it raises.
- Names and requests were checked before they get here (service/checks.py, naming.py); an engine
  checks only what it alone can know: existence, counts, its own state.
- Batches cross the seam, not single vectors; queries cross it as a matrix, so that one and many
  take the same path.
- Data-plane calls take the Index that ``get_index`` returned. If that index has been deleted since
  (even if another was made under its name), they raise NoSuchVectorIndex. Calls that change a
  bucket take its name and, as ``seen``, the Bucket that ``get_bucket`` returned: who may change one
  may not change another account's that has its name since.
- Engines are used by many threads at once.

Source: the shape of leveldb's ``db.h`` and restic's ``backend.go``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from vectorbucket_server.engine.callers import (
    NO_DEADLINE,
    Deadline,
    NoDeadline,
    Observer,
    SilentObserver,
    WriteGuard,
)
from vectorbucket_server.engine.capabilities import Capabilities
from vectorbucket_server.model import (
    WHOLE,
    Bucket,
    BucketLogging,
    EngineStatistics,
    Hit,
    Index,
    IndexStatistics,
    Page,
    Query,
    Segment,
    Vector,
    VectorBatch,
)

__all__ = [
    "NO_DEADLINE", "Capabilities", "Deadline", "Engine", "NoDeadline", "Observer", "SilentObserver",
    "WriteGuard",
]  # fmt: skip


class Engine(ABC):
    """Keeps buckets, indexes and vectors; finds nearest vectors.

    Promises that every engine keeps (tests/engines/suite.py has one class for each):

    durable      when a write returns, a killed process loses nothing of it (if ``persistent``)
    atomic       a batch is applied whole or not at all (if ``atomic_batches``)
    visible      a write that returned is seen by the next read (if ``read_your_writes``)
    idempotent   the same put or delete twice is the same as once
    ordered      hits ascend by distance, then by key; listings ascend by name or by the key's UTF-8
                 bytes
    complete     a filtered query finds top_k vectors whenever top_k match (if ``filter_pushdown``)
    faithful     data come back bit for bit, metadata value for value
    honest       distances are in the contract's unit, whatever the engine computes inside
    isolated     what is done to one bucket or index is not seen in another

    Every method may raise ServiceUnavailable when the engine cannot work now, and InternalError (or
    its child Corruption) when it is broken.
    """

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this engine promises."""

    @abstractmethod
    def open(self) -> None:
        """Make the engine ready. Nothing else may be called before; called once.

        Raises:
            ServiceUnavailable: What the engine works with cannot be had: another process holds it,
                it does not answer, its format is of another version.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop, keeping everything that was acknowledged; idempotent.

        No other call may be under way, but ``hurry``.
        """

    @abstractmethod
    def hurry(self) -> None:
        """Let ``close`` do no more than it must, and nobody wait for another service; any time."""

    @abstractmethod
    def check(self) -> None:
        """Return if the engine can work now; asked by health checks, so it is quick.

        Raises:
            ServiceUnavailable: What it works with does not answer.
        """

    # --- Control plane ----------------------------------------------------------------------------

    @abstractmethod
    def put_bucket(self, bucket: Bucket, *, buckets_max: int) -> None:
        """Make a bucket, durably.

        Raises:
            BucketNameNotAvailable: It exists.
            TooManyBuckets: Its account has ``buckets_max`` already.
        """

    @abstractmethod
    def get_bucket(self, bucket_name: str) -> Bucket:
        """Return a bucket. Called for every request, so it is as quick as a look into a dictionary.

        Raises:
            NoSuchBucket: It does not exist.
        """

    @abstractmethod
    def list_buckets(
        self, account_id: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Bucket]:
        """Return a page of the account's buckets, ascending by name.

        The page holds the first ``limit`` whose name starts with ``prefix`` and is after ``after``,
        which need not exist. An empty page is not an error.
        """

    @abstractmethod
    def delete_bucket(self, bucket_name: str, seen: Bucket | None = None) -> None:
        """Delete an empty bucket, durably.

        Raises:
            NoSuchBucket: It does not exist, or is another one than was seen.
            VectorBucketNotEmpty: It holds an index.
        """

    @abstractmethod
    def set_bucket_policy(self, bucket_name: str, policy: str, seen: Bucket | None = None) -> None:
        """Give a bucket a policy, durably, in place of the one of before.

        The text is kept as it is, character for character; an empty one means no policy. Nothing
        else of the bucket changes.

        Raises:
            NoSuchBucket: It does not exist, or is another one than was seen.
            ServiceUnavailable: The store failed. Which policy is stored is unknown; setting it
                again is correct.
        """

    @abstractmethod
    def set_bucket_logging(
        self, bucket_name: str, logging: BucketLogging | None, seen: Bucket | None = None
    ) -> None:
        """Say where the requests on a bucket are logged, durably; None means nowhere.

        An engine only keeps it: it logs nothing. Nothing else of the bucket changes.

        Raises:
            NoSuchBucket: It does not exist, or is another one than was seen.
            ServiceUnavailable: As for ``set_bucket_policy``.
        """

    @abstractmethod
    def put_index(self, index: Index, *, indexes_max: int) -> Index:
        """Make an index, durably, and return it with the ``index_id`` that it was given.

        What its ``graph`` leaves open is the engine's choice: of ``m`` and ``ef_construction`` when
        the index is made, of ``ef_search`` when a query comes. Engines without a graph ignore it.

        Raises:
            NoSuchBucket: Its bucket does not exist.
            VectorBucketIndexAlreadyExist: It exists.
            VectorBucketIndexExceedLimit: The bucket holds ``indexes_max`` already.
            MemoryBudgetExceeded: There is no memory left for another index; nothing was made.
        """

    @abstractmethod
    def get_index(self, bucket_name: str, index_name: str) -> Index:
        """Return an index. Called for every request, so it is as quick as a look into a dictionary.

        Raises:
            NoSuchBucket: The bucket does not exist.
            NoSuchVectorIndex: The index does not exist.
        """

    @abstractmethod
    def list_indexes(
        self, bucket_name: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Index]:
        """Return a page of the bucket's indexes, ascending by name; see ``list_buckets``.

        Raises:
            NoSuchBucket: The bucket does not exist.
        """

    @abstractmethod
    def delete_index(self, index: Index) -> None:
        """Delete an index and its vectors, durably; disk space may follow later.

        Raises:
            NoSuchVectorIndex: It does not exist any more.
        """

    @abstractmethod
    def index_statistics(self, index: Index) -> IndexStatistics:
        """Return what the index holds now.

        Raises:
            NoSuchVectorIndex: It does not exist any more.
        """

    # --- Operation --------------------------------------------------------------------------------

    @abstractmethod
    def statistics(self) -> EngineStatistics:
        """Return what the engine holds now. Asked every few seconds; no index is loaded for it."""

    @abstractmethod
    def load_index(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Bring an index into memory; nothing happens if it is there, or needs none.

        Raises:
            NoSuchVectorIndex: It does not exist any more.
            MemoryBudgetExceeded: It does not fit.
            RequestTimeout: The deadline passed while somebody else was loading it.
        """

    @abstractmethod
    def unload_index(self, index: Index) -> None:
        """Write a checkpoint of an index and let it leave memory, until it is used again.

        Nothing happens if it is not there.

        Raises:
            NoSuchVectorIndex: It does not exist any more.
            VectorIndexOperationConflict: It is in use, or its graph is being built anew.
            ServiceUnavailable: The checkpoint could not be written; it stays in memory.
            MethodNotAllowed: This engine keeps every index in memory (``capabilities.graphs``).
        """

    @abstractmethod
    def rebuild_index(self, index: Index) -> None:
        """Begin to build the graph of an index anew; it is over when its statistics say so.

        Nothing happens if that is under way, or if the index is too small for a graph. If it cannot
        be finished, the observer is told, and the graph of before goes on.

        Raises:
            NoSuchVectorIndex: It does not exist any more.
            MemoryBudgetExceeded: There is no memory for it, or for a second graph beside the first.
            MethodNotAllowed: This engine builds no graphs (``capabilities.graphs``).
        """

    @abstractmethod
    def back_up(self, directory: Path, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Write all that was acknowledged before this call into a directory, durably.

        Calls go on meanwhile; of what they write, each batch is in the backup whole or not at all.

        Args:
            directory: Exists and is empty. What is in it when this raises is of no use.
            deadline: Looked at often; it ends the backup.

        Raises:
            MethodNotAllowed: This engine makes no backups (``capabilities.backups``).
            ServiceUnavailable: The disk is full or failing.
            RequestTimeout: The deadline passed.
        """

    # --- Data plane -------------------------------------------------------------------------------

    @abstractmethod
    def put_vectors(
        self,
        index: Index,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None = None,
        backlog_wait_s: float | None = None,
        deadline: Deadline = NO_DEADLINE,
        visible: bool = True,
    ) -> bool:
        """Store a batch, durably, replacing whatever was stored under its keys.

        Args:
            index: Where to; its dimension is the batch's.
            batch: What to store.
            guard: Asked right before the commit, told right after it.
            backlog_wait_s: How long to wait when the engine is too far behind with indexing; None
                means as long as the deadline allows.
            deadline: Until when the caller waits for the batch to be begun. A batch that is begun
                is finished.
            visible: Whether to return only when readers see the batch. Whoever says False calls
                ``wait_until_visible`` before he acknowledges it.

        Returns:
            True; or False if the guard said that the batch is committed already. It is durable
            then, too.

        Raises:
            NoSuchVectorIndex: The index does not exist any more.
            QpsLimitExceeded: The engine stayed behind for ``backlog_wait_s``; nothing was stored.
            MemoryBudgetExceeded: The index cannot be brought into memory, or cannot grow there;
                nothing was stored.
            RequestTimeout: The deadline passed before the batch was begun; nothing was stored.
            ServiceUnavailable: The store failed. Whether the batch is stored is unknown; putting it
                again is correct.
        """

    @abstractmethod
    def wait_until_visible(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Return once every reader sees what was put into an index before this call.

        Raises:
            NoSuchVectorIndex: The index does not exist any more.
            RequestTimeout: The deadline passed; what was put is durable, and may be seen.
        """

    @abstractmethod
    def get_vectors(
        self, index: Index, keys: Sequence[str], *, data: bool, metadata: bool
    ) -> list[Vector]:
        """Return the vectors that exist, once each, in the order in which their keys come first.

        Keys that do not exist are not an error.

        Raises:
            NoSuchVectorIndex: The index does not exist any more.
        """

    @abstractmethod
    def list_vectors(
        self,
        index: Index,
        *,
        after: str = "",
        limit: int,
        bytes_max: int,
        segment: Segment = WHOLE,
        data: bool = False,
        metadata: bool = False,
    ) -> Page[Vector]:
        """Return a page of a segment: the vectors after key ``after``, ascending by UTF-8 bytes.

        The page ends after ``limit`` vectors, or earlier once it holds about ``bytes_max`` bytes,
        but never before its first vector. ``next_after`` is set only when at least one more vector
        follows. Keys that exist throughout a listing are listed exactly once.

        Raises:
            NoSuchVectorIndex: The index does not exist any more.
        """

    @abstractmethod
    def delete_vectors(
        self, index: Index, keys: Sequence[str], *, deadline: Deadline = NO_DEADLINE
    ) -> None:
        """Delete vectors, durably and all at once. Keys that do not exist are not an error.

        Raises:
            NoSuchVectorIndex: The index does not exist any more.
            RequestTimeout: The deadline passed before the delete was begun; nothing was deleted.
            ServiceUnavailable: The store failed; the outcome is unknown and deleting again is
                correct.
        """

    @abstractmethod
    def query_vectors(
        self, index: Index, query: Query, *, deadline: Deadline = NO_DEADLINE
    ) -> list[list[Hit]]:
        """Return for each query its nearest vectors, nearest first, those of equal distance by key.

        Args:
            index: Where to look; its dimension is the queries'.
            query: What to look for; with a filter, only vectors that match take part. Its
                ``ef_search`` is a hint, which engines that search exactly ignore.
            deadline: Until when the caller waits; checked between stages.

        Returns:
            One list a query, ``top_k`` long unless fewer vectors match.

        Raises:
            NoSuchVectorIndex: The index does not exist any more.
            RequestTimeout: The deadline passed.
            MemoryBudgetExceeded: The index cannot be brought into memory.
        """
