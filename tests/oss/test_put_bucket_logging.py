"""PutBucketLogging in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_put_bucket_logging_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "put_bucket_logging", sdk)


def logging(**members: object) -> dict[str, object]:
    return {"BucketLoggingStatus": {"LoggingEnabled": members}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "BucketLoggingStatus"),
        ({"BucketLoggingStatus": None}, "BucketLoggingStatus"),
        ({"BucketLoggingStatus": {}}, "BucketLoggingStatus.LoggingEnabled"),
        ({"BucketLoggingStatus": {"LoggingEnabled": []}}, "BucketLoggingStatus.LoggingEnabled"),
        (logging(TargetBucket=1), "LoggingEnabled.TargetBucket"),
        (logging(TargetBucket="logs", TargetPrefix=1), "LoggingEnabled.TargetPrefix"),
        (logging(TargetBucket="logs", TargetPrefix="../up"), "LoggingEnabled.TargetPrefix"),
        (logging(TargetBucket="logs", TargetPrefix="/top"), "LoggingEnabled.TargetPrefix"),
        (logging(TargetBucket="logs", LoggingRole="r" * 129), "LoggingEnabled.LoggingRole"),
    ],
)
def test_wrong_members_are_refused_and_named(dialect: Dialect, body: object, words: str) -> None:
    dialect.make_bucket()
    answer = dialect.ask("PUT", "logging", body)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert words in answer.message


@pytest.mark.parametrize("name", ["", "ab", "Logs", "a_b"])
def test_the_target_has_to_have_a_legal_name(dialect: Dialect, name: str) -> None:
    dialect.make_bucket()
    answer = dialect.ask("PUT", "logging", logging(TargetBucket=name))
    assert (answer.status, answer.code) == (400, "InvalidVectorBucketName")
    assert "TargetBucket" in answer.message


def test_unknown_members_are_passed_over(dialect: Dialect) -> None:
    dialect.make_bucket()
    body = logging(TargetBucket="logs", Format={"Kind": ["json"]}) | {"Other": [1]}
    assert dialect.ask("PUT", "logging", body).status == 200


@pytest.mark.parametrize("body", [b"", b"<BucketLoggingStatus/>", b'{"a":1,"a":2}', b"[]"])
def test_what_is_no_json_object_is_malformed(dialect: Dialect, body: bytes) -> None:
    dialect.make_bucket()
    assert dialect.ask("PUT", "logging", body).code == "MalformedJson"
