"""ListVectorIndexes in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_list_vector_indexes_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "list_vector_indexes", sdk)


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b'{"maxResults": 0, "nextToken": ""}'])
def test_a_body_is_not_needed(dialect: Dialect, body: bytes) -> None:
    dialect.make_index()
    listed = dialect.done("POST", "listVectorIndexes", body).body
    assert [index["indexName"] for index in listed["indexes"]] == ["idx1"]
    assert "nextToken" not in listed


def test_eleven_indexes_by_five_are_three_pages_though_they_go_meanwhile(dialect: Dialect) -> None:
    names = [f"index{number:02}" for number in range(11)]
    for name in names:
        dialect.make_index(name)
    asked: dict[str, object] = {"maxResults": 5}
    seen, sizes = [], []
    while True:
        listed = dialect.done("POST", "listVectorIndexes", asked).body
        page = [index["indexName"] for index in listed["indexes"]]
        seen += page
        sizes.append(len(page))
        for name in page:
            dialect.done("POST", "deleteVectorIndex", {"indexName": name})
        if "nextToken" not in listed:
            break
        asked["nextToken"] = listed["nextToken"]
    assert seen == names
    assert sizes == [5, 5, 1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"maxResults": -1}, "maxResults is -1"),
        ({"maxResults": 501}, "maxResults is 501; it must be 1 to 500, or 0 for 100"),
        ({"maxResults": "5"}, "maxResults must be an integer"),
        ({"maxResults": 2**31}, f"maxResults is {2**31}"),
        ({"nextToken": "x"}, "nextToken 'x'"),
        ({"nextToken": "x" * 513}, "nextToken has 513 bytes; the limit is 512"),
        ({"nextToken": 5}, "nextToken must be a string"),
        ({"prefix": 5}, "prefix must be a string, and is the number 5"),
    ],
)
def test_wrong_members_are_refused_and_named(dialect: Dialect, body: object, words: str) -> None:
    dialect.make_bucket()
    answer = dialect.post("listVectorIndexes", body)
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert words in answer.message


def test_members_that_are_null_are_as_if_they_were_not_there(dialect: Dialect) -> None:
    dialect.make_index()
    body = {"maxResults": None, "nextToken": None, "prefix": None}
    assert len(dialect.done("POST", "listVectorIndexes", body).body["indexes"]) == 1
