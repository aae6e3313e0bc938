"""Raw stubs, messages and refusals: what tests of the gRPC floor speak with a server.

Rules of this file: it knows the contract only, never the client library nor the server's insides,
so that a test which passes through here is a stranger to both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeAlias

import grpc
import numpy as np
import pytest
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from vectorbucket.v1 import (
    bucket_service_pb2,
    bucket_service_pb2_grpc,
    index_pb2,
    index_service_pb2,
    index_service_pb2_grpc,
    operations_service_pb2_grpc,
    vector_pb2,
    vector_service_pb2,
    vector_service_pb2_grpc,
)

BUCKET = "photos"
INDEX = "faces"
DIMENSION = 4

EUCLIDEAN = index_pb2.DISTANCE_METRIC_EUCLIDEAN
COSINE = index_pb2.DISTANCE_METRIC_COSINE

Metadata: TypeAlias = Mapping[str, Any]

WAIT_S = 20.0
"""Longest a test waits for something that should happen soon; it is never waited out."""


@dataclass(frozen=True)
class Stubs:
    """The services of one channel."""

    channel: grpc.Channel
    buckets: Any
    indexes: Any
    vectors: Any
    operations: Any

    def make_index(
        self,
        bucket: str = BUCKET,
        index_name: str = INDEX,
        *,
        dimension: int = DIMENSION,
        metric: int = EUCLIDEAN,
        non_filterable: Iterable[str] = (),
    ) -> None:
        """Make a bucket and an index in it."""
        self.buckets.PutVectorBucket(bucket_service_pb2.PutVectorBucketRequest(bucket=bucket))
        self.indexes.PutVectorIndex(
            index_request(
                bucket,
                index_name,
                dimension=dimension,
                metric=metric,
                non_filterable=non_filterable,
            )
        )

    def put(
        self, *vectors: vector_pb2.Vector, bucket: str = BUCKET, index_name: str = INDEX
    ) -> int:
        """Put vectors in one unary call and return the count that it answers."""
        request = vector_service_pb2.PutVectorsBatchRequest(
            bucket=bucket, index_name=index_name, vectors=vectors
        )
        count: int = self.vectors.PutVectorsBatch(request, timeout=WAIT_S).vector_count
        return count

    def count(self, bucket: str = BUCKET, index_name: str = INDEX) -> int:
        """Return how many vectors an index holds."""
        request = index_service_pb2.GetVectorIndexRequest(bucket=bucket, index_name=index_name)
        count: int = self.indexes.GetVectorIndex(request, timeout=WAIT_S).vector_count
        return count

    def all_keys(self, bucket: str = BUCKET, index_name: str = INDEX) -> list[str]:
        """Return all keys of an index, in its order."""
        request = vector_service_pb2.ScanVectorsRequest(bucket=bucket, index_name=index_name)
        return [one.key for page in self.vectors.ScanVectors(request) for one in page.vectors]


@contextmanager
def stubs_of(
    address: str, tls: grpc.ChannelCredentials | None = None, **options: int
) -> Iterator[Stubs]:
    """Yield the stubs of a server at an address; options are gRPC's, with dots as underscores."""
    named = [(name.replace("__", "."), value) for name, value in options.items()]
    with (
        grpc.insecure_channel(address, options=named)
        if tls is None
        else grpc.secure_channel(address, tls, options=named)
    ) as channel:
        yield Stubs(
            channel,
            bucket_service_pb2_grpc.BucketServiceStub(channel),  # type: ignore[no-untyped-call]
            index_service_pb2_grpc.IndexServiceStub(channel),  # type: ignore[no-untyped-call]
            vector_service_pb2_grpc.VectorServiceStub(channel),  # type: ignore[no-untyped-call]
            operations_service_pb2_grpc.OperationsServiceStub(channel),  # type: ignore[no-untyped-call]
        )


# --- Callers --------------------------------------------------------------------------------------

