"""Requests that a browser sends for a web page, before a server that asks for no credentials."""

from __future__ import annotations

import pytest

from oss.dialect import BUCKET, Dialect, vector

LOCAL = "localhost:9000"


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        (LOCAL, {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}),
        (LOCAL, {"origin": "null"}),
        ("evil.example:9000", {"origin": "http://evil.example:9000"}),
    ],
)
def test_a_page_of_somebody_else_changes_and_learns_nothing(
    dialect: Dialect, host: str, headers: dict[str, str]
) -> None:
    """Method: plain text, which a page may have sent without being asked for permission first."""
    dialect.make_index()
    dialect.put(vector("a"))
    named = {**headers, "content-type": "text/plain;charset=UTF-8"}
    for flag, body in (
        ("deleteVectors", {"indexName": "idx1", "keys": ["a"]}),
        ("deleteVectorIndex", {"indexName": "idx1"}),
        ("listVectors", {"indexName": "idx1"}),
        ("deleteVectors", b"no json"),
        ("nonsense", b""),
    ):
        answer = dialect.post(flag, body, host=host, path=f"/{BUCKET}/", headers=named)
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert "configure credentials" in answer.message
    assert len(dialect.post("listVectors", {"indexName": "idx1"}).body["vectors"]) == 1


@pytest.mark.parametrize(
    "headers",
    [{"origin": f"http://{LOCAL}", "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}],
)
def test_a_page_of_the_server_s_own_host_is_answered(
    dialect: Dialect, headers: dict[str, str]
) -> None:
    dialect.make_bucket()
    answer = dialect.ask("GET", "bucketInfo", host=LOCAL, path=f"/{BUCKET}/", headers=headers)
    assert answer.status == 200
