"""GetVectorIndex in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_get_vector_index_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "get_vector_index", sdk)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "VectorIndexParameterInvalid"),
        ({"indexName": ""}, "VectorIndexParameterInvalid"),
        ({"indexName": None}, "VectorIndexParameterInvalid"),
        ({"indexName": ["idx1"]}, "VectorIndexParameterInvalid"),
        ({"indexName": "i" * 64}, "VectorIndexParameterInvalid"),
        ({"index_name": "idx1"}, "VectorIndexParameterInvalid"),
        ({"indexName": "IDX1"}, "NoSuchVectorIndex"),
        (b"", "MalformedJson"),
        (b"idx1", "MalformedJson"),
    ],
)
def test_what_names_no_index_is_refused(dialect: Dialect, body: object, code: str) -> None:
    dialect.make_index()
    assert dialect.post("getVectorIndex", body).code == code


def test_what_is_ours_alone_is_not_said(dialect: Dialect) -> None:
    dialect.make_index()
    index = dialect.post("getVectorIndex", {"indexName": "idx1"}).body["index"]
    assert set(index) == {
        *("createTime", "dataType", "dimension", "distanceMetric", "indexName", "metadata"),
        *("status", "vectorBucketName"),
    }
    assert index["metadata"] == {"nonFilterableMetadataKeys": []}
