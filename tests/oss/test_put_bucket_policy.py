"""PutBucketPolicy in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_put_bucket_policy_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "put_bucket_policy", sdk)


POLICY = (
    b'{"Version":"1","Statement":[{"Effect":"Allow","Principal":["*"],"Action":["oss:GetVectors"],'
    b'"Resource":["acs:ossvector:*:*:*"]}]}'
)


@pytest.mark.parametrize("body", [b"", b"no json", POLICY + b"x", b"\xff" + POLICY, POLICY[:-1]])
def test_what_is_no_json_is_refused_and_the_old_stays(dialect: Dialect, body: bytes) -> None:
    dialect.make_bucket()
    dialect.done("PUT", "policy", POLICY)
    answer = dialect.ask("PUT", "policy", body)
    assert (answer.status, answer.code) == (400, "MalformedJson")
    assert dialect.done("GET", "policy").response.body == POLICY


@pytest.mark.parametrize("body", [b"[]", b"{}", b"1", POLICY.replace(b"Allow", b"Perhaps")])
def test_json_that_is_no_policy_is_refused(dialect: Dialect, body: bytes) -> None:
    dialect.make_bucket()
    answer = dialect.ask("PUT", "policy", body)
    assert (answer.status, answer.code) == (400, "InvalidPolicyDocument")


def test_the_bucket_comes_before_what_is_wrong_with_the_policy(dialect: Dialect) -> None:
    assert dialect.ask("PUT", "policy", b"").code == "NoSuchBucket"
    assert dialect.ask("PUT", "policy", b"\xff").code == "NoSuchBucket"
