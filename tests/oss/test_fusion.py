"""The fusion operations: known, and refused in a way that no SDK repeats."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect
from oss.golden import play

FLAGS = ("putVectorIndexFusion", "queryVectorsFusion")


def test_fusion_is_refused_as_the_pages_leave_it_open(dialect: Dialect) -> None:
    play(dialect, "fusion", "python")


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("body", [b"", b"{}", b"no json", b'{"a":1,"a":1}'])
def test_fusion_is_refused_whatever_the_body_says(dialect: Dialect, flag: str, body: bytes) -> None:
    dialect.make_bucket()
    answer = dialect.post(flag, body)
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert "not supported" in answer.message


@pytest.mark.parametrize("flag", FLAGS)
def test_what_fusion_is_about_is_looked_at_first(dialect: Dialect, flag: str) -> None:
    asked = {"indexName": "idx1"}
    assert dialect.post(flag, asked).code == "NoSuchBucket"
    dialect.make_bucket()
    missing = dialect.post(flag, asked).code
    assert missing == ("NoSuchVectorIndex" if "query" in flag else "VectorIndexParameterInvalid")
    dialect.make_index()
    assert dialect.post(flag, asked).code == "VectorIndexParameterInvalid"


@pytest.mark.parametrize("flag", FLAGS)
def test_fusion_by_another_method_is_no_operation(dialect: Dialect, flag: str) -> None:
    answer = dialect.ask("PUT", flag)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
