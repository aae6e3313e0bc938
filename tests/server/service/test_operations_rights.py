"""Who may call OperationsService, and in which order its calls are checked, over a live server."""

from __future__ import annotations

import io
from collections.abc import Iterator

import grpc
import pytest

from policy_cases import hash_of
from rpc import BUCKET, INDEX, Entry, Stubs, bearer, refused, saying, stubs_of, vector_of
from rpc_calls import KEY, OPERATED_CALLS, OPERATOR_CALLS
from vectorbucket.errors import (
    AccessDenied,
    InvalidArgument,
    MalformedJson,
    VectorIndexParameterInvalid,
)
from vectorbucket.v1 import bucket_service_pb2
from vectorbucket.v1 import operations_service_pb2 as messages
from vectorbucket_server.app import running_server
from vectorbucket_server.auth.entries import (
    ACCOUNT_ID,
    FAULT,
    PRINCIPAL,
    REQUEST_ID,
    encode_fault,
)
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings

ACCOUNT, OTHER = "1234567890", "2222222222"
ALLOW_ALL = """
[[credential.statement]]
effect = "Allow"
action = "*"
resource = "*"
"""
POLICY = (
    '{"Version":"1","Statement":[{"Effect":"Allow","Principal":["*"],'
    '"Action":["oss:*"],"Resource":["*"]}]}'
)
"""A policy that lets everybody do everything that a policy can allow."""


def table(name: str, account_id: str, *members: str) -> str:
    """Return a credential as TOML."""
    lines = (f'name = "{name}"', f'account_id = "{account_id}"', *members)
    return "\n".join(("[[credential]]", *lines, f'api_keys = ["{hash_of(f"of-{name}")}"]', ""))


CREDENTIALS = "".join(
    [
        table("operator", ACCOUNT, "operator = true"),
        table("operatorelsewhere", OTHER, "operator = true"),
        table("owner", ACCOUNT, "owner = true"),
        table("ownerwhooperates", OTHER, "owner = true", "operator = true"),
        table("ownerelsewhere", OTHER, "owner = true"),
        table("guest", ACCOUNT),
        table("allowed", ACCOUNT) + ALLOW_ALL,
        table("stranger", OTHER),
        table("translator", ACCOUNT, "impersonate = true"),
    ]
)

OPERATORS = ("operator", "operatorelsewhere", "ownerwhooperates")
OWNERS = ("owner",)
OTHERS = ("ownerelsewhere", "guest", "allowed", "stranger")
TRANSLATOR = bearer("of-translator")

CALLS = {**OPERATED_CALLS, **OPERATOR_CALLS}
TORN = MalformedJson("the body is no JSON at byte 7")
FAULTS = (TORN, VectorIndexParameterInvalid("topK is a text", field="topK"), InvalidArgument("odd"))

every_rpc = pytest.mark.parametrize("rpc", CALLS)
every_server_rpc = pytest.mark.parametrize("rpc", OPERATOR_CALLS)
every_index_rpc = pytest.mark.parametrize("rpc", OPERATED_CALLS)


@pytest.fixture(scope="module", name="guarded")
def fixture_guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stubs]:
    """Stubs of one server with credentials, with a bucket whose policy allows everything."""
    folder = tmp_path_factory.mktemp("rights")
    (folder / "credentials.toml").write_text(CREDENTIALS)
    settings = Settings(
        data_dir=folder / "data",
        grpc_address="127.0.0.1:0",
        credentials=folder / "credentials.toml",
    )
    log = make_logger("json", "error", io.StringIO())
    with running_server(settings, log=log) as server, stubs_of(server.address) as stubs:
        owner = by(stubs, "owner")
        owner.make_index()
        owner.put(vector_of(KEY))
        owner.buckets.PutBucketPolicy(
            bucket_service_pb2.PutBucketPolicyRequest(bucket=BUCKET, policy=POLICY)
        )
        yield stubs


def by(stubs: Stubs, name: str) -> Stubs:
    """Return the stubs of a caller."""
    return saying(stubs, bearer(f"of-{name}"))


def through(stubs: Stubs, name: str, *entries: Entry) -> Stubs:
    """Return the stubs of a caller for whom a translator calls."""
    return saying(stubs, TRANSLATOR, (PRINCIPAL, name), *entries)


def make(rpc: str, stubs: Stubs, bucket: str = BUCKET, index_name: str = INDEX) -> None:
    """Make a good call, once nothing of an earlier one is in its way."""
    operator = by(stubs, "operator").operations
    names = {one.name for one in operator.ListBackups(messages.ListBackupsRequest()).backups}
    if rpc == "PutBackup" and "made" in names:
        operator.DeleteBackup(messages.DeleteBackupRequest(name="made"))
    if rpc == "DeleteBackup" and "kept" not in names:
        operator.PutBackup(messages.PutBackupRequest(name="kept"))
    CALLS[rpc](stubs, bucket, index_name)


# --- Who may --------------------------------------------------------------------------------------


@every_rpc
@pytest.mark.parametrize("name", OPERATORS)
def test_operator_of_any_account_may_do_all_of_it(guarded: Stubs, rpc: str, name: str) -> None:
    make(rpc, by(guarded, name))
    make(rpc, through(guarded, name))


@every_index_rpc
def test_owner_may_operate_the_indexes_of_its_account(guarded: Stubs, rpc: str) -> None:
    make(rpc, by(guarded, "owner"))


@every_server_rpc
@pytest.mark.parametrize("name", [*OWNERS, *OTHERS])
def test_nobody_else_may_operate_the_server(guarded: Stubs, rpc: str, name: str) -> None:
    refusal = refused(lambda: CALLS[rpc](by(guarded, name), BUCKET, INDEX))
    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.facts == {"code": "AccessDenied", "principal": name, "action": rpc}
    assert "operator = true" in refusal.message


