"""DeleteVectors in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect, vector
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_delete_vectors_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "delete_vectors", sdk)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (..., "keys must be an array, and is missing"),
        ([], "keys has 0 elements; there must be 1 to 500"),
        (["a"] * 2, "keys[1] 'a' stands at keys[0] already"),
        ([f"k{number}" for number in range(501)], "keys has 501 elements"),
        ([True], "keys[0] must be a string, and is true"),
    ],
)
def test_wrong_keys_are_refused_and_named(dialect: Dialect, keys: object, words: str) -> None:
    dialect.make_index()
    dialect.put(vector("a"))
    body = {"indexName": "idx1"} if keys is ... else {"indexName": "idx1", "keys": keys}
    answer = dialect.post("deleteVectors", body)
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert words in answer.message
    assert len(dialect.post("listVectors", {"indexName": "idx1"}).body["vectors"]) == 1


def test_a_key_of_any_characters_can_be_deleted(dialect: Dialect) -> None:
    key = 'a"\\/\u0000\u001f🎬 [,['
    dialect.make_index()
    dialect.put(vector(key))
    assert dialect.post("deleteVectors", {"indexName": "idx1", "keys": [key]}).status == 204
    assert dialect.post("listVectors", {"indexName": "idx1"}).body == {"vectors": []}
