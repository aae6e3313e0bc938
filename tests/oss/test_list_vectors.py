"""ListVectors in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect, vector
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_list_vectors_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "list_vectors", sdk)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"maxResults": -1}, "maxResults is -1; it must be 1 to 1000, or 0 for 500"),
        ({"maxResults": 1001}, "maxResults is 1001"),
        ({"maxResults": 1.5}, "maxResults must be an integer"),
        ({"segmentCount": 17}, "segmentCount is 17"),
        ({"segmentCount": 2, "segmentIndex": 2}, "segmentIndex is 2; it must be 0 to 1"),
        ({"segmentIndex": 10**12}, f"segmentIndex is {10**12}"),
        ({"nextToken": "none"}, "nextToken 'none'"),
        ({"nextToken": "x" * 2049}, "nextToken has 2049 bytes; the limit is 2048"),
        ({"filter": {}}, "filter is not supported in ListVectors"),
        ({"returnData": "true"}, "returnData must be true or false"),
    ],
)
def test_wrong_members_are_refused_and_named(
    dialect: Dialect, body: dict[str, object], words: str
) -> None:
    dialect.make_index()
    answer = dialect.post("listVectors", {"indexName": "idx1", **body})
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert words in answer.message


def test_ten_vectors_by_five_are_two_pages_though_they_go_meanwhile(dialect: Dialect) -> None:
    dialect.make_index()
    keys = [f"vector-key-{number}" for number in range(10)]
    dialect.put(*map(vector, keys))
    asked: dict[str, object] = {"indexName": "idx1", "maxResults": 5}
    seen, pages = [], 0
    while True:
        listed = dialect.done("POST", "listVectors", asked).body
        page = [one["key"] for one in listed["vectors"]]
        dialect.done("POST", "deleteVectors", {"indexName": "idx1", "keys": page})
        seen += page
        pages += 1
        if "nextToken" not in listed:
            break
        asked["nextToken"] = listed["nextToken"]
    assert seen == keys
    assert pages == 2


def test_segments_part_the_keys(dialect: Dialect) -> None:
    dialect.make_index()
    keys = [f"vector-key-{number}" for number in range(40)]
    dialect.put(*map(vector, keys))
    segments = [
        [
            one["key"]
            for one in dialect.post(
                "listVectors", {"indexName": "idx1", "segmentCount": 2, "segmentIndex": position}
            ).body["vectors"]
        ]
        for position in range(2)
    ]
    assert sorted(segments[0] + segments[1]) == sorted(keys)
    assert "vector-key-1" in segments[1]


@pytest.mark.parametrize(("wanted", "pages"), [(0, [500, 100]), (600, [600]), (599, [599, 1])])
def test_a_page_is_whole_however_large_it_is(
    dialect: Dialect, wanted: int, pages: list[int]
) -> None:
    """Method: 600 vectors of 2,048 numbers take 4.9 MB; to others the server sends 3.5 MB."""
    dialect.make_index(dimension=2048)
    for start in (0, 300):
        dialect.put(
            *(
                vector(f"k{number:03}", [float(number)] + [0.0] * 2047)
                for number in range(start, start + 300)
            )
        )
    asked: dict[str, object] = {"indexName": "idx1", "returnData": True, "maxResults": wanted}
    seen, sizes = [], []
    while True:
        listed = dialect.done("POST", "listVectors", asked).body
        seen += [one["data"]["float32"][0] for one in listed["vectors"]]
        sizes.append(len(listed["vectors"]))
        if "nextToken" not in listed:
            break
        asked["nextToken"] = listed["nextToken"]
    assert seen == [float(number) for number in range(600)]
    assert sizes == pages
