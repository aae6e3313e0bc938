"""DeleteVectorIndex in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect, vector
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_delete_vector_index_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "delete_vector_index", sdk)


def test_its_vectors_are_gone_when_it_is_made_again(dialect: Dialect) -> None:
    dialect.make_index()
    dialect.put(vector("a"))
    dialect.done("POST", "deleteVectorIndex", {"indexName": "idx1"})
    dialect.make_index()
    assert dialect.post("listVectors", {"indexName": "idx1"}).body == {"vectors": []}


def test_the_index_comes_before_its_name_is_judged_only_if_it_exists(dialect: Dialect) -> None:
    dialect.make_bucket()
    answer = dialect.post("deleteVectorIndex", {"indexName": "no-such"})
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
