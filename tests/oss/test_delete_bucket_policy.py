"""DeleteBucketPolicy in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_delete_bucket_policy_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "delete_bucket_policy", sdk)


def test_deleting_does_not_need_a_body_nor_mind_one(dialect: Dialect) -> None:
    dialect.make_bucket()
    assert dialect.ask("DELETE", "policy", b"{}").status == 204
