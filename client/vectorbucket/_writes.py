"""Writing vectors: streaming puts, single batches, deletes.

Rules of this file: one method per operation; a method builds messages, calls and reads the answer.
How vectors become messages stands in _batching.py, how they are streamed in _put_stream.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized

import numpy.typing as npt

from vectorbucket._batching import (
    BATCH_BYTES_MAX,
    BATCH_VECTORS_MAX,
    Row,
    batches,
    fill_vectors,
    rows_of_arrays,
    rows_of_vectors,
)
from vectorbucket._caller import Caller
from vectorbucket._messages import key_list
from vectorbucket._models import Metadata, PutResult, VectorLike
from vectorbucket._progress import ProgressCallback
from vectorbucket._put_stream import Destination, PutStream, put_batches
from vectorbucket._tally import RejectedCallback, Tally
from vectorbucket.v1 import vector_service_pb2


class Writes(Caller):
    """The operations that change what an index holds.

    Each method but the streaming one takes ``timeout_s``, seconds for the call and its retries;
    None means the client's. All raise ``NoSuchBucket`` and ``NoSuchVectorIndex``.
    """

    def put_vectors(
        self,
        bucket: str,
        index_name: str,
        vectors: Iterable[VectorLike] | None = None,
        *,
        keys: Sequence[str] | None = None,
        data: npt.ArrayLike | None = None,
        metadata: Sequence[Metadata | None] | None = None,
        on_rejected: RejectedCallback | None = None,
        progress: ProgressCallback | None = None,
        batch_vectors_max: int = BATCH_VECTORS_MAX,
        batch_bytes_max: int = BATCH_BYTES_MAX,
    ) -> PutResult:
        """Put any number of vectors, each replacing what its key held before.

        The vectors travel in batches over a stream; each batch is stored whole or not at all, and a
        rejected one does not stop the others. A broken connection is resumed. Of a long iterable
        only a bounded part is in memory at any time; what it raises reaches the caller, and what
        was stored until then stays.

        Args:
            bucket: The bucket.
            index_name: The index.
            vectors: Vectors, ``(key, data)`` or ``(key, data, metadata)`` tuples, or dicts; or else
            keys: one key a vector, with
            data: their numbers, shape (n, dimension), any type that fits float32, and
            metadata: one dict or None a vector; None where no vector has any.
            on_rejected: Called with each rejected batch (its first position, its number of vectors
                and its error); rejections then raise nothing.
            progress: Called with the counts after each answer; ``ProgressBar()`` draws them.
            batch_vectors_max: Vectors in a batch. The server's own limit is 500 by default.
            batch_bytes_max: Bytes in a batch, but for a single larger vector.

        Returns:
            How many vectors are stored, and the batches that were rejected.

        Raises:
            VectorBucketError: Why the one batch was rejected, if there was just one; or why the
                stream ended, with ``details["first_unanswered_position"]`` where it did.
            PutRejected: Of several batches some were rejected; its ``result`` says which.
            TypeError: Neither ``vectors`` nor ``keys`` and ``data`` are given, or both.
            ValueError: A bound of the batches is not 1 or more.
        """
        if batch_vectors_max < 1 or batch_bytes_max < 1:
            raise ValueError("batch_vectors_max and batch_bytes_max must be 1 or more")
        rows = _rows(vectors, keys, data, metadata, batch_vectors_max)
        total = _count(vectors if keys is None else keys)
        tally = Tally(total, on_rejected=on_rejected, progress=progress)
        stream = PutStream(
            self._vectors.PutVectors,
            Destination(bucket, index_name, self._new_stream_id()),
            patience=self._calls.patience(self._resume_timeout_s),
            answer_timeout_s=self._answer_timeout_s,
            pause=self._pause,
        )
        cut = batches(rows, count_max=batch_vectors_max, bytes_max=batch_bytes_max)
        with tally, stream:
            put_batches(stream, cut, tally)
        return tally.result()

    def put_vectors_batch(
        self,
        bucket: str,
        index_name: str,
        vectors: Iterable[VectorLike] | None = None,
        *,
        keys: Sequence[str] | None = None,
        data: npt.ArrayLike | None = None,
        metadata: Sequence[Metadata | None] | None = None,
        timeout_s: float | None = None,
    ) -> PutResult:
        """Put a few vectors in one call, all or none of them.

        Args:
            bucket: The bucket.
            index_name: The index.
            vectors: See ``put_vectors``; at most 500.
            keys: See ``put_vectors``.
            data: See ``put_vectors``.
            metadata: See ``put_vectors``.
            timeout_s: See the class.

        Returns:
            How many vectors are stored; none is ever rejected.

        Raises:
            VectorIndexParameterInvalid: A vector breaks a rule; nothing is stored.
            QpsLimitExceeded: The server is too far behind with indexing, also after retries.
            MemoryBudgetExceeded: The server's memory for indexes is used up; nothing is stored.
        """
        request = vector_service_pb2.PutVectorsBatchRequest(bucket=bucket, index_name=index_name)
        fill_vectors(request, _rows(vectors, keys, data, metadata))
        response: vector_service_pb2.PutVectorsBatchResponse = self._call(
            self._vectors.PutVectorsBatch, request, timeout_s
        )
        return PutResult(response.vector_count, [])

    def delete_vectors(
        self, bucket: str, index_name: str, keys: Sequence[str], *, timeout_s: float | None = None
    ) -> None:
        """Delete vectors, all at once. Keys that do not exist are ignored.

        Args:
            bucket: The bucket.
            index_name: The index.
            keys: 1 to 500 keys, none twice.
            timeout_s: See the class.

        Raises:
            VectorIndexParameterInvalid: No keys, too many, one twice, or an illegal one.
        """
        request = vector_service_pb2.DeleteVectorsRequest(
            bucket=bucket, index_name=index_name, keys=key_list(keys)
        )
        self._call(self._vectors.DeleteVectors, request, timeout_s)


def _rows(
    vectors: Iterable[VectorLike] | None,
    keys: Sequence[str] | None,
    data: npt.ArrayLike | None,
    metadata: Sequence[Metadata | None] | None,
    count_max: int = BATCH_VECTORS_MAX,
) -> Iterator[Row]:
    """Return the rows of what a put was given.

    Raises:
        TypeError: It was given both forms, or half of one.
        VectorIndexParameterInvalid: The columns are not equally long.
    """
    if vectors is not None:
        if keys is not None or data is not None or metadata is not None:
            raise TypeError("give either vectors, or keys and data (and metadata), not both")
        return rows_of_vectors(vectors, count_max=count_max)
    if keys is None or data is None:
        raise TypeError("give either vectors, or keys and data (and metadata)")
    return rows_of_arrays(keys, data, metadata)


def _count(given: object) -> int | None:
    """Return how many vectors were given, None if that shows only in the end."""
    return len(given) if isinstance(given, Sized) else None
