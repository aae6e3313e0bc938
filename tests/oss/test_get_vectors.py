"""GetVectors in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect, vector
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_get_vectors_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "get_vectors", sdk)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "keys must be an array, and is missing"),
        ({"keys": None}, "keys must be an array, and is missing"),
        ({"keys": "a"}, "keys must be an array, and is the string 'a'"),
        ({"keys": ["a", 1]}, "keys[1] must be a string, and is the number 1"),
        ({"keys": [["a"]]}, "keys[0] must be a string, and is an array"),
        ({"keys": []}, "keys has 0 elements; there must be 1 to 100"),
        ({"keys": ["a"] * 101}, "keys has 101 elements; there must be 1 to 100"),
        ({"keys": [""]}, "keys[0]"),
        ({"keys": ["a"], "returnData": 1}, "returnData must be true or false, and is the number 1"),
        ({"keys": ["a"], "returnMetadata": "no"}, "returnMetadata must be true or false"),
    ],
)
def test_wrong_members_are_refused_and_named(
    dialect: Dialect, body: dict[str, object], words: str
) -> None:
    dialect.make_index()
    answer = dialect.post("getVectors", {"indexName": "idx1", **body})
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert words in answer.message


def test_a_key_asked_for_twice_is_answered_once_in_the_order_of_first_mention(
    dialect: Dialect,
) -> None:
    dialect.make_index()
    dialect.put(vector("a"), vector("b"))
    answer = dialect.post("getVectors", {"indexName": "idx1", "keys": ["b", "a", "b"]})
    assert answer.body == {"vectors": [{"key": "b"}, {"key": "a"}]}


def test_metadata_comes_back_as_it_was_put(dialect: Dialect) -> None:
    metadata: dict[str, object] = {
        "text": "Größe <&> 東京 🎬\n\u0000",
        "empty": "",
        "list": ["a", 1, 2.5, True, False, ""],
        "none": [],
        "zero": 0,
        "negative": -7,
        "large": 2**53,
        "fraction": 0.1,
        "off": False,
        "tiny": 5e-324,
    }
    dialect.make_index()
    dialect.put(vector("a", **metadata))
    asked = {"indexName": "idx1", "keys": ["a"], "returnMetadata": True}
    (got,) = dialect.post("getVectors", asked).body["vectors"]
    assert got["metadata"] == metadata
    assert {name: type(value) for name, value in got["metadata"].items()} == {
        name: type(value) for name, value in metadata.items()
    }


def test_numbers_are_written_in_the_shortest_form_of_float32(dialect: Dialect) -> None:
    dialect.make_index()
    dialect.put(vector("a", [0.1, 3.4028234663852886e38, 1e-45]))
    asked = {"indexName": "idx1", "keys": ["a"], "returnData": True}
    assert b"[0.1,3.4028235e+38,1e-45]" in dialect.post("getVectors", asked).response.body
