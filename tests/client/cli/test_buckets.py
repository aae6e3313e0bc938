"""The commands on buckets, their policies and their logging, against the real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from client.cli.conftest import Run
from vectorbucket import BucketLogging, Client

POLICY = """{"Version": "1",
 "Statement": [{"Effect": "Allow", "Principal": ["2345678901"], "Action": ["oss:GetVectors"],
                "Resource": ["acs:ossvector:*:*:*"]}]}"""

SHOW = ("get-vector-bucket", "--bucket")


def test_bucket_is_made_shown_listed_and_deleted(run: Run) -> None:
    made = run("put-vector-bucket", "--bucket", "videos")
    assert (made.code, made.out, made.err) == (0, "", "vectorbucket: bucket videos is made\n")
    shown = run("get-vector-bucket", "--bucket", "videos", "--output", "json").json
    assert list(shown) == ["BucketInfo"]
    time = shown["BucketInfo"].pop("CreationDate")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert shown["BucketInfo"] == {
        "Name": "acs:ossvector:cn-hangzhou:1234567890:videos",
        "Location": "oss-cn-hangzhou",
        "Region": "cn-hangzhou",
    }
    assert re.search(r"bucket +videos *\naccount +1234567890", run(*SHOW, "videos").out)
    deleted = run("delete-vector-bucket", "--bucket", "videos", "--output", "json")
    assert (deleted.json, deleted.err) == ({}, "")
    assert run(*SHOW, "videos").code == 3


def test_buckets_are_listed_in_pages_or_all(run: Run, client: Client) -> None:
    names = [f"many-{number}" for number in range(5)]
    for name in names:
        client.put_vector_bucket(name)
    listing = ("list-vector-buckets", "--prefix", "many-", "--output", "json")
    whole = run(*listing).json["ListAllMyBucketsResult"]
    assert [one["Name"].rpartition(":")[2] for one in whole["Buckets"]] == names
    assert list(whole) == ["Buckets"]
    first = run(*listing, "--max-keys", "2").json["ListAllMyBucketsResult"]
    assert (first["IsTruncated"], first["NextMarker"], len(first["Buckets"])) == (
        True,
        "many-1",
        2,
    )
    rest = run(*listing, "--marker", "many-1").json["ListAllMyBucketsResult"]
    assert [one["Name"].rpartition(":")[2] for one in rest["Buckets"]] == names[2:]
    every = run(*listing, "--max-keys", "2", "--all").json
    assert every["ListAllMyBucketsResult"] == whole
    table = run("list-vector-buckets", "--prefix", "many-", "--max-keys", "2")
    assert re.findall(r"many-\d", table.out) == ["many-0", "many-1"]
    assert table.err == "vectorbucket: there are more: --marker many-1, or --all\n"
    for name in names:
        client.delete_vector_bucket(name)


@pytest.mark.parametrize("flag", ["--body", "--policy"])
def test_policy_is_kept_as_it_stands(run: Run, bucket: str, tmp_path: Path, flag: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(POLICY)
    put = run("put-bucket-policy", "--bucket", bucket, flag, f"file://{file}")
    assert (put.code, put.out) == (0, "")
    for output in ("json", "table"):
        shown = run("get-bucket-policy", "--bucket", bucket, "--output", output)
        assert shown.out == f"{POLICY}\n"
    assert run("delete-bucket-policy", "--bucket", bucket).code == 0
    gone = run("get-bucket-policy", "--bucket", bucket)
    assert (gone.code, gone.out) == (3, "")
    assert "NoSuchBucketPolicy" in gone.err


LOGGED = {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "p/", "LoggingRole": "r"}}


@pytest.mark.parametrize("status", [LOGGED, {"BucketLoggingStatus": LOGGED}], ids=["bare", "whole"])
def test_logging_is_put_shown_and_ended(
    run: Run, bucket: str, client: Client, status: dict[str, object]
) -> None:
    put = run(
        "put-bucket-logging", "--bucket", bucket, "--bucket-logging-status", json.dumps(status)
    )
    assert (put.code, put.out) == (0, "")
    assert client.get_bucket_logging(bucket) == BucketLogging("logs", "p/", "r")
    show = ("get-bucket-logging", "--bucket", bucket)
    assert run(*show, "--output", "json").json == {"BucketLoggingStatus": LOGGED}
    assert re.search(r"TargetBucket +logs", run(*show).out)
    assert run("delete-bucket-logging", "--bucket", bucket, "--output", "json").json == {}
    assert run(*show, "--output", "json").json == {"BucketLoggingStatus": {"LoggingEnabled": {}}}
    assert re.search(r"LoggingEnabled +no", run(*show).out)


BAD_STATUS = {
    "nothing": ("{}", "has no LoggingEnabled.TargetBucket"),
    "no object": ('{"LoggingEnabled": "logs"}', "has no LoggingEnabled.TargetBucket"),
    "number": (
        '{"LoggingEnabled": {"TargetBucket": 1}}',
        "LoggingEnabled.TargetBucket must be a text",
    ),
    "array": ("[]", "must be a JSON object, not an array"),
}


@pytest.mark.parametrize("case", BAD_STATUS)
def test_logging_that_says_nothing_is_refused(run: Run, bucket: str, case: str) -> None:
    text, words = BAD_STATUS[case]
    refused = run("put-bucket-logging", "--bucket", bucket, "--bucket-logging-status", text)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("vectorbucket: --bucket-logging-status")
    assert words in refused.err
