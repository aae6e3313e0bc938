"""Which bucket or index a request means, who may ask for it, and what is told when, in which order.

What every RPC does with this is shown in test_order_of_checks.py.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from vectorbucket.errors import (
    AccessDenied,
    InvalidArgument,
    InvalidVectorBucketName,
    MalformedJson,
    NoSuchBucket,
    NoSuchVectorIndex,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket.limits import OSS, UNLIMITED
from vectorbucket_server.auth.policy import parse_statements
from vectorbucket_server.auth.principal import Caller, Principal, begin
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Bucket, DistanceMetric, Index
from vectorbucket_server.service.resources import Resources

ANYBODY = Principal("", "1", unrestricted=True)
OWNER = Principal("owner", "1", owner=True)
NOBODY = Principal("nobody", "1")
STRANGER = Principal("stranger", "2", owner=True)
OPERATOR = Principal("operator", "3", operator=True)


def reader(*actions: str, of: str = "*") -> Principal:
    """Return a principal who may do these things."""
    raw = [{"effect": "Allow", "action": list(actions), "resource": [of]}]
    return Principal("reader", "1", statements=parse_statements(raw, "statement"))


@pytest.fixture
def engine() -> MemoryEngine:
    engine = MemoryEngine()
    engine.open()
    engine.put_bucket(Bucket("photos", "1", 0), buckets_max=10)
    engine.put_index(Index("photos", "faces", 4, DistanceMetric.COSINE), indexes_max=10)
    return engine


@pytest.fixture
def resources(engine: MemoryEngine) -> Resources:
    return Resources(engine, OSS, region="cn-hangzhou")


def asked(find: Callable[..., Any], *what: str, by: Principal = ANYBODY, **said: Any) -> Any:
    """Return what a method finds for a caller."""

    def ask() -> Any:
        begin(Caller(by, **said))
        return find(*what)

    return contextvars.copy_context().run(ask)


# --- What exists ----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [ANYBODY, OWNER, reader("oss:*")], ids=lambda one: one.name)
def test_what_exists_is_found_by_those_who_may(resources: Resources, by: Principal) -> None:
    assert asked(resources.account, "ListVectorBuckets", by=by) == "1"
    assert asked(resources.new_bucket, "PutVectorBucket", "videos", by=by) == "1"
    assert asked(resources.bucket, "GetVectorBucket", "photos", by=by).name == "photos"
    assert asked(resources.new_index, "PutVectorIndex", "photos", "new", by=by).name == "photos"
    assert asked(resources.index, "QueryVectors", "photos", "faces", by=by).dimension == 4


@pytest.mark.parametrize(
    ("bucket", "index_name", "error"),
    [
        ("", "faces", InvalidVectorBucketName),
        ("NO", "faces", InvalidVectorBucketName),
        ("NO", "", InvalidVectorBucketName),
        ("nowhere", "faces", NoSuchBucket),
        ("nowhere", "no-name", NoSuchBucket),
        ("photos", "", VectorIndexParameterInvalid),
        ("photos", "no-name", VectorIndexParameterInvalid),
        ("photos", "nothing", NoSuchVectorIndex),
    ],
)
def test_what_is_missing_or_misnamed_is_told_in_the_order_of_the_contract(
    resources: Resources, bucket: str, index_name: str, error: type[VectorBucketError]
) -> None:
    with pytest.raises(error):
        asked(resources.index, "QueryVectors", bucket, index_name)


def test_names_are_judged_by_the_limits_in_force(engine: MemoryEngine) -> None:
    lenient = Resources(engine, UNLIMITED, region="cn-hangzhou")
    with pytest.raises(NoSuchVectorIndex):
        asked(lenient.index, "QueryVectors", "photos", "no-name")


@pytest.mark.parametrize(
    ("bucket", "error"), [("x", InvalidVectorBucketName), ("nowhere", NoSuchBucket)]
)
def test_missing_and_misnamed_buckets_are_told_apart(
    resources: Resources, bucket: str, error: type[VectorBucketError]
) -> None:
    for find, *names in (
        (resources.bucket, "GetVectorBucket", bucket),
        (resources.new_index, "PutVectorIndex", bucket, "faces"),
    ):
        with pytest.raises(error):
            asked(find, *names)


def test_names_of_what_is_to_be_are_checked(resources: Resources) -> None:
    with pytest.raises(InvalidVectorBucketName):
        asked(resources.new_bucket, "PutVectorBucket", "No")
    with pytest.raises(VectorIndexParameterInvalid):
        asked(resources.new_index, "PutVectorIndex", "photos", "1")


def test_operator_reaches_the_place_of_every_index_and_nothing_in_it(resources: Resources) -> None:
    assert asked(resources.operator, "PutBackup", by=OPERATOR) is None
    found = asked(resources.operated_index, "LoadVectorIndex", "photos", "faces", by=OPERATOR)
    assert found == asked(resources.index, "QueryVectors", "photos", "faces")
    with pytest.raises(AccessDenied):
        asked(resources.index, "QueryVectors", "photos", "faces", by=OPERATOR)


def test_endless_name_of_a_bucket_is_told_cut_to_who_may_not_operate(resources: Resources) -> None:
    with pytest.raises(AccessDenied) as caught:
        asked(resources.operated_index, "LoadVectorIndex", "b" * 3_000_000, "i", by=NOBODY)
    assert len(caught.value.message) < 300
    assert len(caught.value.details["bucket"]) < 300


# --- Who may --------------------------------------------------------------------------------------


def test_denied_caller_is_told_who_may_not_do_what_to_what(resources: Resources) -> None:
    with pytest.raises(AccessDenied) as caught:
        asked(resources.index, "PutVectorsBatch", "photos", "faces", by=NOBODY)
    arn = "acs:ossvector:cn-hangzhou:1:photos/faces"
    assert caught.value.message == f"'nobody' may not do oss:PutVectors on '{arn}'"
    assert caught.value.details == {
        "principal": "nobody",
        "action": "oss:PutVectors",
        "resource": arn,
    }


def test_denied_caller_is_told_the_longest_legal_name_whole(resources: Resources) -> None:
    bucket, index_name = "b" * 63, "i" * 63
    with pytest.raises(AccessDenied) as caught:
        asked(resources.index, "QueryVectors", bucket, index_name, by=NOBODY)
    assert caught.value.details["resource"].endswith(f":{bucket}/{index_name}")
    assert f"{bucket}/{index_name}'" in caught.value.message


def test_denied_caller_is_told_endless_names_cut(resources: Resources) -> None:
    for names in (("photos", "i" * 3_000_000), ("b" * 3_000_000, "faces")):
        with pytest.raises(AccessDenied) as caught:
            asked(resources.index, "QueryVectors", *names, by=NOBODY)
        assert len(caught.value.message) < 300
        assert len(caught.value.details["resource"]) < 150


# --- Where logs may go ----------------------------------------------------------------------------


def test_requests_are_logged_in_the_name_of_nobody_elses_bucket(
    engine: MemoryEngine, resources: Resources
) -> None:
    engine.put_bucket(Bucket("audit", "1", 0), buckets_max=10)
    engine.put_bucket(Bucket("theirs", "2", 0), buckets_max=10)
    photos = engine.get_bucket("photos")
    for target in ("photos", "audit", "nowhere"):
        resources.check_log_target(photos, target)
    with pytest.raises(AccessDenied) as caught:
        resources.check_log_target(photos, "theirs")
    assert "'theirs'" in caught.value.message
    assert caught.value.details == {"bucket": "photos", "target_bucket": "theirs"}


@pytest.mark.parametrize("bucket", ["photos", "nowhere", "NO", "", "a/../b"])
@pytest.mark.parametrize("index_name", ["faces", "nothing", "no-name", "", "*"])
def test_denied_caller_does_not_hear_what_exists(
    resources: Resources, bucket: str, index_name: str
) -> None:
    for find, *names in (
        (resources.new_bucket, "PutVectorBucket", bucket),
        (resources.bucket, "GetVectorBucket", bucket),
        (resources.new_index, "PutVectorIndex", bucket, index_name),
        (resources.index, "QueryVectors", bucket, index_name),
    ):
        with pytest.raises(AccessDenied):
            asked(find, *names, by=NOBODY, fault=MalformedJson("torn"))
    with pytest.raises(AccessDenied):
        asked(resources.account, "ListVectorBuckets", by=NOBODY)


def test_policy_of_the_bucket_counts_as_soon_as_it_is_there(
    engine: MemoryEngine, resources: Resources
) -> None:
    def ask() -> Any:
        return asked(resources.index, "QueryVectors", "photos", "faces", by=STRANGER)

    with pytest.raises(AccessDenied):
        ask()
    engine.set_bucket_policy(
        "photos",
        '{"Version":"1","Statement":[{"Effect":"Allow","Principal":["2"],'
        '"Action":["oss:QueryVectors"],"Resource":["acs:ossvector:*:1:photos/*"]}]}',
    )
    assert ask().name == "faces"
    engine.set_bucket_policy("photos", "")
    with pytest.raises(AccessDenied):
        ask()


def test_name_that_somebody_else_has_is_no_matter_of_rights(resources: Resources) -> None:
    # It is the engine that says so: names are unique in a server.
    assert asked(resources.new_bucket, "PutVectorBucket", "photos", by=STRANGER) == "2"


# --- The account that the caller names ------------------------------------------------------------


@pytest.mark.parametrize("by", [ANYBODY, OWNER], ids=["open", "owner"])
def test_right_account_changes_nothing(resources: Resources, by: Principal) -> None:
    assert asked(resources.account, "ListVectorBuckets", by=by, account_id="1") == "1"
    assert asked(resources.new_bucket, "PutVectorBucket", "new", by=by, account_id="1") == "1"
    found = asked(resources.index, "QueryVectors", "photos", "faces", by=by, account_id="1")
    assert found.name == "faces"


def test_bucket_of_another_account_than_named_is_not_there(
    engine: MemoryEngine, resources: Resources
) -> None:
    engine.put_bucket(Bucket("theirs", "2", 0), buckets_max=10)
    for by in (OWNER, ANYBODY):
        with pytest.raises(NoSuchBucket):
            asked(resources.bucket, "GetVectorBucket", "theirs", by=by, account_id="1")


def test_account_that_is_not_the_callers_is_refused(resources: Resources) -> None:
    for find, *names in (
        (resources.account, "ListVectorBuckets"),
        (resources.new_bucket, "PutVectorBucket", "new"),
        (resources.bucket, "GetVectorBucket", "photos"),
        (resources.index, "QueryVectors", "photos", "faces"),
    ):
        with pytest.raises(AccessDenied):
            asked(find, *names, by=OWNER, account_id="2")


def test_open_server_names_its_account_and_its_setting(resources: Resources) -> None:
    for find, *names in (
        (resources.account, "ListVectorBuckets"),
        (resources.new_bucket, "PutVectorBucket", "new"),
        (resources.bucket, "GetVectorBucket", "photos"),
        (resources.index, "QueryVectors", "photos", "faces"),
        (resources.index, "QueryVectors", "nowhere", "faces"),
    ):
        with pytest.raises(AccessDenied) as caught:
            asked(find, *names, account_id="99")
        for word in ("'99'", "'1'", "account_id"):
            assert word in caught.value.message


def test_open_server_serves_buckets_of_other_accounts_by_their_own_name(
    engine: MemoryEngine, resources: Resources
) -> None:
    engine.put_bucket(Bucket("older", "7", 0), buckets_max=10)
    for account_id in ("", "7"):
        found = asked(resources.bucket, "GetVectorBucket", "older", account_id=account_id)
        assert found.account_id == "7"


# --- Faults ---------------------------------------------------------------------------------------

TORN = MalformedJson("the body is no JSON")
WRONG = VectorIndexParameterInvalid("dimension is a text", field="dimension")


@pytest.mark.parametrize("fault", [TORN, WRONG, InvalidArgument("odd")], ids=lambda one: one.code)
def test_fault_is_raised_when_nothing_else_is_wrong(
    resources: Resources, fault: VectorBucketError
) -> None:
    for find, *names in (
        (resources.account, "ListVectorBuckets"),
        (resources.new_bucket, "PutVectorBucket", "new"),
        (resources.bucket, "GetVectorBucket", "photos"),
        (resources.new_index, "PutVectorIndex", "photos", "new"),
        (resources.index, "QueryVectors", "photos", "faces"),
        (resources.operator, "PutBackup"),
        (resources.operated_index, "LoadVectorIndex", "photos", "faces"),
    ):
        with pytest.raises(type(fault)) as caught:
            asked(find, *names, fault=fault)
        assert caught.value is fault


@pytest.mark.parametrize(
    ("fault", "bucket", "index_name", "error"),
    [
        (TORN, "nowhere", "faces", NoSuchBucket),
        (WRONG, "nowhere", "faces", NoSuchBucket),
        (TORN, "photos", "nothing", MalformedJson),
        (TORN, "photos", "", MalformedJson),
        (WRONG, "photos", "nothing", NoSuchVectorIndex),
        # The name could not be read: what is wrong with it is what the fault says.
        (VectorIndexParameterInvalid("indexName is 5"), "photos", "", VectorIndexParameterInvalid),
    ],
)
def test_fault_has_its_place_between_bucket_and_index(
    resources: Resources,
    fault: VectorBucketError,
    bucket: str,
    index_name: str,
    error: type[VectorBucketError],
) -> None:
    for find in (resources.index, resources.operated_index):
        with pytest.raises(error) as caught:
            asked(find, "QueryVectors", bucket, index_name, fault=fault)
        assert (caught.value is fault) == (error is type(fault))


def test_translator_knows_better_what_is_wrong_with_a_buckets_name(resources: Resources) -> None:
    fault = InvalidVectorBucketName("the host names two buckets")
    for find, *names in (
        (resources.new_bucket, "PutVectorBucket", ""),
        (resources.bucket, "GetVectorBucket", ""),
        (resources.index, "QueryVectors", "", ""),
    ):
        with pytest.raises(InvalidVectorBucketName) as caught:
            asked(find, *names, fault=fault)
        assert caught.value is fault
