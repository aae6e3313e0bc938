"""DeleteVectorBucket in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_delete_vector_bucket_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "delete_vector_bucket", sdk)


def test_a_bucket_can_be_made_again_at_once(dialect: Dialect) -> None:
    dialect.make_bucket()
    dialect.done("DELETE")
    dialect.make_bucket()


def test_a_flag_that_nobody_knows_deletes_nothing(dialect: Dialect) -> None:
    dialect.make_bucket()
    assert dialect.ask("DELETE", "lifecycle").code == "InvalidArgument"
    assert dialect.ask("DELETE", "bucketInfo").code == "MethodNotAllowed"
    assert dialect.ask("DELETE", "prefix=a").code == "InvalidArgument"
    assert dialect.ask("DELETE", path="/object").code == "InvalidArgument"
    dialect.done("GET", "bucketInfo")
