"""BucketService through a real server: buckets, policies, logging."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from conftest import StartServer
from policy_cases import hash_of
from rpc import Refusal, Stubs, bearer, index_request, refused, saying, stubs_of
from rpc_calls import CALLS
from vectorbucket.v1 import bucket_pb2
from vectorbucket.v1 import bucket_service_pb2 as messages
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Bucket


def make(stubs: Stubs, *names: str) -> None:
    for name in names:
        stubs.buckets.PutVectorBucket(messages.PutVectorBucketRequest(bucket=name))


def page(
    stubs: Stubs, *, prefix: str = "", marker: str = "", max_keys: int = 0
) -> messages.ListVectorBucketsResponse:
    request = messages.ListVectorBucketsRequest(prefix=prefix, marker=marker, max_keys=max_keys)
    response: messages.ListVectorBucketsResponse = stubs.buckets.ListVectorBuckets(request)
    return response


def names(response: messages.ListVectorBucketsResponse) -> list[str]:
    return [bucket.bucket for bucket in response.buckets]


def test_bucket_shows_who_made_it_when_and_where(start_server: StartServer) -> None:
    with stubs_of(start_server(account_id="42", region="eu-central-1").address) as stubs:
        before_ms = time.time_ns() // 1_000_000
        make(stubs, "photos")
        request = messages.GetVectorBucketRequest(bucket="photos")
        bucket = stubs.buckets.GetVectorBucket(request).bucket
    assert (bucket.bucket, bucket.account_id, bucket.region) == ("photos", "42", "eu-central-1")
    assert before_ms <= bucket.create_time.ToMilliseconds() <= time.time_ns() // 1_000_000


def test_deleted_bucket_is_gone_and_can_be_made_again(stubs: Stubs) -> None:
    make(stubs, "photos")
    stubs.buckets.DeleteVectorBucket(messages.DeleteVectorBucketRequest(bucket="photos"))
    request = messages.GetVectorBucketRequest(bucket="photos")
    refusal = refused(lambda: stubs.buckets.GetVectorBucket(request))
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"
    assert refusal.facts == {"code": "NoSuchBucket", "bucket": "photos"}
    make(stubs, "photos")
    assert names(page(stubs)) == ["photos"]


def test_deleting_what_is_not_there_is_an_error(stubs: Stubs) -> None:
    request = messages.DeleteVectorBucketRequest(bucket="nowhere")
    refusal = refused(lambda: stubs.buckets.DeleteVectorBucket(request))
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"


def test_bucket_can_be_deleted_once_its_indexes_are(stubs: Stubs) -> None:
    make(stubs, "photos")
    stubs.indexes.PutVectorIndex(index_request("photos"))
    request = messages.DeleteVectorBucketRequest(bucket="photos")
    assert refused(lambda: stubs.buckets.DeleteVectorBucket(request)).code.name
    assert names(page(stubs)) == ["photos"]


def test_no_buckets_are_an_empty_page(stubs: Stubs) -> None:
    assert page(stubs) == messages.ListVectorBucketsResponse()


def test_pages_follow_each_other_by_name_without_a_gap(stubs: Stubs) -> None:
    made = [f"bucket-{number}" for number in (3, 1, 4, 10, 5, 9, 2)]
    make(stubs, *made)
    listed, marker = list[str](), ""
    for _ in range(4):
        response = page(stubs, marker=marker, max_keys=2)
        listed += names(response)
        marker = response.next_marker
        assert response.is_truncated == bool(marker)
    assert listed == sorted(made)
    assert marker == ""


def test_page_that_holds_exactly_the_rest_is_the_last(stubs: Stubs) -> None:
    make(stubs, "aaa", "bbb")
    response = page(stubs, max_keys=2)
    assert (names(response), response.is_truncated) == (["aaa", "bbb"], False)


def test_marker_stays_good_when_its_bucket_is_gone(stubs: Stubs) -> None:
    make(stubs, "aaa", "bbb", "ccc")
    marker = page(stubs, max_keys=2).next_marker
    stubs.buckets.DeleteVectorBucket(messages.DeleteVectorBucketRequest(bucket=marker))
    assert names(page(stubs, marker=marker)) == ["ccc"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("py", ["py-a", "py-b"]), ("py-b", ["py-b"]), ("x", []), ("", ["go-a", "py-a", "py-b"])],
)
def test_prefix_narrows_the_listing(stubs: Stubs, prefix: str, expected: list[str]) -> None:
    make(stubs, "py-b", "go-a", "py-a")
    assert names(page(stubs, prefix=prefix)) == expected


# --- Policies -------------------------------------------------------------------------------------

POLICY = (
    '{ "Version" : "1",\n\t"Statement": [{"Effect":"Allow", "Principal":["2222222222"],'
    ' "Action":["oss:GetVectors"], "Resource":["acs:ossvector:*:*:photos/*"], "Sid": "ü🜁"}]}\n'
)
"""With spaces and letters that no encoder would write so."""


def put_policy(stubs: Stubs, policy: str, bucket: str = "photos") -> None:
    stubs.buckets.PutBucketPolicy(messages.PutBucketPolicyRequest(bucket=bucket, policy=policy))


def policy_of(stubs: Stubs, bucket: str = "photos") -> str:
    request = messages.GetBucketPolicyRequest(bucket=bucket)
    policy: str = stubs.buckets.GetBucketPolicy(request).policy
    return policy


def delete_policy(stubs: Stubs, bucket: str = "photos") -> None:
    stubs.buckets.DeleteBucketPolicy(messages.DeleteBucketPolicyRequest(bucket=bucket))


def no_policy(stubs: Stubs) -> Refusal:
    refusal = refused(lambda: policy_of(stubs))
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET_POLICY"
    assert refusal.facts == {"code": "NoSuchBucketPolicy", "bucket": "photos"}
    return refusal


def test_policy_comes_back_byte_for_byte(stubs: Stubs) -> None:
    make(stubs, "photos")
    put_policy(stubs, POLICY)
    assert policy_of(stubs) == POLICY
    compact = POLICY.replace(" ", "").strip()
    put_policy(stubs, compact)
    assert policy_of(stubs) == compact


def test_bucket_without_a_policy_says_so_before_and_after(stubs: Stubs) -> None:
    make(stubs, "photos")
    no_policy(stubs)
    put_policy(stubs, POLICY)
    delete_policy(stubs)
    no_policy(stubs)
    delete_policy(stubs)


def test_policy_goes_with_its_bucket(stubs: Stubs) -> None:
    make(stubs, "photos")
    put_policy(stubs, POLICY)
    stubs.buckets.DeleteVectorBucket(messages.DeleteVectorBucketRequest(bucket="photos"))
    make(stubs, "photos")
    no_policy(stubs)


@pytest.mark.parametrize(
    ("policy", "reason", "field"),
    [
        ("", "MALFORMED_JSON", "policy"),
        ("{", "MALFORMED_JSON", "policy"),
        ('{"Version":"1","Version":"1"}', "MALFORMED_JSON", "policy"),
        ("[" * 5_000, "MALFORMED_JSON", "policy"),
        ("[]", "INVALID_POLICY_DOCUMENT", "policy"),
        ('{"Version":"1"}', "INVALID_POLICY_DOCUMENT", "policy.Statement"),
        (
            POLICY.replace('"Sid": "ü🜁"', '"Condition": {}'),
            "INVALID_POLICY_DOCUMENT",
            "policy.Statement[0]",
        ),
        (POLICY + " " * 20_000, "INVALID_POLICY_DOCUMENT", "policy"),
    ],
)
def test_policy_that_is_none_leaves_the_one_of_before(
    stubs: Stubs, policy: str, reason: str, field: str
) -> None:
    make(stubs, "photos")
    put_policy(stubs, POLICY)
    refusal = refused(lambda: put_policy(stubs, policy))
    assert refusal.reason == f"ERROR_REASON_{reason}"
    assert refusal.field == field
    assert policy_of(stubs) == POLICY


def test_refused_policy_is_told_as_the_contract_shows_it(stubs: Stubs) -> None:
    make(stubs, "photos")
    assert refused(lambda: put_policy(stubs, POLICY.replace('"Allow"', '"Permit"'))).facts == {
        "code": "InvalidPolicyDocument",
        "field": "policy.Statement[0].Effect",
        "value": "Permit",
    }
    assert refused(lambda: put_policy(stubs, "{")).facts == {
        "code": "MalformedJson",
        "field": "policy",
    }


def test_policy_just_within_the_limit_is_taken(stubs: Stubs) -> None:
    make(stubs, "photos")
    longest = POLICY + " " * (16 * 1024 - len(POLICY.encode()))
    put_policy(stubs, longest)
    assert policy_of(stubs) == longest
    refusal = refused(lambda: put_policy(stubs, longest + " "))
    assert refusal.facts is not None
    assert (refusal.facts["value"], refusal.facts["limit"]) == ("16385", "16384")


# --- Buckets that change hands --------------------------------------------------------------------


class SwappingEngine(MemoryEngine):
    """Gives a bucket to another account as soon as it was looked up, once."""

    is_armed = False

    def get_bucket(self, bucket_name: str) -> Bucket:
        found = super().get_bucket(bucket_name)
        if self.is_armed:
            self.is_armed = False
            self.delete_bucket(bucket_name)
            self.put_bucket(Bucket(bucket_name, "2222222222", 5), buckets_max=10)
        return found


@pytest.mark.parametrize(
    "rpc",
    [
        "DeleteVectorBucket",
        "PutBucketPolicy",
        "DeleteBucketPolicy",
        "PutBucketLogging",
        "DeleteBucketLogging",
    ],
)
def test_bucket_that_is_somebody_elses_by_now_is_left_alone(
    start_server: StartServer, rpc: str
) -> None:
    engine = SwappingEngine()
    with stubs_of(start_server(over=engine).address) as stubs:
        make(stubs, "photos")
        engine.is_armed = True
        refusal = refused(lambda: CALLS[rpc](stubs, "photos", ""))
        assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"
    assert engine._buckets["photos"] == Bucket("photos", "2222222222", 5)


# --- Logging --------------------------------------------------------------------------------------


def put_logging(stubs: Stubs, **fields: str) -> None:
    stubs.buckets.PutBucketLogging(
        messages.PutBucketLoggingRequest(
            bucket="photos", logging=bucket_pb2.BucketLogging(**fields)
        )
    )


def logging_of(stubs: Stubs) -> bucket_pb2.BucketLogging | None:
    request = messages.GetBucketLoggingRequest(bucket="photos")
    response = stubs.buckets.GetBucketLogging(request)
    return response.logging if response.HasField("logging") else None


def test_logging_is_shown_as_it_was_put_until_it_is_deleted(stubs: Stubs) -> None:
    make(stubs, "photos")
    assert logging_of(stubs) is None
    put_logging(stubs, target_bucket="audit", target_prefix="a/b-", logging_role="AliyunRole")
    assert logging_of(stubs) == bucket_pb2.BucketLogging(
        target_bucket="audit", target_prefix="a/b-", logging_role="AliyunRole"
    )
    put_logging(stubs, target_bucket="other")
    assert logging_of(stubs) == bucket_pb2.BucketLogging(target_bucket="other")
    for _ in range(2):
        stubs.buckets.DeleteBucketLogging(messages.DeleteBucketLoggingRequest(bucket="photos"))
        assert logging_of(stubs) is None


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "INVALID_VECTOR_BUCKET_NAME", "logging.target_bucket"),
        ({"target_bucket": "../up"}, "INVALID_VECTOR_BUCKET_NAME", "logging.target_bucket"),
        ({"target_prefix": "../up"}, "INVALID_ARGUMENT", "logging.target_prefix"),
        ({"target_prefix": "/up"}, "INVALID_ARGUMENT", "logging.target_prefix"),
        ({"target_prefix": "a\nb"}, "INVALID_ARGUMENT", "logging.target_prefix"),
        ({"target_prefix": "p" * 129}, "INVALID_ARGUMENT", "logging.target_prefix"),
        ({"logging_role": "r" * 129}, "INVALID_ARGUMENT", "logging.logging_role"),
    ],
)
def test_logging_that_leads_elsewhere_leaves_the_one_of_before(
    stubs: Stubs, fields: dict[str, str], reason: str, field: str
) -> None:
    make(stubs, "photos")
    put_logging(stubs, target_bucket="audit")
    good = {"target_bucket": "audit"} if fields and "target_bucket" not in fields else {}
    refusal = refused(lambda: put_logging(stubs, **good, **fields))
    assert refusal.reason == f"ERROR_REASON_{reason}"
    assert refusal.field == field
    assert logging_of(stubs) == bucket_pb2.BucketLogging(target_bucket="audit")


def test_logging_into_the_bucket_of_another_account_leaves_the_one_of_before(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "credentials.toml").write_text(
        "".join(
            f'[[credential]]\nname = "owner-{account}"\naccount_id = "{account}"\nowner = true\n'
            f'api_keys = ["{hash_of(f"of-{account}")}"]\n'
            for account in (1, 2)
        )
    )
    with stubs_of(start_server(credentials=tmp_path / "credentials.toml").address) as stubs:
        first, second = (saying(stubs, bearer(f"of-{account}")) for account in (1, 2))
        make(first, "photos", "audit")
        make(second, "theirs")
        put_logging(first, target_bucket="audit")
        refusal = refused(lambda: put_logging(first, target_bucket="theirs"))
        assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
        assert refusal.field == "logging.target_bucket"
        assert "'theirs'" in refusal.message
        assert logging_of(first) == bucket_pb2.BucketLogging(target_bucket="audit")
        put_logging(first, target_bucket="nobodys")


def test_logging_that_is_missing_is_told(stubs: Stubs) -> None:
    make(stubs, "photos")
    request = messages.PutBucketLoggingRequest(bucket="photos")
    refusal = refused(lambda: stubs.buckets.PutBucketLogging(request))
    assert (refusal.reason, refusal.field) == ("ERROR_REASON_INVALID_ARGUMENT", "logging")