Entry: TypeAlias = tuple[str, str | bytes]
"""One entry of a call's metadata."""


def bearer(api_key: str) -> Entry:
    """Return the entry that says who calls."""
    return ("authorization", f"Bearer {api_key}")


class _Saying:
    """A stub whose calls carry entries of metadata."""

    def __init__(self, stub: object, entries: Sequence[Entry]) -> None:
        self._stub = stub
        self._entries = entries

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        return functools.partial(getattr(self._stub, rpc), metadata=self._entries)


def saying(stubs: Stubs, *entries: Entry) -> Stubs:
    """Return stubs on the same channel whose calls carry entries of metadata."""
    services = (stubs.buckets, stubs.indexes, stubs.vectors, stubs.operations)
    return Stubs(stubs.channel, *(_Saying(one, entries) for one in services))


# --- Messages -----------------------------------------------------------------------------------


def index_request(
    bucket: str = BUCKET,
    index_name: str = INDEX,
    *,
    dimension: int = DIMENSION,
    metric: int = EUCLIDEAN,
    non_filterable: Iterable[str] = (),
    data_type: int = 0,
) -> index_service_pb2.PutVectorIndexRequest:
    """Return a PutVectorIndexRequest."""
    request = index_service_pb2.PutVectorIndexRequest(
        bucket=bucket, index_name=index_name, dimension=dimension
    )
    request.distance_metric = metric  # type: ignore[assignment]  # enums are open on the wire
    request.data_type = data_type  # type: ignore[assignment]  # the same
    request.metadata.non_filterable_metadata_keys.extend(non_filterable)
    return request


def data_of(numbers: Iterable[float], *, as_bytes: bool = False) -> vector_pb2.VectorData:
    """Return numbers as VectorData, in either form."""
    if as_bytes:
        return vector_pb2.VectorData(float32_le=np.asarray(numbers, "<f4").tobytes())
    return vector_pb2.VectorData(float32=numbers)


def vector_of(
    key: str,
    numbers: Iterable[float] = (1.0, 2.0, 3.0, 4.0),
    metadata: Metadata | None = None,
    *,
    as_bytes: bool = False,
) -> vector_pb2.Vector:
    """Return a vector to put."""
    message = vector_pb2.Vector(key=key, data=data_of(numbers, as_bytes=as_bytes))
    for name, value in (metadata or {}).items():
        if isinstance(value, list):
            message.metadata[name].list_value.SetInParent()
            for element in value:
                _set(message.metadata[name].list_value.values.add(), element)
        else:
            _set(message.metadata[name], value)
    return message


def _set(message: vector_pb2.MetadataValue | vector_pb2.MetadataScalar, value: object) -> None:
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    # None leaves the value without a kind, which is what some tests are about.


def some_vectors(count: int) -> list[vector_pb2.Vector]:
    """Return that many vectors, with keys ``key-0`` and so on."""
    return [vector_of(f"key-{position}") for position in range(count)]


def metadata_of(message: vector_pb2.Vector | vector_pb2.Hit) -> dict[str, Any]:
    """Return a message's metadata as plain values."""
    plain: dict[str, Any] = {}
    for name, value in message.metadata.items():
        if value.WhichOneof("kind") == "list_value":
            elements = value.list_value.values
            plain[name] = [getattr(one, one.WhichOneof("kind") or "") for one in elements]
        else:
            plain[name] = getattr(value, value.WhichOneof("kind") or "")
    return plain


def put_message(
    batch_number: int,
    *vectors: vector_pb2.Vector,
    bucket: str = BUCKET,
    index_name: str = INDEX,
    stream_id: str = "stream",
) -> vector_service_pb2.PutVectorsRequest:
    """Return one message of a put stream."""
    return vector_service_pb2.PutVectorsRequest(
        bucket=bucket,
        index_name=index_name,
        stream_id=stream_id,
        batch_number=batch_number,
        vectors=vectors,
    )


