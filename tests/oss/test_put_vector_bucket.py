"""PutVectorBucket in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_put_vector_bucket_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "put_vector_bucket", sdk)


@pytest.mark.parametrize(
    "bucket", ["ab", "a" * 64, "My-Bucket", "-edge", "edge-", "under_score", "dots.inside", "ünder"]
)
def test_an_illegal_name_is_refused_and_named(dialect: Dialect, bucket: str) -> None:
    answer = dialect.ask("PUT", path=f"/{bucket}/".encode().decode("latin-1"), host="10.0.0.1:9000")
    assert (answer.status, answer.code) == (400, "InvalidVectorBucketName")


@pytest.mark.parametrize("bucket", ["abc", "a" * 63, "go--test", "1-2-3"])
def test_names_that_the_sdks_let_through_are_taken(dialect: Dialect, bucket: str) -> None:
    assert (
        dialect.done("PUT", path=f"/{bucket}", host="10.0.0.1").headers["location"] == f"/{bucket}"
    )


def test_a_body_is_passed_over(dialect: Dialect) -> None:
    body = b"<CreateBucketConfiguration></CreateBucketConfiguration>"
    assert dialect.ask("PUT", body=body).status == 200


def test_a_flag_that_nobody_knows_makes_no_bucket(dialect: Dialect) -> None:
    assert dialect.ask("PUT", "acl").code == "InvalidArgument"
    assert dialect.ask("GET", "bucketInfo").code == "NoSuchBucket"


def test_another_account_in_the_host_is_refused(dialect: Dialect) -> None:
    answer = dialect.ask("PUT", host="examplebucket-42.vectors.local")
    assert (answer.status, answer.code) == (403, "AccessDenied")
