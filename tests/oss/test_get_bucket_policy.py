"""GetBucketPolicy in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_get_bucket_policy_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "get_bucket_policy", sdk)


def test_text_of_any_language_comes_back_byte_for_byte(dialect: Dialect) -> None:
    dialect.make_bucket()
    policy = (
        '{\n\t"Version": "1", "Statement": [{"Effect": "Allow", "Principal": ["*"], '
        '"Action": ["oss:Get*"], "Resource": ["acs:ossvector:*:*:größe-東京*"]}]}\n'
    ).encode()
    dialect.done("PUT", "policy", policy)
    assert dialect.done("GET", "policy").response.body == policy
