"""Every way to name a bucket means the same bucket, and what only looks like one is none."""

from __future__ import annotations

import pytest

from oss.dialect import ACCOUNT_ID, BUCKET, BUCKET_HOST, SERVICE_HOST, Dialect
from vectorbucket_server.rest.oss.messages import HttpRequest

FORMS = {
    "virtual host": ("/?bucketInfo=", BUCKET_HOST),
    "virtual host, upper case": ("/?bucketInfo", BUCKET_HOST.upper()),
    "virtual host, an address behind it": (
        "/?bucketInfo=",
        f"{BUCKET}-{ACCOUNT_ID}.127.0.0.1:9000",
    ),
    "virtual host, absolute form": (f"http://{BUCKET_HOST}/?bucketInfo=", BUCKET_HOST),
    "absolute form, another Host header": (f"http://{BUCKET_HOST}/?bucketInfo=", "proxy:3128"),
    "absolute form, no Host header": (f"http://{BUCKET_HOST}/?bucketInfo=", None),
    "absolute form without a path": (f"http://{BUCKET_HOST}?bucketInfo", BUCKET_HOST),
    "path": (f"/{BUCKET}/?bucketInfo", "127.0.0.1:9000"),
    "path without a slash at its end": (f"/{BUCKET}?bucketInfo", "127.0.0.1:9000"),
    "path, absolute form": (f"http://127.0.0.1:9000/{BUCKET}/?bucketInfo", "127.0.0.1:9000"),
    "path, percent-encoded": ("/%65xamplebucket/?bucketInfo", "localhost"),
    "path, a host with a number in it": (f"/{BUCKET}/?bucketInfo", "node-7"),
    "path, IPv6": (f"/{BUCKET}/?bucketInfo", "[::1]:9000"),
    "path, no host at all": (f"/{BUCKET}/?bucketInfo", None),
}


def get(target: str, host: str | None) -> HttpRequest:
    return HttpRequest("GET", target, () if host is None else (("host", host),))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reaches_the_bucket(dialect: Dialect, form: str) -> None:
    dialect.make_bucket()
    target, host = FORMS[form]
    answer = dialect.send(get(target, host))
    assert answer.status == 200, answer.body
    name = answer.body["BucketInfo"]["Name"]
    assert name == f"acs:ossvector:cn-hangzhou:{ACCOUNT_ID}:{BUCKET}"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/", SERVICE_HOST),
        ("http://127.0.0.1:9000/?max-keys=10", "127.0.0.1:9000"),
        (f"http://{SERVICE_HOST}/", BUCKET_HOST),
        ("/", f"{BUCKET}.vectors.local"),
        ("/", "node-7:9000"),
        ("/", None),
    ],
)
def test_a_target_without_a_bucket_lists_buckets(
    dialect: Dialect, target: str, host: str | None
) -> None:
    dialect.make_bucket()
    answer = dialect.send(get(target, host))
    assert len(answer.body["ListAllMyBucketsResult"]["Buckets"]) == 1


@pytest.mark.parametrize(
    ("target", "host", "code"),
    [
        ("/object?bucketInfo", BUCKET_HOST, "InvalidArgument"),
        (f"/{BUCKET}/object?bucketInfo", "127.0.0.1", "InvalidArgument"),
        ("*", BUCKET_HOST, "InvalidArgument"),
        (f"{BUCKET_HOST}", BUCKET_HOST, "InvalidArgument"),
        ("/?bucketInfo", f"user@{BUCKET_HOST}", "InvalidArgument"),
        ("/?bucketInfo", f"{BUCKET}-{ACCOUNT_ID}", "InvalidVectorBucketName"),
        ("/?bucketInfo", f"{BUCKET}-{ACCOUNT_ID}x.h", "InvalidVectorBucketName"),
        ("/?bucketInfo", f"ab-{ACCOUNT_ID}.h", "InvalidVectorBucketName"),
        ("/%FF/?bucketInfo", "127.0.0.1", "InvalidVectorBucketName"),
        ("/..?bucketInfo", "127.0.0.1", "InvalidVectorBucketName"),
        ("/?bucketInfo", f"{BUCKET}-42.vectors.local", "AccessDenied"),
        ("/?bucketInfo", f"other-{ACCOUNT_ID}.vectors.local", "NoSuchBucket"),
        (f"/{BUCKET.upper()}/?bucketInfo", "127.0.0.1", "InvalidVectorBucketName"),
    ],
)
def test_what_only_looks_like_the_bucket_is_refused(
    dialect: Dialect, target: str, host: str, code: str
) -> None:
    dialect.make_bucket()
    assert dialect.send(get(target, host)).code == code


def test_an_error_names_the_host_that_was_asked_for(dialect: Dialect) -> None:
    for target, host, told in (
        ("/?bucketInfo", BUCKET_HOST, BUCKET_HOST),
        (f"http://{BUCKET_HOST}/?bucketInfo", "other", BUCKET_HOST),
        ("/photos/?bucketInfo", "127.0.0.1:9000", "127.0.0.1:9000"),
        ("/?bucketInfo", "no host", ""),
    ):
        error = dialect.send(get(target, host)).body["Error"]
        assert error["HostId"] == told