@every_index_rpc
@pytest.mark.parametrize("name", OTHERS)
def test_nobody_else_may_operate_an_index_whatever_policies_say(
    guarded: Stubs, rpc: str, name: str
) -> None:
    refusal = refused(lambda: CALLS[rpc](by(guarded, name), BUCKET, INDEX))
    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.facts == {
        "code": "AccessDenied",
        "principal": name,
        "action": rpc,
        "bucket": BUCKET,
    }


@every_index_rpc
@pytest.mark.parametrize("name", ["guest", "allowed", "stranger"])
def test_who_may_not_does_not_hear_what_is_there(guarded: Stubs, rpc: str, name: str) -> None:
    told = set()
    for bucket, index_name in ((BUCKET, INDEX), (BUCKET, "none"), ("nowhere", INDEX), ("NO", "")):
        for fault in ((), *(((FAULT, encode_fault(one)),) for one in FAULTS)):
            stubs = through(guarded, name, *fault)
            refusal = refused(lambda at=(bucket, index_name), who=stubs: CALLS[rpc](who, *at))  # type: ignore[misc]
            assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
            told.add(refusal.message.replace(repr(bucket), "…"))
    assert len(told) == 1


@every_rpc
@pytest.mark.parametrize("entries", [(), (bearer("wrong"),)], ids=["no key", "a wrong key"])
def test_call_without_a_good_key_is_refused_first_of_all(
    guarded: Stubs, rpc: str, entries: tuple[Entry, ...]
) -> None:
    for bucket in (BUCKET, "nowhere"):
        refusal = refused(lambda at=bucket: CALLS[rpc](saying(guarded, *entries), at, INDEX))  # type: ignore[misc]
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED


@every_rpc
def test_operator_sees_no_vectors_by_that(guarded: Stubs, rpc: str) -> None:
    for name in ("operator", "operatorelsewhere"):
        make(rpc, by(guarded, name))
    guarded_owner = by(guarded, "owner")
    gone = bucket_service_pb2.DeleteBucketPolicyRequest(bucket=BUCKET)
    guarded_owner.buckets.DeleteBucketPolicy(gone)
    try:
        for name in ("operator", "operatorelsewhere"):
            refusal = refused(lambda who=name: by(guarded, who).all_keys())  # type: ignore[misc]
            assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    finally:
        guarded_owner.buckets.PutBucketPolicy(
            bucket_service_pb2.PutBucketPolicyRequest(bucket=BUCKET, policy=POLICY)
        )


# --- In which order -------------------------------------------------------------------------------


@every_rpc
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_fault_ends_every_call(guarded: Stubs, rpc: str, fault: MalformedJson) -> None:
    stubs = through(guarded, "operator", (FAULT, encode_fault(fault)))
    refusal = refused(lambda: CALLS[rpc](stubs, BUCKET, INDEX))
    assert (refusal.reason, refusal.message) == (fault.reason, fault.message)


@every_index_rpc
def test_missing_things_and_faults_are_told_in_the_order_of_every_rpc(
    guarded: Stubs, rpc: str
) -> None:
    for fault in FAULTS:
        for name in ("operatorelsewhere", "owner"):
            stubs = through(guarded, name, (FAULT, encode_fault(fault)))
            refusal = refused(lambda who=stubs: CALLS[rpc](who, "nowhere", INDEX))  # type: ignore[misc]
            assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"
            refusal = refused(lambda who=stubs: CALLS[rpc](who, BUCKET, "none"))  # type: ignore[misc]
            expected = TORN.reason if fault is TORN else "ERROR_REASON_NO_SUCH_VECTOR_INDEX"
            assert refusal.reason == expected


@every_rpc
def test_fault_of_a_signature_is_told_before_rights(guarded: Stubs, rpc: str) -> None:
    fault = AccessDenied("the signature has expired")
    entries = (TRANSLATOR, (REQUEST_ID, "0123456789ABCDEF01234567"), (FAULT, encode_fault(fault)))
    refusal = refused(lambda: CALLS[rpc](saying(guarded, *entries), BUCKET, INDEX))
    assert refusal.message == fault.message


@every_index_rpc
def test_account_that_is_named_must_be_the_buckets(guarded: Stubs, rpc: str) -> None:
    def told(name: str, account_id: str) -> str:
        stubs = saying(guarded, bearer(f"of-{name}"), (ACCOUNT_ID, account_id))
        return refused(lambda: CALLS[rpc](stubs, BUCKET, INDEX)).reason

    assert told("operator", OTHER) == "ERROR_REASON_NO_SUCH_BUCKET"
    assert told("owner", OTHER) == "ERROR_REASON_ACCESS_DENIED"
    assert told("ownerelsewhere", OTHER) == "ERROR_REASON_NO_SUCH_BUCKET"
    make(rpc, saying(guarded, bearer("of-owner"), (ACCOUNT_ID, ACCOUNT)))


# --- The open server ------------------------------------------------------------------------------


def test_open_server_lets_everybody_operate(stubs: Stubs) -> None:
    stubs.make_index()
    said = saying(stubs, bearer("whatever"))
    assert OPERATOR_CALLS["GetServerStatistics"](said, "", "").index_count == 1  # type: ignore[attr-defined]
    OPERATED_CALLS["LoadVectorIndex"](said, BUCKET, INDEX)
    other = saying(stubs, (ACCOUNT_ID, OTHER))
    refusal = refused(lambda: OPERATED_CALLS["LoadVectorIndex"](other, BUCKET, INDEX))
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert OTHER in refusal.message
