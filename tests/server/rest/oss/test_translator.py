"""The translator: the order in which a request is looked at, and what it tells the server."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from oss.dialect import (
    ACCOUNT_ID,
    BUCKET,
    BUCKET_HOST,
    REGION,
    SERVICE_HOST,
    Answer,
    check_form,
)
from oss.recorders import answer_to, guarded, translator_on
from oss.signing import CREDENTIALS, SECRET, TRANSLATOR_KEY, VECTOR_A, signed
from vectorbucket.errors import (
    AccessDenied,
    EntityTooLarge,
    InvalidAccessKeyId,
    RequestTimeout,
    ServiceUnavailable,
    VectorBucketError,
)
from vectorbucket.status import to_status
from vectorbucket_server.auth.credentials import parse_credentials
from vectorbucket_server.auth.entries import (
    ACCOUNT_ID as ACCOUNT_ID_ENTRY,
)
from vectorbucket_server.auth.entries import (
    AUTHORIZATION,
    FAULT,
    PRINCIPAL,
    REMOTE_ADDRESS,
    REQUEST_ID,
    decode_fault,
)
from vectorbucket_server.rest.oss.messages import HttpRequest
from vectorbucket_server.rest.oss.translator import Door, Stubs

# --- What the server is told --------------------------------------------------------------------


def test_an_open_door_tells_the_request_id_and_the_account_in_the_host(recorders: Stubs) -> None:
    translator = translator_on(recorders)
    answer = answer_to(translator, HttpRequest("GET", "/?bucketInfo", (("host", BUCKET_HOST),)))
    ((rpc, request, entries),) = recorders.buckets.calls
    assert (rpc, request.bucket) == ("GetVectorBucket", BUCKET)
    request_id = answer.headers["x-oss-request-id"]
    assert entries == {REQUEST_ID: request_id, ACCOUNT_ID_ENTRY: ACCOUNT_ID}


def test_a_bucket_in_the_path_says_no_account(recorders: Stubs) -> None:
    translator = translator_on(recorders)
    answer_to(translator, HttpRequest("PUT", "/photos/", (("host", "127.0.0.1:9000"),)))
    ((_, request, entries),) = recorders.buckets.calls
    assert request.bucket == "photos"
    assert set(entries) == {REQUEST_ID}


def test_a_signed_request_is_made_in_the_name_of_its_credential(recorders: Stubs) -> None:
    assert answer_to(guarded(recorders), VECTOR_A).status == 200
    ((rpc, request, entries),) = recorders.vectors.calls
    assert rpc == "PutVectorsBatch"
    assert (request.bucket, request.index_name, len(request.vectors)) == (BUCKET, "idx1", 1)
    assert entries[AUTHORIZATION] == f"Bearer {TRANSLATOR_KEY}"
    assert entries[PRINCIPAL] == "owner"
    assert entries[ACCOUNT_ID_ENTRY] == ACCOUNT_ID
    assert FAULT not in entries


def test_a_request_that_is_not_signed_is_told_of_without_its_body(recorders: Stubs) -> None:
    bare = HttpRequest("POST", "/?putVectors", (("host", BUCKET_HOST),), VECTOR_A.body)
    answer_to(guarded(recorders), bare)
    ((_, request, entries),) = recorders.vectors.calls
    assert (request.bucket, request.index_name, len(request.vectors)) == (BUCKET, "", 0)
    assert PRINCIPAL not in entries
    assert entries[AUTHORIZATION] == f"Bearer {TRANSLATOR_KEY}"
    assert decode_fault(entries[FAULT]).code == "AccessDenied"


@pytest.mark.parametrize(
    ("body", "index_name", "code"),
    [
        (b'{"indexName":"i","vectors":1}', "i", "VectorIndexParameterInvalid"),
        (b'{"vectors":1,"indexName":"i"}', "i", "VectorIndexParameterInvalid"),
        (b'{"indexName":1,"vectors":[]}', "", "VectorIndexParameterInvalid"),
        (b'{"indexName":"i"', "", "MalformedJson"),
        (b"", "", "MalformedJson"),
    ],
)
def test_what_is_wrong_with_a_body_is_sent_along(
    recorders: Stubs, body: bytes, index_name: str, code: str
) -> None:
    request = HttpRequest("POST", "/?putVectors", (("host", BUCKET_HOST),), body)
    answer_to(translator_on(recorders), request)
    ((_, message, entries),) = recorders.vectors.calls
    assert (message.bucket, message.index_name) == (BUCKET, index_name)
    assert decode_fault(entries[FAULT]).code == code


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/?acl", 400),
        ("GET", "/?putVectors", 405),
        ("PATCH", "/", 405),
        ("POST", "/object?putVectors", 400),
        ("POST", "*", 400),
    ],
)
def test_what_has_no_rpc_is_answered_here_once_it_is_known_who_calls(
    recorders: Stubs, method: str, target: str, status: int
) -> None:
    request = HttpRequest(method, target, (("host", BUCKET_HOST),))
    assert answer_to(translator_on(recorders), request).status == status
    refused = answer_to(guarded(recorders), request)
    assert (refused.status, refused.code) == (403, "AccessDenied")
    if target.startswith("/?"):
        known = signed(method, target.removeprefix("/?"))
        assert answer_to(guarded(recorders), known).status == status
    assert not any(recorder.calls for recorder in recorders)


def test_a_request_without_a_bucket_is_refused_where_one_is_needed(recorders: Stubs) -> None:
    request = HttpRequest("POST", "/?putVectors", (("host", SERVICE_HOST),))
    assert answer_to(translator_on(recorders), request).code == "InvalidVectorBucketName"
    assert answer_to(guarded(recorders), request).code == "AccessDenied"
    known = signed("POST", "putVectors", bucket="", host=SERVICE_HOST)
    assert answer_to(guarded(recorders), known).code == "InvalidVectorBucketName"
    assert not any(recorder.calls for recorder in recorders)


def test_a_signature_is_good_in_path_style_too(recorders: Stubs) -> None:
    request = signed("GET", "bucketInfo", host="127.0.0.1:9000")
    in_path = HttpRequest("GET", f"/{BUCKET}/?bucketInfo", request.headers)
    assert answer_to(guarded(recorders), in_path).status == 200
    ((_, message, entries),) = recorders.buckets.calls
    assert (message.bucket, entries[PRINCIPAL]) == (BUCKET, "owner")
    assert ACCOUNT_ID_ENTRY not in entries


def test_a_presigned_request_is_good_and_its_parameters_are_no_flags(recorders: Stubs) -> None:
    target = (
        "/?bucketInfo&x-oss-credential=test-ak%2F20231216%2Fcn-hangzhou%2Foss%2Faliyun_v4_request"
        "&x-oss-date=20231216T162057Z&x-oss-expires=600"
        "&x-oss-signature-version=OSS4-HMAC-SHA256"
        "&x-oss-signature=c17ef1db0a791f0ce661c3ac4a3f909de31c365aee919c1cb5b32db3ad9ab787"
    )
    request = HttpRequest("GET", target, (("host", BUCKET_HOST),))
    assert answer_to(guarded(recorders), request).status == 200
    assert recorders.buckets.calls[0][2][PRINCIPAL] == "owner"


def test_the_credentials_are_asked_for_with_every_request(recorders: Stubs) -> None:
    in_force = [
        parse_credentials(CREDENTIALS.replace(SECRET, "other")),
        parse_credentials(CREDENTIALS),
    ]
    translator = translator_on(recorders, credentials=lambda: in_force.pop(0))
    for code in ("SignatureDoesNotMatch", None):
        answer_to(translator, VECTOR_A)
        fault = recorders.vectors.calls[-1][2].get(FAULT)
        assert (fault and decode_fault(fault).code) == code


@pytest.mark.parametrize("flag", ["queryVectorsFusion", "putVectorIndexFusion"])
def test_fusion_is_asked_for_as_its_nearest_with_a_fault(recorders: Stubs, flag: str) -> None:
    request = HttpRequest("POST", f"/?{flag}", (("host", BUCKET_HOST),), b'{"indexName":"idx1"}')
    answer_to(translator_on(recorders), request)
    ((rpc, message, entries),) = recorders.vectors.calls + recorders.indexes.calls
    assert rpc == ("QueryVectors" if "query" in flag else "PutVectorIndex")
    assert (message.bucket, message.index_name) == (BUCKET, "idx1")
    fault = decode_fault(entries[FAULT])
    assert (fault.code, "is not supported" in fault.message) == (
        "VectorIndexParameterInvalid",
        True,
    )


def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(recorders: Stubs) -> None:
    request = HttpRequest("POST", "/?policy", (("host", BUCKET_HOST),))
    answer = answer_to(translator_on(recorders), request)
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, PUT")


def test_the_server_is_told_where_a_request_came_from(recorders: Stubs) -> None:
    head = ("GET", "/?bucketInfo", (("host", BUCKET_HOST),))
    for address in ("10.0.0.7:4711", ""):
        answer_to(translator_on(recorders), HttpRequest(*head, remote_address=address))
        entries = recorders.buckets.calls[-1][2]
        assert entries.get(REMOTE_ADDRESS, "") == address


# --- What the server answers --------------------------------------------------------------------


def aio_error(code: grpc.StatusCode, details: str = "") -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing, details, None)


def aio_error_of(error: VectorBucketError) -> grpc.aio.AioRpcError:
    """Return how a call ends that the server answers with an error."""
    status = to_status(error, "A" * 24)
    rich = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    code = next(code for code in grpc.StatusCode if code.value[0] == error.grpc_code)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), rich, status.message, None)


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (aio_error(grpc.StatusCode.UNAVAILABLE), 503, "ServiceUnavailable"),
        (aio_error(grpc.StatusCode.DEADLINE_EXCEEDED), 408, "RequestTimeout"),
        (
            aio_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (2 vs. 1)"),
            413,
            "EntityTooLarge",
        ),
        (aio_error(grpc.StatusCode.UNKNOWN, "a secret"), 500, "InternalError"),
        (aio_error(grpc.StatusCode.UNAUTHENTICATED), 503, "ServiceUnavailable"),
        (grpc.aio.UsageError("Channel is closed."), 503, "ServiceUnavailable"),
    ],
)
def test_however_a_call_ends_it_is_answered_in_the_form_of_the_dialect(
    recorders: Stubs, failure: Exception, status: int, code: str
) -> None:
    recorders.buckets.failure = failure
    request = HttpRequest("GET", "/?bucketInfo", (("host", BUCKET_HOST),))
    answer = answer_to(translator_on(recorders), request)
    assert (answer.status, answer.code) == (status, code)
    assert "secret" not in answer.message


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (
            InvalidAccessKeyId("no such key", details={"principal": "owner"}),
            403,
            "InvalidAccessKeyId",
        ),
        (InvalidAccessKeyId("no such key"), 503, "ServiceUnavailable"),
        (
            AccessDenied("only a translator", details={"entry": PRINCIPAL}),
            503,
            "ServiceUnavailable",
        ),
        (
            AccessDenied("only a translator", details={"entry": REQUEST_ID}),
            503,
            "ServiceUnavailable",
        ),
        (AccessDenied("'a' may not", details={"principal": "a"}), 403, "AccessDenied"),
    ],
)
def test_what_is_wrong_with_the_translator_is_told_as_such(
    recorders: Stubs, error: VectorBucketError, status: int, code: str
) -> None:
    recorders.vectors.failure = aio_error_of(error)
    answer = answer_to(guarded(recorders), VECTOR_A)
    assert (answer.status, answer.code) == (status, code)
    assert ("its operator has to look at that key" in answer.message) == (status == 503)


def test_a_deadline_is_told_in_the_same_words_whoever_saw_it_first(recorders: Stubs) -> None:
    request = HttpRequest("GET", "/?bucketInfo", (("host", BUCKET_HOST),))
    told = []
    for failure in (
        aio_error(grpc.StatusCode.DEADLINE_EXCEEDED),
        aio_error_of(RequestTimeout("the call's deadline passed")),
    ):
        recorders.buckets.failure = failure
        told.append(answer_to(translator_on(recorders), request).message)
    assert told[0].startswith("the server did not answer within 60 s; what")
    assert told[1] == told[0].replace(" s;", " s (the call's deadline passed);")


def test_a_missing_access_key_is_told_as_such_and_not_as_the_translator_s(recorders: Stubs) -> None:
    recorders.vectors.failure = aio_error(grpc.StatusCode.UNAUTHENTICATED)
    unknown = dict(VECTOR_A.headers)
    unknown["authorization"] = unknown["authorization"].replace("test-ak", "nobody")
    request = HttpRequest("POST", VECTOR_A.target, tuple(unknown.items()))
    answer = answer_to(guarded(recorders), request)
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
    assert answer.message == "The OSS Access Key Id you provided does not exist in our records."


def test_what_a_listener_refuses_is_told_in_the_same_form(recorders: Stubs) -> None:
    translator = translator_on(recorders)
    for error, status in (
        (EntityTooLarge("too large"), 413),
        (ServiceUnavailable("stopping"), 503),
    ):
        response = translator.refused(error, "photos-1.h")
        check_form(response)
        assert response.status == status
        assert Answer(response).body["Error"]["HostId"] == "photos-1.h"
    assert Answer(translator.refused(EntityTooLarge("x"))).body["Error"]["HostId"] == ""


# --- The door -----------------------------------------------------------------------------------


def test_base_domains_say_what_names_a_bucket(recorders: Stubs) -> None:
    door = Door(region=REGION, account_id=ACCOUNT_ID, base_domains=("Node-7.Example",))
    translator = translator_on(recorders, door=door)
    for host, bucket in (("node-7.example", ""), ("photos-1.node-7.example:80", "photos")):
        answer_to(
            translator, HttpRequest("GET", "/" if not bucket else "/?bucketInfo", (("host", host),))
        )
    (listing, showing) = recorders.buckets.calls
    assert listing[0] == "ListVectorBuckets"
    assert (showing[0], showing[1].bucket) == ("GetVectorBucket", "photos")
