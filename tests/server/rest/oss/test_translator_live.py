"""The translator before real servers: away, slow, with credentials; and where work is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from oss.dialect import (
    ACCOUNT_ID,
    BUCKET,
    REGION,
    SERVICE_HOST,
    Dialect,
    dialect_before,
    vector,
)
from oss.signing import CREDENTIALS, TRANSLATOR_KEY, VECTOR_A, signed
from stubborn import SlowEngine
from vectorbucket_server.auth.credentials import Credentials, parse_credentials
from vectorbucket_server.rest.oss.messages import HttpRequest
from vectorbucket_server.rest.oss.translator import OFFLOAD_BYTES, Door


def test_a_server_that_is_away_is_answered_with_503() -> None:
    with dialect_before("127.0.0.1:1") as dialect:
        answer = dialect.ask("GET", "bucketInfo")
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "127.0.0.1" not in answer.message


def test_a_server_that_takes_too_long_is_answered_with_408(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow)
    with dialect_before(server.address) as dialect:
        dialect.make_index()
    with dialect_before(server.address, timeout_s=0.2) as dialect:
        query = {"indexName": "idx1", "queryVector": {"float32": [1, 2, 3]}, "topK": 1}
        answer = dialect.post("queryVectors", query)
        assert (answer.status, answer.code) == (408, "RequestTimeout")
        assert "0.2 s" in answer.message


def test_the_endpoint_is_the_one_that_is_configured(server_address: str) -> None:
    door = Door(region=REGION, account_id=ACCOUNT_ID, public_endpoint="vectors.example:443")
    with dialect_before(server_address, door=door) as dialect:
        dialect.make_bucket()
        info = dialect.ask("GET", "bucketInfo").body["BucketInfo"]
        assert info["ExtranetEndpoint"] == info["IntranetEndpoint"] == "vectors.example:443"
        dialect.empty()


# --- Where work is done -------------------------------------------------------------------------


def test_small_bodies_are_read_on_the_loop_and_large_ones_elsewhere(dialect: Dialect) -> None:
    dialect.make_index()
    dialect.put(vector("a"))
    assert dialect.offloaded == []
    small = b'{"indexName":"idx1","keys":["a"],"padding":"' + b"x" * OFFLOAD_BYTES
    assert dialect.post("getVectors", small[: OFFLOAD_BYTES - 2] + b'"}').status == 200
    assert dialect.offloaded == []
    assert dialect.post("getVectors", small + b'"}').status == 200
    assert dialect.offloaded == [1]


def test_large_answers_are_written_elsewhere(dialect: Dialect) -> None:
    dialect.make_index(dimension=1024)
    for row in range(70):
        dialect.put(vector(f"k{row}", [float(row + column) for column in range(1024)]))
    dialect.offloaded.clear()
    asked = {"indexName": "idx1", "returnData": True}
    assert len(dialect.done("POST", "listVectors", asked).body["vectors"]) == 70
    assert dialect.offloaded == [1]


def test_the_largest_page_is_one_call(server_address: str) -> None:
    """Method: 16 MB, which the server sends in five pieces to who does not ask for whole pages."""
    calls: list[Any] = []
    with dialect_before(server_address, on_call=calls.append) as dialect:
        dialect.make_index(dimension=4096)
        numbers = [0.0] * 4095
        for start in range(0, 1_000, 500):
            rows = range(start, start + 500)
            dialect.put(*(vector(f"k{row:03}", [float(row), *numbers]) for row in rows))
        calls.clear()
        asked = {"indexName": "idx1", "returnData": True, "maxResults": 1_000}
        listed = dialect.done("POST", "listVectors", asked).body
        assert calls == ["ListVectors"]
        assert [one["data"]["float32"][0] for one in listed["vectors"]] == list(range(1_000))
        assert "nextToken" not in listed
        dialect.empty()


# --- Before a server that asks for credentials --------------------------------------------------


@pytest.fixture
def guarded_dialect(start_server: StartServer, tmp_path: Path) -> Iterator[Dialect]:
    """The dialect with credentials, before a server with the same."""
    file = tmp_path / "credentials.toml"
    file.write_text(CREDENTIALS)
    server = start_server(credentials=file)
    known: Credentials = parse_credentials(CREDENTIALS)
    with dialect_before(server.address, credentials=known, api_key=TRANSLATOR_KEY) as dialect:
        yield dialect


def test_whoever_signed_may_do_what_its_credential_says(guarded_dialect: Dialect) -> None:
    assert guarded_dialect.send(VECTOR_A).code == "NoSuchBucket"
    assert guarded_dialect.send(signed("PUT", "")).status == 200
    assert guarded_dialect.send(VECTOR_A).code == "NoSuchVectorIndex"
    listed = guarded_dialect.send(signed("GET", "", bucket="", host=SERVICE_HOST)).body
    (bucket,) = listed["ListAllMyBucketsResult"]["Buckets"]
    assert bucket["Name"] == f"acs:ossvector:{REGION}:{ACCOUNT_ID}:{BUCKET}"


def test_whoever_did_not_sign_may_do_nothing(guarded_dialect: Dialect) -> None:
    assert guarded_dialect.send(signed("PUT", "")).status == 200
    for method, flag in (("PUT", ""), ("GET", "bucketInfo"), ("POST", "putVectors"), ("POST", "x")):
        assert guarded_dialect.ask(method, flag).code == "AccessDenied"
    changed = HttpRequest("DELETE", "/", VECTOR_A.headers)
    assert guarded_dialect.send(changed).code == "SignatureDoesNotMatch"
    assert guarded_dialect.send(signed("GET", "bucketInfo")).status == 200


def test_a_translator_whose_key_is_wrong_says_that_it_is_not_the_caller_s_fault(
    start_server: StartServer, tmp_path: Path
) -> None:
    file = tmp_path / "credentials.toml"
    file.write_text(CREDENTIALS)
    server = start_server(credentials=file)
    for key in ("", "vbk_other"):
        with dialect_before(server.address, api_key=key) as dialect:
            answer = dialect.ask("GET", "bucketInfo")
            assert (answer.status, answer.code) == (503, "ServiceUnavailable")
