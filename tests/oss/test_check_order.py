"""What of several faults is told: bucket, then JSON, then index, then everything else.

The order is the server's; who calls and what he may do comes before it, and is tested with the
policies.
"""

from __future__ import annotations

import pytest

from oss.dialect import BUCKET_HOST, SERVICE_HOST, Dialect

MISSING_HOST = BUCKET_HOST.replace("examplebucket", "go-sdk-test-bucket--not-exist")

ON_INDEXES = (
    *("getVectorIndex", "deleteVectorIndex", "putVectors", "getVectors", "listVectors"),
    *("deleteVectors", "queryVectors"),
)
WITH_JSON = (*ON_INDEXES, "putVectorIndex", "listVectorIndexes")

NO_JSON = [
    *(b"{", b"[]", b"null", b'{"indexName":NaN}', b'{"indexName":"idx1","indexName":"idx1"}'),
    *(b"\xff", b'{"x":"\\ud800"}', b'{"x":' + b"[" * 2_000 + b"]" * 2_000 + b"}", b"{}\x00"),
    b'{"indexName":"idx1","topK":"x","keys":1,"vectors":2,"dimension":[],"u":[{"a":1,"a":2}]}',
]


@pytest.mark.parametrize("flag", WITH_JSON)
@pytest.mark.parametrize("body", [*NO_JSON, b"", b'{"indexName":5}'])
def test_the_bucket_comes_first(dialect: Dialect, flag: str, body: bytes) -> None:
    answer = dialect.post(flag, body, host=MISSING_HOST)
    assert (answer.status, answer.code) == (404, "NoSuchBucket")
    assert answer.message == "The specified bucket does not exist."


@pytest.mark.parametrize("flag", WITH_JSON)
@pytest.mark.parametrize("body", NO_JSON)
def test_a_name_that_no_bucket_can_have_comes_first_too(
    dialect: Dialect, flag: str, body: bytes
) -> None:
    answer = dialect.post(flag, body, host=SERVICE_HOST, path="/No_Bucket/")
    assert (answer.status, answer.code) == (400, "InvalidVectorBucketName")


@pytest.mark.parametrize("flag", WITH_JSON)
@pytest.mark.parametrize("body", NO_JSON)
def test_json_comes_before_the_index(dialect: Dialect, flag: str, body: bytes) -> None:
    dialect.make_bucket()
    answer = dialect.post(flag, body)
    assert (answer.status, answer.code) == (400, "MalformedJson")


@pytest.mark.parametrize("flag", sorted(set(WITH_JSON) - {"listVectorIndexes"}))
def test_a_missing_body_is_no_json(dialect: Dialect, flag: str) -> None:
    dialect.make_index()
    assert dialect.post(flag, b"").code == "MalformedJson"


@pytest.mark.parametrize("flag", ON_INDEXES)
@pytest.mark.parametrize(
    "members",
    [
        b'"topK":"x","keys":1,"vectors":2,"returnData":3',
        b'"topK":1e400,"keys":[1e400],"vectors":[1e400],"maxResults":1e400',
        b'"filter":{"a":18446744073709551616}',
        b'"topK":-1,"keys":[],"vectors":[],"maxResults":-1',
    ],
)
def test_the_index_comes_before_its_parameters(dialect: Dialect, flag: str, members: bytes) -> None:
    dialect.make_bucket()
    answer = dialect.post(flag, b"{" + members + b',"indexName":"missing"}')
    assert (answer.status, answer.code) == (404, "NoSuchVectorIndex")
    assert answer.message == "The specified vector index does not exist."


@pytest.mark.parametrize("flag", ON_INDEXES)
@pytest.mark.parametrize("name", [b"5", b"null", b'["idx1"]', b"1e400", b'"with-hyphen"'])
def test_an_index_that_is_not_named_is_a_wrong_parameter(
    dialect: Dialect, flag: str, name: bytes
) -> None:
    dialect.make_index()
    whole = b',"vectors":[{"key":"a"}],"keys":["a"]}'
    answer = dialect.post(flag, b'{"indexName":' + name + whole)
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert "indexName" in answer.message
