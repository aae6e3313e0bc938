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
    answer = dialect.post(flag, body)
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert "not supported" in answer.message


@pytest.mark.parametrize("flag", FLAGS)
def test_fusion_by_another_method_is_no_operation(dialect: Dialect, flag: str) -> None:
    assert dialect.ask("PUT", flag).status == 405
