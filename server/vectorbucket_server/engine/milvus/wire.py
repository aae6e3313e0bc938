"""The two messages that everything else waits for: searches and upserts, built here and sent.

The client's own way from a row to a message takes half a dozen calls of Python for each value, and
its way to a search longer than the search. Here a batch goes over column by column, its numbers as
the bytes that they are. Whatever else is asked of Milvus goes through the client's methods.

Rules of this file: with connection.py and failures.py the only importer of pymilvus; the messages
are those that the client would send, field by field, as the tests hold; sent they are through the
client's own channel, with its credentials, and tried again as it tries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pymilvus import DataType, MilvusClient
from pymilvus.client.utils import check_status
from pymilvus.decorators import retry_on_rpc_failure
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from vectorbucket_server.engine.milvus.definitions import index_fields

Row: TypeAlias = dict[str, Any]
"""A row of a collection: value by field name."""

Found: TypeAlias = Sequence[Sequence[Mapping[str, Any]]]
"""For each query its hits: ``id`` (the key), ``distance`` in Milvus' unit, ``entity`` (a row)."""

_TIMESTAMPS = {"Strong": 0, "Bounded": 2}
"""What stands for a time in a request: Milvus itself counts, or counts back, from now."""

_KINDS = {field["field_name"]: DataType[field["datatype"]] for field in index_fields(1)}
"""What a field is, by its name."""

_SCALARS = {
    DataType.VARCHAR: "string_data",
    DataType.JSON: "json_data",
    DataType.INT64: "long_data",
}
_VECTOR_TAG = "$0"
_PACKED_FLOATS_TAG = b"\x0a"
"""Field 1, a number of bytes: how the wire has the elements of FloatArray."""


def search_request(
    name: str,
    partition: str,
    vectors: npt.NDArray[np.float32],
    *,
    limit: int,
    expression: str,
    fields: Sequence[str],
    ef: int,
    consistency: str,
) -> milvus_pb2.SearchRequest:
    """Return the message of a search; see Connection.search."""
    values = [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]
    placeholder = common_pb2.PlaceholderValue(
        tag=_VECTOR_TAG, type=common_pb2.PlaceholderType.FloatVector, values=values
    )
    group = common_pb2.PlaceholderGroup(placeholders=[placeholder])
    parameters = {
        "topk": str(limit),
        "round_decimal": "-1",
        "ignore_growing": "False",
        "anns_field": "vector",
        "params": f'{{"ef":{ef}}}',
    }
    return milvus_pb2.SearchRequest(
        collection_name=name,
        partition_names=[partition],
        output_fields=fields,
        guarantee_timestamp=_TIMESTAMPS[consistency],
        consistency_level=common_pb2.ConsistencyLevel.Value(consistency),
        dsl_type=common_pb2.DslType.BoolExprV1,
        dsl=expression,
        search_params=[
            common_pb2.KeyValuePair(key=key, value=value) for key, value in parameters.items()
        ],
        nq=len(values),
        placeholder_group=group.SerializeToString(),
    )


def upsert_request(name: str, partition: str, rows: Sequence[Row]) -> milvus_pb2.UpsertRequest:
    """Return the message of an upsert; see Connection.upsert.

    Args:
        name: The collection.
        partition: Its partition.
        rows: One at least; all have the fields of the first.
    """
    return milvus_pb2.UpsertRequest(
        collection_name=name,
        partition_name=partition,
        num_rows=len(rows),
        fields_data=[_column(field, [row[field] for row in rows]) for field in rows[0]],
    )


def hits_of(found: schema_pb2.SearchResultData) -> Found:
    """Return what Milvus found, for each query; JSON as the bytes that were stored."""
    keys, distances = found.ids.str_id.data, found.scores
    columns = {
        field.field_name: getattr(field.scalars, _SCALARS[DataType(field.type)]).data
        for field in found.fields_data
    }
    results, start = [], 0
    for count in found.topks:
        results.append(
            [
                {
                    "id": keys[place],
                    "distance": distances[place],
                    "entity": {name: values[place] for name, values in columns.items()},
                }
                for place in range(start, start + count)
            ]
        )
        start += count
    return results


def _column(field: str, values: Sequence[Any]) -> schema_pb2.FieldData:
    """Return the values that rows have in a field."""
    kind = _KINDS[field]
    column = schema_pb2.FieldData(type=kind, field_name=field)
    if kind is DataType.FLOAT_VECTOR:
        numbers = np.asarray(values, "<f4")
        column.vectors.dim = numbers.shape[1]
        column.vectors.float_vector.MergeFromString(_packed(numbers.tobytes()))
        return column
    if kind is DataType.JSON:
        values = [value.encode() for value in values]
    getattr(column.scalars, _SCALARS[kind]).data.extend(values)
    return column


def _packed(numbers: bytes) -> bytes:
    """Return a message of one repeated field of fixed size, as the wire has it."""
    size, length = len(numbers), bytearray()
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"".join((_PACKED_FLOATS_TAG, length, numbers))


# --- Sending --------------------------------------------------------------------------------------


def search(
    client: MilvusClient,
    request: milvus_pb2.SearchRequest,
    *,
    timeout: float,
    retry_on_rate_limit: bool,
) -> Found:
    """Send a search as the client's own method of that name would.

    Raises:
        MilvusException: Milvus refuses it, or does not answer in time.
        grpc.RpcError: It does not answer in time, or not at all.
    """
    answer = _send(
        client, "Search", request, timeout=timeout, retry_on_rate_limit=retry_on_rate_limit
    )
    return hits_of(answer.results)


def upsert(
    client: MilvusClient,
    request: milvus_pb2.UpsertRequest,
    *,
    timeout: float,
    retry_on_rate_limit: bool,
) -> None:
    """Send an upsert as the client's own method of that name would.

    Raises:
        MilvusException: Milvus refuses it, or does not answer in time.
        grpc.RpcError: It does not answer in time, or not at all.
    """
    _send(client, "Upsert", request, timeout=timeout, retry_on_rate_limit=retry_on_rate_limit)


def _send(client: MilvusClient, method: str, request: Any, **how: Any) -> Any:
    # The client keeps its channel to itself, and lends it to nobody but its own methods.
    handler, context = client._get_connection(), client._generate_call_context()  # noqa: SLF001
    return _sent(handler, method, request, metadata=context.to_grpc_metadata(), **how)


@retry_on_rpc_failure()  # type: ignore[untyped-decorator]
def _sent(
    handler: Any, method: str, request: Any, *, timeout: float, metadata: Any, **_how: Any
) -> Any:
    """Return Milvus' answer; what else is said of how, is said to the decorator."""
    call = getattr(handler._stub, method)  # noqa: SLF001
    answer = call(request, timeout=timeout, metadata=metadata)
    check_status(answer.status)
    return answer
