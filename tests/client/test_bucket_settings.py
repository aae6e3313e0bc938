"""Policies and logging of buckets, through the client, against the real server."""

from __future__ import annotations

import json

import pytest

from vectorbucket import (
    BucketLogging,
    Client,
    InvalidArgument,
    InvalidPolicyDocument,
    InvalidVectorBucketName,
    MalformedJson,
    NoSuchBucket,
    NoSuchBucketPolicy,
)
from vectorbucket.limits import OSS

STATEMENT = {
    "Effect": "Allow",
    "Principal": ["2345678901"],
    "Action": ["oss:QueryVectors"],
    "Resource": ["acs:ossvector:cn-hangzhou:1234567890:photos/faces"],
}

POLICY = json.dumps({"Version": "1", "Statement": [STATEMENT]})


def test_policy_is_put_shown_replaced_and_deleted(client: Client) -> None:
    with pytest.raises(NoSuchBucketPolicy, match="'photos' has no policy"):
        client.get_bucket_policy("photos")
    client.put_bucket_policy("photos", POLICY)
    assert client.get_bucket_policy("photos") == POLICY
    odd = "\r\n" + POLICY.replace("{", "{\t ", 1).replace("2345678901", "\\u00e9é🜁\\/") + " "
    client.put_bucket_policy("photos", odd)
    assert client.get_bucket_policy("photos") == odd
    for _ in range(2):
        client.delete_bucket_policy("photos")
        with pytest.raises(NoSuchBucketPolicy):
            client.get_bucket_policy("photos")


@pytest.mark.parametrize("policy", ["", "{", "no", POLICY + "}", "{'Statement': []}"])
def test_policy_that_is_no_json_is_refused(client: Client, policy: str) -> None:
    client.put_bucket_policy("photos", POLICY)
    with pytest.raises(MalformedJson):
        client.put_bucket_policy("photos", policy)
    assert client.get_bucket_policy("photos") == POLICY


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ("[]", "policy"),
        (POLICY.replace("Allow", "Permit"), "policy.Statement[0].Effect"),
        (POLICY.replace('"1"', '"2"'), "policy.Version"),
        (POLICY + " " * OSS.bucket_policy_bytes_max, "policy"),
    ],
)
def test_json_that_is_no_policy_is_refused_with_its_place(
    client: Client, policy: str, field: str
) -> None:
    with pytest.raises(InvalidPolicyDocument) as raised:
        client.put_bucket_policy("photos", policy)
    assert raised.value.field == field
    with pytest.raises(NoSuchBucketPolicy):
        client.get_bucket_policy("photos")


def test_policy_of_the_largest_size_is_kept(client: Client) -> None:
    largest = POLICY + " " * (OSS.bucket_policy_bytes_max - len(POLICY))
    client.put_bucket_policy("photos", largest)
    assert client.get_bucket_policy("photos") == largest


def test_logging_is_put_shown_replaced_and_deleted(client: Client) -> None:
    assert client.get_bucket_logging("photos") is None
    for logging in (
        BucketLogging("logs"),
        BucketLogging("photos", "ünter/", "a role"),
        BucketLogging("not-there", "x-"),
    ):
        client.put_bucket_logging("photos", logging)
        assert client.get_bucket_logging("photos") == logging
    for _ in range(2):
        client.delete_bucket_logging("photos")
        assert client.get_bucket_logging("photos") is None


def test_logging_that_leads_elsewhere_is_refused_with_its_place(client: Client) -> None:
    with pytest.raises(InvalidArgument) as raised:
        client.put_bucket_logging("photos", BucketLogging("logs", "../../etc/"))
    assert raised.value.field == "logging.target_prefix"
    with pytest.raises(InvalidVectorBucketName) as named:
        client.put_bucket_logging("photos", BucketLogging("../logs"))
    assert named.value.field == "logging.target_bucket"
    assert client.get_bucket_logging("photos") is None


def test_bucket_that_is_missing_is_named(client: Client) -> None:
    calls = (
        lambda: client.put_bucket_policy("videos", POLICY),
        lambda: client.get_bucket_policy("videos"),
        lambda: client.delete_bucket_policy("videos"),
        lambda: client.put_bucket_logging("videos", BucketLogging("logs")),
        lambda: client.get_bucket_logging("videos"),
        lambda: client.delete_bucket_logging("videos"),
    )
    for call in calls:
        with pytest.raises(NoSuchBucket, match="videos"):
            call()


def test_settings_are_gone_with_their_bucket(client: Client) -> None:
    for _ in range(2):
        client.put_vector_bucket("videos")
        assert client.get_bucket_logging("videos") is None
        with pytest.raises(NoSuchBucketPolicy):
            client.get_bucket_policy("videos")
        client.put_bucket_policy("videos", POLICY)
        client.put_bucket_logging("videos", BucketLogging("logs"))
        client.delete_vector_bucket("videos")
