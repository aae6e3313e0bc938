"""GetBucketLogging in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_get_bucket_logging_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "get_bucket_logging", sdk)


def test_without_logging_the_object_is_there_and_empty(dialect: Dialect) -> None:
    dialect.make_bucket()
    said = dialect.done("GET", "logging").response.body
    assert said == b'{"BucketLoggingStatus":{"LoggingEnabled":{}}}'
