"""The order in which every RPC is checked, shown for each over a live server.

Authentication, rights, the bucket's existence, the body's JSON, the index's existence, the rest.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from policy_cases import hash_of
from rpc import BUCKET, INDEX, Entry, Refusal, Stubs, bearer, refused, saying, stubs_of, vector_of
from rpc_calls import CALLS, KEY, OPERATED_CALLS, OPERATOR_CALLS, POLICY, sight_of
from vectorbucket.errors import (
    AccessDenied,
    InvalidArgument,
    MalformedJson,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket.v1 import (
    bucket_service_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_service_pb2,
)
from vectorbucket_server.app import running_server
from vectorbucket_server.auth.entries import (
    ACCOUNT_ID,
    FAULT,
    PRINCIPAL,
    REMOTE_ADDRESS,
    REQUEST_ID,
    encode_fault,
)
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings

ACCOUNT = "1234567890"
CREDENTIALS = f"""
[[credential]]
name = "owner"
account_id = "{ACCOUNT}"
owner = true
api_keys = ["{hash_of("of-owner")}"]

[[credential]]
name = "guest"
account_id = "{ACCOUNT}"
api_keys = ["{hash_of("of-guest")}"]

[[credential]]
name = "translator"
account_id = "{ACCOUNT}"
impersonate = true
api_keys = ["{hash_of("of-translator")}"]
"""

OWNER, GUEST, TRANSLATOR = map(bearer, ("of-owner", "of-guest", "of-translator"))
AS_OWNER: tuple[Entry, ...] = (TRANSLATOR, (PRINCIPAL, "owner"))
AS_GUEST: tuple[Entry, ...] = (TRANSLATOR, (PRINCIPAL, "guest"))

MODULES = (bucket_service_pb2, index_service_pb2, vector_service_pb2, operations_service_pb2)

ON_ACCOUNT = {"ListVectorBuckets"}
MAKE_BUCKET = {"PutVectorBucket"}
ON_BUCKET = {rpc for rpc in CALLS if rpc.endswith(("Policy", "Logging"))} | {
    "GetVectorBucket",
    "DeleteVectorBucket",
    "ListVectorIndexes",
}
MAKE_INDEX = {"PutVectorIndex"}
ON_INDEX = set(CALLS) - ON_ACCOUNT - MAKE_BUCKET - ON_BUCKET - MAKE_INDEX

TORN = MalformedJson("the body is no JSON at byte 7")
FAULTS = (TORN, VectorIndexParameterInvalid("topK is a text", field="topK"), InvalidArgument("odd"))

every_rpc = pytest.mark.parametrize("rpc", CALLS)


def fault_of(error: VectorBucketError) -> Entry:
    """Return the entry by which a translator tells of an error."""
    return (FAULT, encode_fault(error))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stubs]:
    """Stubs of one server with credentials, for calls that are refused and so change nothing."""
    folder = tmp_path_factory.mktemp("order")
    (folder / "credentials.toml").write_text(CREDENTIALS)
    settings = Settings(
        engine="memory",
        grpc_address="127.0.0.1:0",
        credentials=folder / "credentials.toml",
        bucket_log_dir=folder / "logs",
    )
    log = make_logger("json", "error", io.StringIO())
    with running_server(settings, log=log) as server, stubs_of(server.address) as stubs:
        furnish(saying(stubs, OWNER), BUCKET)
        yield stubs


def furnish(owner: Stubs, bucket: str) -> None:
    """Make a bucket with everything in it that a call could change."""
    owner.make_index(bucket)
    owner.put(vector_of(KEY), bucket=bucket)
    owner.buckets.PutBucketPolicy(
        bucket_service_pb2.PutBucketPolicyRequest(bucket=bucket, policy=POLICY)
    )
    CALLS["PutBucketLogging"](owner, bucket, "")


def refusal_to(
    stubs: Stubs, rpc: str, *entries: Entry, bucket: str = BUCKET, index_name: str = INDEX
) -> Refusal:
    return refused(lambda: CALLS[rpc](saying(stubs, *entries), bucket, index_name))


def test_kinds_of_rpcs_are_all_rpcs_of_the_contract() -> None:
    names = {
        method.name
        for module in MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert names == {*CALLS, *OPERATED_CALLS, *OPERATOR_CALLS}  # see test_operations_rights.py
    assert len(ON_INDEX) == 10


@every_rpc
def test_good_call_of_the_owner_is_served(guarded: Stubs, rpc: str) -> None:
    owner = saying(guarded, OWNER)
    bucket = f"for-{rpc.lower()}"
    if rpc not in MAKE_BUCKET:
        furnish(owner, bucket)
    if rpc == "DeleteVectorBucket":
        CALLS["DeleteVectorIndex"](owner, bucket, INDEX)
    CALLS[rpc](owner, bucket, "another" if rpc in MAKE_INDEX else INDEX)
    if rpc != "DeleteVectorBucket":
        clear(owner, bucket)


def clear(owner: Stubs, bucket: str) -> None:
    """Delete a bucket with its indexes: there may be ten buckets at once."""
    for index_name in (INDEX, "another"):
        with contextlib.suppress(grpc.RpcError):
            CALLS["DeleteVectorIndex"](owner, bucket, index_name)
    CALLS["DeleteVectorBucket"](owner, bucket, "")


@every_rpc
@pytest.mark.parametrize(
    "entries", [(), (bearer("wrong"),), (("authorization", "Basic of-owner"),)]
)
def test_call_without_a_good_key_is_refused_first_of_all(
    guarded: Stubs, rpc: str, entries: tuple[Entry, ...]
) -> None:
    before = sight_of(saying(guarded, OWNER), BUCKET)
    for bucket in (BUCKET, "nowhere", "NO"):
        refusal = refusal_to(guarded, rpc, *entries, fault_of(TORN), bucket=bucket)
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert refusal.reason == "ERROR_REASON_INVALID_ACCESS_KEY_ID"
    assert sight_of(saying(guarded, OWNER), BUCKET) == before


@every_rpc
def test_caller_who_may_not_is_refused_before_anything_is_looked_up(
    guarded: Stubs, rpc: str
) -> None:
    before = sight_of(saying(guarded, OWNER), BUCKET)
    for bucket, index_name in ((BUCKET, INDEX), (BUCKET, "none"), ("nowhere", INDEX), ("NO", "")):
        for fault in FAULTS:
            place: dict[str, Any] = {"bucket": bucket, "index_name": index_name}
            refusal = refusal_to(guarded, rpc, *AS_GUEST, fault_of(fault), **place)
            assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert sight_of(saying(guarded, OWNER), BUCKET) == before


@every_rpc
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_fault_ends_every_call_and_nothing_is_changed(
    guarded: Stubs, rpc: str, fault: VectorBucketError
) -> None:
    owner = saying(guarded, OWNER)
    before = sight_of(owner, BUCKET)
    for bucket in (BUCKET, "another") if rpc in MAKE_BUCKET else (BUCKET,):
        refusal = refusal_to(guarded, rpc, *AS_OWNER, fault_of(fault), bucket=bucket)
        assert refusal.reason == fault.reason
        assert refusal.message == fault.message
        assert refusal.field == fault.field
    assert sight_of(owner, BUCKET) == before
    assert sight_of(owner, "another") == []


@pytest.mark.parametrize("rpc", sorted(ON_BUCKET | MAKE_INDEX | ON_INDEX))
def test_missing_bucket_is_told_before_every_fault(guarded: Stubs, rpc: str) -> None:
    for fault in FAULTS:
        refusal = refusal_to(guarded, rpc, *AS_OWNER, fault_of(fault), bucket="nowhere")
        assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"


@pytest.mark.parametrize("rpc", sorted(ON_INDEX))
def test_missing_index_is_told_after_broken_json_and_before_other_faults(
    guarded: Stubs, rpc: str
) -> None:
    for fault in FAULTS:
        refusal = refusal_to(guarded, rpc, *AS_OWNER, fault_of(fault), index_name="none")
        expected = TORN.reason if fault is TORN else "ERROR_REASON_NO_SUCH_VECTOR_INDEX"
        assert refusal.reason == expected


@every_rpc
def test_fault_of_a_signature_is_told_before_rights_and_existence(guarded: Stubs, rpc: str) -> None:
    request_id = "0123456789ABCDEF01234567"
    fault = AccessDenied("the signature has expired")
    for bucket in (BUCKET, "nowhere"):
        said = (TRANSLATOR, (REQUEST_ID, request_id), fault_of(fault))
        refusal = refusal_to(guarded, rpc, *said, bucket=bucket)
        assert (refusal.message, refusal.request_id) == (fault.message, request_id)


@every_rpc
def test_translator_calls_as_whom_it_names_and_under_the_id_it_names(
    guarded: Stubs, rpc: str
) -> None:
    request_id = "0123456789ABCDEF01234567"
    said = (TRANSLATOR, (PRINCIPAL, "guest"), (REQUEST_ID, request_id))
    refusal = refusal_to(guarded, rpc, *said)
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert refusal.facts is not None
    assert refusal.facts["principal"] == "guest"
    assert refusal.request_id == request_id


@every_rpc
def test_nobody_but_a_translator_may_send_what_translators_send(guarded: Stubs, rpc: str) -> None:
    entries: tuple[Entry, ...] = (
        (PRINCIPAL, "owner"),
        (REQUEST_ID, "0123456789ABCDEF01234567"),
        (REMOTE_ADDRESS, "192.0.2.1:5"),
        fault_of(TORN),
    )
    for entry in entries:
        refusal = refusal_to(guarded, rpc, OWNER, entry)
        assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
        assert refusal.facts is not None
        assert refusal.facts["entry"] == entry[0]


@every_rpc
def test_translator_that_names_nobody_is_refused(guarded: Stubs, rpc: str) -> None:
    before = sight_of(saying(guarded, OWNER), BUCKET)
    refusal = refusal_to(guarded, rpc, TRANSLATOR)
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert refusal.facts is not None
    assert refusal.facts["entry"] == PRINCIPAL
    assert sight_of(saying(guarded, OWNER), BUCKET) == before


@every_rpc
def test_account_that_is_named_must_be_the_buckets(guarded: Stubs, rpc: str) -> None:
    owner = saying(guarded, OWNER)
    before = sight_of(owner, BUCKET)
    refusal = refusal_to(guarded, rpc, OWNER, (ACCOUNT_ID, "2222222222"))
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert sight_of(owner, BUCKET) == before
    right = saying(guarded, OWNER, (ACCOUNT_ID, ACCOUNT))
    CALLS["GetVectorBucket"](right, BUCKET, INDEX)


# --- The open server ------------------------------------------------------------------------------


@every_rpc
def test_open_server_asks_nobody_who_he_is(stubs: Stubs, rpc: str) -> None:
    stubs.make_index()
    stubs.put(vector_of(KEY))
    stubs.buckets.PutBucketPolicy(
        bucket_service_pb2.PutBucketPolicyRequest(
            bucket=BUCKET, policy=POLICY.replace("Allow", "Deny").replace("nobody", "*")
        )
    )
    if rpc == "DeleteVectorBucket":
        CALLS["DeleteVectorIndex"](stubs, BUCKET, INDEX)
    bucket = "another" if rpc in MAKE_BUCKET else BUCKET
    said = saying(stubs, bearer("whatever"), (ACCOUNT_ID, ACCOUNT))
    CALLS[rpc](said, bucket, "another" if rpc in MAKE_INDEX else INDEX)


@every_rpc
def test_open_server_raises_faults_and_knows_its_account(stubs: Stubs, rpc: str) -> None:
    stubs.make_index()
    stubs.put(vector_of(KEY))
    before = sight_of(stubs, BUCKET)
    for fault in FAULTS:
        assert refusal_to(stubs, rpc, fault_of(fault)).message == fault.message
    refusal = refusal_to(stubs, rpc, (ACCOUNT_ID, "2222222222"))
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    for word in ("2222222222", ACCOUNT, "account_id"):
        assert word in refusal.message
    refusal = refusal_to(stubs, rpc, (PRINCIPAL, "owner"))
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert sight_of(stubs, BUCKET) == before
