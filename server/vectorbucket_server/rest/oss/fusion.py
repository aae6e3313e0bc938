"""Operations on fusion indexes, which there are not here: what they are about, and that they fail.

Rules of this file: whatever their bodies say, these operations are refused in the same words; a
body is read only for the index that it names, because rights may hang on that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vectorbucket.errors import InvalidRequest, VectorIndexParameterInvalid
from vectorbucket.v1 import index_service_pb2, vector_service_pb2
from vectorbucket_server.rest.oss.bodies import Odd, parse_quickly
from vectorbucket_server.rest.oss.conversion import Conversion, Source
from vectorbucket_server.rest.oss.reader import Reader


def _refusing(operation: str) -> Callable[[Any, bytes], None]:
    """Return what reads the body of an operation that is not supported."""

    def fill(message: Any, raw: bytes) -> None:
        with suppress(InvalidRequest, Odd):
            body = Reader(parse_quickly(raw))
            message.index_name = body.string(body.root(), "indexName")
        raise VectorIndexParameterInvalid(f"{operation} is not supported by this server")

    return fill


PUT = Conversion(
    index_service_pb2.PutVectorIndexRequest, Source.TEXT, fill=_refusing("PutVectorIndexFusion")
)
QUERY = Conversion(
    vector_service_pb2.QueryVectorsRequest, Source.TEXT, fill=_refusing("QueryVectorsFusion")
)
