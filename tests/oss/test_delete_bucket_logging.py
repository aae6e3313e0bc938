"""DeleteBucketLogging in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_delete_bucket_logging_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "delete_bucket_logging", sdk)


def test_deleting_twice_is_no_error(dialect: Dialect) -> None:
    dialect.make_bucket()
    assert dialect.ask("DELETE", "logging").status == 204
    assert dialect.ask("DELETE", "logging").status == 204
