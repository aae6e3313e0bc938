"""GetVectorBucket in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_get_vector_bucket_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "get_vector_bucket", sdk)


def test_the_endpoint_is_the_host_of_the_request(dialect: Dialect) -> None:
    dialect.make_bucket()
    info = dialect.done("GET", "bucketInfo", host="10.0.0.1:80", path="/examplebucket/").body
    assert info["BucketInfo"]["ExtranetEndpoint"] == "10.0.0.1:80"
    assert info["BucketInfo"]["IntranetEndpoint"] == "10.0.0.1:80"


def test_a_body_and_a_content_type_change_nothing(dialect: Dialect) -> None:
    dialect.make_bucket()
    headers = {"content-type": "application/xml"}
    assert dialect.ask("GET", "bucketInfo", b"<a/>", headers=headers).status == 200
