"""What engine/milvus/pushdown.py writes; test_pushdown_in_milvus.py has a server read it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from filter_cases import NAMES, REPEATABLE
from pushdown_rows import EDGES, TRICKY
from vectorbucket.limits import OSS
from vectorbucket_server.engine.milvus.pushdown import (
    after_expression,
    boolean_expression,
    filterable_document,
    keys_expression,
)
from vectorbucket_server.filters.expression import Equals, Exists, In, NotEquals, Or, Scalar
from vectorbucket_server.model import WHOLE, Metadata, Segment

JSON_BYTES_MAX = 65_536
"""What Milvus lets a JSON field have."""


def test_document_holds_tokens_by_field_and_extremes_of_numbers() -> None:
    metadata: Metadata = {
        "colour": "red",
        "size": [3.0, 0.5, "L"],
        "sold": True,
        "tags": [],
        "secret": "x",
    }
    assert filterable_document(metadata, ["secret"]) == {
        "=colour": ["sred"],
        "=size": ["n3", "n0.5", "sL"],
        "<size": 0.5,
        ">size": 3.0,
        "=sold": ["t"],
        "=tags": [""],
    }


def test_example_of_the_docstring_holds() -> None:
    text = inspect.getdoc(inspect.getmodule(filterable_document)) or ""
    start, end = text.index('{"colour"'), text.index("token   value")
    before, after = text[start:end].strip().split("\n\n")
    assert filterable_document(json.loads(before), ()) == json.loads(after)


def test_equal_values_have_one_token_and_others_have_not() -> None:
    values: list[Scalar] = [*TRICKY, *EDGES, True, False]
    of_token: dict[str, Scalar] = {}
    for value in values:
        (token,) = tokens_of(value)
        known = of_token.setdefault(token, value)
        assert (type(known), known) == (type(value), value)
    assert len(of_token) == len(values) - 1, "only -0.0 and 0.0 are equal"


def test_long_strings_take_no_more_room_than_their_hash() -> None:
    assert tokens_of("x" * 32) == ["s" + "x" * 32]
    assert [len(token) for token in tokens_of(["x" * 33, "é" * 17, "x" * 2000])] == [33, 33, 33]


def test_repeated_values_are_stored_once() -> None:
    assert tokens_of([1.0, 1.0, "1", -0.0, 0.0]) == ["n1", "s1", "n0"]


def test_zero_has_no_sign() -> None:
    document = filterable_document({"f": -0.0}, ())
    assert json.dumps(document) == json.dumps({"=f": ["n0"], "<f": 0.0, ">f": 0.0})


@given(NAMES, NAMES)
@REPEATABLE
def test_names_of_members_are_plain_and_their_own(one: str, other: str) -> None:
    members = [set(filterable_document({name: 1.0}, ())) for name in (one, other)]
    assert (members[0] == members[1]) is (one == other)
    for member in members[0] | members[1]:
        assert re.fullmatch(r"[=<>]#?[A-Za-z0-9_.-]{1,32}", member)


def _filled(element: Callable[[int], Scalar]) -> list[Scalar]:
    """Return a list of as many distinct elements as OSS lets a field have."""
    values: list[Scalar] = []
    size = len('"field0":[]')
    while True:
        value = element(len(values))
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        size += len(json.dumps(whole, ensure_ascii=False).encode()) + 1
        if size > OSS.metadata_field_bytes_max:
            return values
        values.append(value)


@pytest.mark.parametrize(
    "element",
    [
        pytest.param(float, id="integers"),
        pytest.param(lambda n: n / 10, id="fractions"),
        pytest.param(lambda n: chr(ord("a") + n % 26) * (1 + n // 26), id="letters"),
        pytest.param(lambda n: chr(0x4E00 + n), id="single characters"),
        pytest.param(lambda n: chr(0x4E00 + n) * 11, id="strings just too long"),
        pytest.param(lambda n: chr(1 + n % 31) * (1 + n // 31), id="controls"),
    ],
)
def test_most_that_oss_allows_fits_in_a_field(element: Callable[[int], Scalar]) -> None:
    metadata = {f"field{n}": _filled(element) for n in range(OSS.metadata_fields_max)}
    document = json.dumps(filterable_document(metadata, ()), ensure_ascii=False)
    assert len(document.encode()) < JSON_BYTES_MAX


def test_only_printable_ascii_reaches_an_expression() -> None:
    for text in TRICKY:
        said = boolean_expression(Equals(text, text)) + keys_expression([text])
        assert said.isascii()
        assert said.isprintable()


def test_what_is_combined_nests_by_the_logarithm() -> None:
    said = boolean_expression(Or(tuple(Exists(f"f{n}", present=True) for n in range(1000))))
    depths = np.cumsum([{"(": 1, ")": -1}.get(letter, 0) for letter in said])
    assert depths.max() == 11
    assert depths[-1] == 0


def test_negation_asks_whether_the_field_is_there() -> None:
    member = 'filterable["=f"]'
    assert boolean_expression(NotEquals("f", "a")) == (
        f'(not ((exists {member}) and json_contains({member}, "sa")))'
    )


def test_one_value_of_several_types_is_asked_in_one_go() -> None:
    said = boolean_expression(In("f", ("a", 1.0, True, "a")))
    assert said == 'json_contains_any(filterable["=f"], ["sa", "n1", "t"])'


def test_whole_segment_asks_for_no_hash() -> None:
    assert after_expression("a", WHOLE) == 'key > "a"'
    assert after_expression("", Segment(2, 4)) == 'key > "" and hash % 4 == 2'


def test_what_is_no_node_is_a_loud_bug() -> None:
    foreign: Any = "no node"
    with pytest.raises(AssertionError, match="unreachable"):
        boolean_expression(foreign)


def tokens_of(value: Any) -> list[str]:
    """Return the tokens of one value."""
    tokens = filterable_document({"f": value}, ())["=f"]
    assert isinstance(tokens, list)
    return tokens
