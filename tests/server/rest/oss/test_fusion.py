"""Fusion: requests that are about something, and always fail."""

from __future__ import annotations

import pytest

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket_server.rest.oss import fusion
from vectorbucket_server.rest.oss.conversion import Conversion, converted

OPERATIONS = [
    (fusion.PUT, "PutVectorIndexFusion"),
    (fusion.QUERY, "QueryVectorsFusion"),
]


@pytest.mark.parametrize(("conversion", "operation"), OPERATIONS)
@pytest.mark.parametrize(
    ("body", "index_name"),
    [
        (b'{"indexName":"faces","mode":{"a":[1]}}', "faces"),
        (b'{"mode":1,"indexName":"faces"}', "faces"),
        (b'{"indexName":null}', ""),
        (b'{"indexName":5}', ""),
        (b"{}", ""),
        (b"", ""),
        (b"no json", ""),
        (b'{"indexName":"a","indexName":"b"}', ""),
    ],
)
def test_only_the_index_is_read_and_all_is_refused(
    conversion: Conversion, operation: str, body: bytes, index_name: str
) -> None:
    message, fault = converted(conversion, "photos", {}, body)
    assert (message.bucket, message.index_name) == ("photos", index_name)
    assert isinstance(fault, VectorIndexParameterInvalid)
    assert fault.message == f"{operation} is not supported by this server"