def filter_struct(raw: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return a filter as it travels."""
    struct = struct_pb2.Struct()
    struct.update(dict(raw))
    return struct


def query_request(
    numbers: Iterable[float] = (1.0, 2.0, 3.0, 4.0),
    *,
    top_k: int = 10,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - the contract's word
    **fields: Any,
) -> vector_service_pb2.QueryVectorsRequest:
    """Return a QueryVectorsRequest that asks for distances."""
    named: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX, "return_distance": True}
    return vector_service_pb2.QueryVectorsRequest(
        **(named | fields),
        query_vector=data_of(numbers),
        top_k=top_k,
        filter=None if filter is None else filter_struct(filter),
    )


# --- Streams ------------------------------------------------------------------------------------


class PutStream:
    """A PutVectors call of which a test sends and reads each message when it wants."""

    _END = object()

    def __init__(self, stubs: Stubs) -> None:
        self._outgoing: SimpleQueue[Any] = SimpleQueue()
        self.call = stubs.vectors.PutVectors(iter(self._outgoing.get, self._END))

    def send(self, message: vector_service_pb2.PutVectorsRequest) -> None:
        """Send a message."""
        self._outgoing.put(message)

    def read(self) -> vector_service_pb2.PutVectorsResponse:
        """Return the next answer."""
        answer: vector_service_pb2.PutVectorsResponse = next(self.call)
        return answer

    def ask(
        self, message: vector_service_pb2.PutVectorsRequest
    ) -> vector_service_pb2.PutVectorsResponse:
        """Send a message and return the answer to it."""
        self.send(message)
        return self.read()

    def finish(self) -> list[vector_service_pb2.PutVectorsResponse]:
        """Half-close, and return the answers that were not read yet."""
        self._outgoing.put(self._END)
        return list(self.call)

    def cancel(self) -> None:
        """Break the call off."""
        self.call.cancel()
        self._outgoing.put(self._END)


# --- Refusals -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """An error as the wire carries it."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    facts: Mapping[str, str] | None = None
    field: str | None = None
    request_id: str = ""
    retry_after_s: float | None = None


def refusal_of(status: status_pb2.Status) -> Refusal:
    """Return what a google.rpc.Status says."""
    said: dict[str, Any] = {}
    for packed in status.details:
        info, blame = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry, request = error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
        if packed.Unpack(info):
            said |= {"reason": info.reason, "domain": info.domain, "facts": dict(info.metadata)}
        elif packed.Unpack(blame):
            (violation,) = blame.field_violations
            assert violation.description == status.message
            said["field"] = violation.field
        elif packed.Unpack(retry):
            said["retry_after_s"] = retry.retry_delay.ToTimedelta().total_seconds()
        elif packed.Unpack(request):
            said["request_id"] = request.request_id
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    return Refusal(code, status.message, **said)


def refused(call: Callable[[], object]) -> Refusal:
    """Return how a call is refused; fail if it is not."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]  # errors are calls, too
    assert status is not None, f"{caught.value!r} has no details"
    return refusal_of(status)


Call: TypeAlias = Callable[[Stubs], object]
"""Something to ask of a server."""


def assert_parameter_refused(refusal: Refusal, field: str | None, words: Iterable[str]) -> None:
    """Check that a refusal is of a parameter, names the field, and says the words."""
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "ERROR_REASON_VECTOR_INDEX_PARAMETER_INVALID"
    assert refusal.domain == "vectorbucket"
    assert refusal.facts is not None
    assert refusal.facts["code"] == "VectorIndexParameterInvalid"
    assert len(refusal.request_id) == len("0123456789ABCDEF01234567")
    assert refusal.retry_after_s is None
    assert refusal.field == field
    if field is not None:
        assert refusal.facts["field"] == field
    for word in words:
        assert word in refusal.message, refusal.message
