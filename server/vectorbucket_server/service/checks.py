"""What a request may ask: its limits, checked once, at the edge, before the engine sees it.

Rules of this file: a check returns what it found legal, or raises; an error names the field, the
value and the limit; what names are legal is naming.py's, what vectors are legal is
vector_checks.py's.
"""

from __future__ import annotations

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from vectorbucket.errors import (
    InvalidArgument,
    InvalidPolicyDocument,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket.limits import Limits
from vectorbucket.v1 import index_pb2, vector_pb2
from vectorbucket_server.auth.policy import parse_policy
from vectorbucket_server.model import DistanceMetric, GraphOptions, Segment
from vectorbucket_server.naming import check_non_filterable_keys
from vectorbucket_server.service.convert import METRICS

FILTER_EXPANSION_MAX = 32
"""How many times larger than its JSON a filter can be as a Struct: ``1,`` takes 11 bytes there, a
nested ``[]`` 8. Filters beyond that are refused before they are made into Python objects."""


def refused(
    field: str,
    message: str,
    *,
    value: object = None,
    limit: object = None,
    error: type[VectorBucketError] = VectorIndexParameterInvalid,
) -> VectorBucketError:
    """Return an error about a field, with the value and the limit as facts of their own.

    Args:
        field: The field's path in the request.
        message: What is wrong: the thing, the value, the limit.
        value: The value, where it is short.
        limit: The limit that it breaks.
        error: The leaf.
    """
    facts = {"value": value, "limit": limit}
    details = {name: str(fact) for name, fact in facts.items() if fact is not None}
    return error(message, field=field, details=details)


def check_count(field: str, count: int, count_max: int) -> None:
    """Raise VectorIndexParameterInvalid unless a repeated field has 1 to ``count_max`` elements."""
    if not 1 <= count <= count_max:
        raise refused(
            field,
            f"{field} has {count} elements; there must be 1 to {count_max}",
            value=count,
            limit=count_max,
        )


def check_page_size(
    field: str,
    value: int,
    *,
    default: int,
    maximum: int,
    error: type[VectorBucketError] = VectorIndexParameterInvalid,
) -> int:
    """Return how many items a page may hold; 0 asks for the default.

    Raises:
        VectorIndexParameterInvalid: (or ``error``) It is negative or over the maximum.
    """
    if value == 0:
        return default
    if not 1 <= value <= maximum:
        raise refused(
            field,
            f"{field} is {value}; it must be 1 to {maximum}, or 0 for {default}",
            value=value,
            limit=maximum,
            error=error,
        )
    return value


def check_bucket_page_size(value: int, limits: Limits) -> int:
    """Return how many buckets a page may hold; see check_page_size."""
    return check_page_size(
        "max_keys",
        value,
        default=limits.list_buckets_default,
        maximum=limits.list_buckets_max,
        error=InvalidArgument,
    )


def check_policy(policy: str, limits: Limits) -> None:
    """Raise an error unless a text can be the policy of a bucket.

    Raises:
        InvalidPolicyDocument: It is longer than it may be, or JSON and no policy.
        MalformedJson: It is no JSON.
    """
    size, limit = len(policy.encode()), limits.bucket_policy_bytes_max
    if size > limit:
        raise refused(
            "policy",
            f"policy has {size} bytes; the limit is {limit}",
            value=size,
            limit=limit,
            error=InvalidPolicyDocument,
        )
    parse_policy(policy)


def check_segment(count: int, position: int, limits: Limits) -> Segment:
    """Return the segment that a listing asks for; a count of 0 means 1.

    Raises:
        VectorIndexParameterInvalid: The count is out of range, or the position not below it.
    """
    count = _from_one("segment_count", count or 1, limits.segments_max)
    if not 0 <= position < count:
        raise refused(
            "segment_index",
            f"segment_index is {position}; it must be 0 to {count - 1}, less than segment_count",
            value=position,
            limit=count - 1,
        )
    return Segment(position, count)


def _from_one(name: str, value: int, most: int) -> int:
    """Return a number of which the least that is legal is 1.

    Args:
        name: Its field.
        value: The number.
        most: The most that is legal.

    Raises:
        VectorIndexParameterInvalid: It is out of range.
    """
    if not 1 <= value <= most:
        raise refused(name, f"{name} is {value}; it must be 1 to {most}", value=value, limit=most)
    return value


def check_dimension(dimension: int, limits: Limits) -> int:
    """Return the dimension of a new index."""
    return _from_one("dimension", dimension, limits.dimension_max)


def check_metric(metric: index_pb2.DistanceMetric) -> DistanceMetric:
    """Return the metric of a new index."""
    if metric not in METRICS:
        raise refused(
            "distance_metric",
            f"distance_metric is {_enum_name(index_pb2.DistanceMetric, metric)}; it must be "
            "DISTANCE_METRIC_EUCLIDEAN or DISTANCE_METRIC_COSINE",
            value=int(metric),
        )
    return METRICS[metric]


def check_data_type(data_type: int) -> None:
    """Raise VectorIndexParameterInvalid unless an index can have this type of numbers."""
    if data_type not in {index_pb2.DATA_TYPE_UNSPECIFIED, index_pb2.DATA_TYPE_FLOAT32}:
        raise refused(
            "data_type",
            f"data_type is {data_type}; the only one is DATA_TYPE_FLOAT32",
            value=int(data_type),
        )


def check_data_encoding(data_encoding: int) -> None:
    """Raise VectorIndexParameterInvalid unless numbers can be answered in this form."""
    if data_encoding not in vector_pb2.DataEncoding.values():
        raise refused(
            "data_encoding",
            f"data_encoding is {data_encoding}; it must be DATA_ENCODING_FLOAT32 or "
            "DATA_ENCODING_FLOAT32_LE",
            value=int(data_encoding),
        )


def check_non_filterable(
    configuration: index_pb2.MetadataConfiguration, limits: Limits
) -> tuple[str, ...]:
    """Return the names of a new index's non-filterable metadata fields."""
    names = tuple(configuration.non_filterable_metadata_keys)
    check_non_filterable_keys(names, limits)
    return names


def check_graph(graph: index_pb2.GraphConfiguration, limits: Limits) -> GraphOptions:
    """Return what a new index asks of its graph; what it does not say stays open."""
    return GraphOptions(
        m=_optional_number(graph, "m", limits.m_min, limits.m_max, of="graph."),
        ef_construction=_optional_number(
            graph,
            "ef_construction",
            limits.ef_construction_min,
            limits.ef_construction_max,
            of="graph.",
        ),
        ef_search=_optional_number(graph, "ef_search", 1, limits.ef_search_max, of="graph."),
    )


def check_ef_search(request: Message, limits: Limits) -> int | None:
    """Return the breadth of search that a query asks for; None if it leaves that to the index."""
    return _optional_number(request, "ef_search", 1, limits.ef_search_max)


def _optional_number(
    message: Message, name: str, minimum: int, maximum: int, *, of: str = ""
) -> int | None:
    """Return a number of a message, None where it is not set.

    Args:
        message: A message in which the field is ``optional``, so that 0 is not the same as unset.
        name: The field.
        minimum: The least that is legal.
        maximum: The most that is legal.
        of: The message's place in the request, with a dot.

    Raises:
        VectorIndexParameterInvalid: It is set, and out of its range.
    """
    if not message.HasField(name):
        return None
    value: int = getattr(message, name)
    if not minimum <= value <= maximum:
        raise refused(
            f"{of}{name}",
            f"{of}{name} is {value}; it must be {minimum} to {maximum}",
            value=value,
            limit=minimum if value < minimum else maximum,
        )
    return value


def check_top_k(top_k: int, limits: Limits) -> int:
    """Return how many vectors a query wants."""
    return _from_one("top_k", top_k, limits.top_k_max)


def check_query_hits(query_count: int, top_k: int, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid if queries × top_k is more than a call may find."""
    hits = query_count * top_k
    if hits > limits.query_hits_max:
        raise refused(
            "query_vectors",
            f"query_vectors holds {query_count} queries, at top_k {top_k} that is {hits} hits; the "
            f"limit is {limits.query_hits_max}",
            value=hits,
            limit=limits.query_hits_max,
        )


def check_filter_size(message: Struct, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid for a filter that is too long in any case.

    The filter's parser measures what is left exactly.
    """
    size = message.ByteSize()
    if size > FILTER_EXPANSION_MAX * limits.filter_bytes_max:
        raise refused(
            "filter",
            f"filter has {size} bytes on the wire, too many for the limit of "
            f"{limits.filter_bytes_max} bytes of JSON",
            value=size,
            limit=limits.filter_bytes_max,
        )


def _enum_name(enum: type[index_pb2.DistanceMetric], value: int) -> str:
    """Return the name of an enum's value, or its number if it has none."""
    return enum.Name(value) if value in enum.values() else str(value)
