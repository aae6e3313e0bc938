"""The inverted lists mean what filters/matcher.py means, for every node and any metadata.

Method: random metadata and expressions, shrunk by hypothesis; the matcher looks at every mapping,
the lists must name the same slots. Larger data from a seed, so that number lists are merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from oracles import NON_FILTERABLE, random_filter, random_metadata
from rooms import running
from vectorbucket.limits import OSS
from vectorbucket_server.engine.embedded.metadata_index import MetadataIndex, _value_key
from vectorbucket_server.filters.expression import (
    COMBINERS,
    OPERATORS,
    And,
    Compare,
    Comparison,
    Equals,
    Exists,
    Expression,
    In,
    NotEquals,
    NotIn,
    Or,
)
from vectorbucket_server.filters.matcher import compile_matcher
from vectorbucket_server.filters.parser import parse
from vectorbucket_server.model import Metadata, MetadataScalar

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=250)

FIELDS = ("f", "g", "absent")
LONG = "a string that is longer than sixteen characters"

TEXTS = ("", "a", "1", "true", "sixteen letters.", LONG, LONG + "!", "ü" * 17, "🜁" * 16)
NUMBERS = (0.0, -0.0, 1.0, 1.5, -1e300, 5e-324, 2.0**53)
SCALARS = st.sampled_from((*TEXTS, *NUMBERS, True, False))
METADATA = st.dictionaries(
    st.sampled_from(FIELDS[:2]), SCALARS | st.lists(SCALARS, max_size=4), max_size=2
)


def operand_of(name: str) -> st.SearchStrategy[Any]:
    """Return what may be the operand of an operator of the table."""
    if OPERATORS[name] in {In, NotIn}:
        return st.lists(SCALARS, min_size=1, max_size=3).map(tuple)
    if OPERATORS[name] is Compare:
        return st.sampled_from((-1e300, -0.0, 0.0, 1.0, 1.2, 1e300))
    return st.booleans() if OPERATORS[name] is Exists else SCALARS


def condition(name: str, field: str, operand: Any) -> Expression:
    """Return the node of an operator of the table."""
    kind: Any = OPERATORS[name]
    if kind is Compare:
        return Compare(field, Comparison(name), operand)
    node: Expression = kind(field, operand)
    return node


CONDITIONS = st.sampled_from(list(OPERATORS)).flatmap(
    lambda name: st.builds(condition, st.just(name), st.sampled_from(FIELDS), operand_of(name))
)
EXPRESSIONS = st.recursive(
    CONDITIONS,
    lambda inner: st.builds(
        lambda kind, operands: kind(tuple(operands)),
        st.sampled_from(list(COMBINERS.values())),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


def indexed(metadata: Sequence[Metadata], *, pieces: int = 1) -> MetadataIndex:
    """Return the lists of metadata whose slots are their positions."""
    index = MetadataIndex((NON_FILTERABLE,))
    size = max(1, -(-len(metadata) // pieces))
    for first in range(0, len(metadata), size):
        index.add(first, metadata[first : first + size])
    return index


def matching(index: MetadataIndex, expression: Expression, count: int) -> list[int]:
    """Return the slots of a view that match, as a reader takes them."""
    return list(index.matching(expression, count))


def expected(metadata: Sequence[Metadata], expression: Expression) -> list[int]:
    """Return the positions of the metadata that match."""
    matches = compile_matcher(expression)
    return [position for position, mapping in enumerate(metadata) if matches(mapping)]


def test_every_node_of_the_language_is_evaluated() -> None:
    assert set(MetadataIndex._EVALUATE) == {*OPERATORS.values(), *COMBINERS.values()}


@pytest.mark.parametrize("name", OPERATORS)
@settings(QUICK, max_examples=100)
@given(data=st.data(), metadata=st.lists(METADATA, max_size=8))
def test_operator_means_what_the_matcher_means(
    name: str, data: st.DataObject, metadata: list[Metadata]
) -> None:
    expression = condition(name, "f", data.draw(operand_of(name)))
    assert matching(indexed(metadata), expression, len(metadata)) == expected(metadata, expression)


@QUICK
@given(EXPRESSIONS, st.lists(METADATA, max_size=12), st.integers(1, 4), st.integers(0, 12))
def test_expression_means_what_the_matcher_means_in_every_view(
    expression: Expression, metadata: list[Metadata], pieces: int, count: int
) -> None:
    seen = metadata[:count]
    index = indexed(metadata, pieces=pieces)
    assert matching(index, expression, len(seen)) == expected(seen, expression)


def test_lists_and_matcher_agree_on_many_vectors() -> None:
    rng = np.random.default_rng(1)
    metadata: list[Metadata] = [random_metadata(rng) for _ in range(12_000)]
    index = indexed(metadata, pieces=40)
    assert len(index.fields["size"].numbers._pairs.values) > 4_096, "numbers were to be merged"
    found = 0
    for _ in range(60):
        expression = parse(random_filter(rng), limits=OSS, non_filterable_keys=())
        assert expression is not None
        slots = matching(index, expression, len(metadata))
        assert slots == expected(metadata, expression)
        found += bool(slots)
    assert found > 30, "filters that match nothing show nothing"


def test_empty_index_matches_only_what_asks_for_absence() -> None:
    index = indexed([])
    assert matching(index, NotEquals("f", 1.0), 0) == []
    assert matching(index, Equals("f", "a"), 0) == []


def test_vectors_without_metadata_match_what_asks_for_absence() -> None:
    index = indexed([{}, {"f": []}, {"f": "a"}])
    assert matching(index, NotEquals("f", "a"), 3) == [0, 1]
    assert matching(index, Exists("f", present=False), 3) == [0]
    assert matching(index, Exists("f", present=True), 3) == [1, 2]


@pytest.mark.parametrize("value", ["a", LONG, True, 2.0])
@pytest.mark.parametrize("count", [1, 2, 3, 1_000])
def test_value_is_found_however_many_have_it(value: MetadataScalar, count: int) -> None:
    metadata: list[Metadata] = [*({"f": value} for _ in range(count)), {"f": "other"}]
    index = indexed(metadata, pieces=len(metadata) if count < 10 else 7)
    assert matching(index, Equals("f", value), len(metadata)) == list(range(count))


def test_value_that_is_had_once_takes_no_bitmap() -> None:
    index = indexed([{"f": ["a", "a"]}, {"f": "b"}, {"f": "b"}])
    listed = index.fields["f"].values
    assert listed["a"] == 0
    assert listed["b"] == BitMap((1, 2))


def test_long_strings_are_kept_apart_to_their_last_character() -> None:
    metadata: list[Metadata] = [{"f": LONG + end} for end in ("", "a", "b", "ab")]
    index = indexed(metadata)
    for slot, mapping in enumerate(metadata):
        value = mapping["f"]
        assert isinstance(value, str)
        assert matching(index, Equals("f", value), 4) == [slot]
    assert matching(index, Equals("f", LONG[:16]), 4) == []


def test_long_strings_take_a_bounded_key() -> None:
    assert _value_key("x" * 16) == "x" * 16
    for value in ("x" * 17, "x" * 100_000, "🜁" * 17):
        key = _value_key(value)
        assert isinstance(key, bytes)
        assert len(key) == 16


def test_values_of_different_types_are_different_values() -> None:
    metadata: list[Metadata] = [{"f": 1.0}, {"f": "1"}, {"f": True}, {"f": "true"}, {"f": "True"}]
    index = indexed(metadata)
    values: tuple[MetadataScalar, ...] = (1.0, "1", True, "true", "True")
    for slot, value in enumerate(values):
        assert matching(index, Equals("f", value), 5) == [slot]


def test_list_of_mixed_types_is_found_by_each_of_them() -> None:
    index = indexed([{"f": [True, 3.0, "x", LONG]}, {"f": "x"}])
    values: tuple[MetadataScalar, ...] = (True, 3.0, LONG)
    for value in values:
        assert matching(index, Equals("f", value), 2) == [0]
    assert matching(index, In("f", ("x", 99.0)), 2) == [0, 1]
    assert matching(index, Compare("f", Comparison.GT, 2.0), 2) == [0]


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [
        ([f"short {number}" for number in range(10_000)], 120, 160),
        ([f"{LONG} {number}" for number in range(10_000)], 120, 160),
        ([f"short {number // 2}" for number in range(10_000)], 120, 160),
        ([float(number) for number in range(10_000)], 12, 14),
        ([bool(number % 2) for number in range(10_000)], 0.1, 3),
    ],
)
def test_size_is_about_what_was_measured(
    values: Sequence[MetadataScalar], least: float, most: float
) -> None:
    index = indexed([{"f": value} for value in values], pieces=10)
    assert least < index.size_bytes / len(values) < most


def test_size_is_the_same_after_lists_were_taken_over() -> None:
    rng = np.random.default_rng(1)
    index = indexed([random_metadata(rng) for _ in range(2_000)], pieces=10)
    size = index.size_bytes
    assert size > 0
    taken = MetadataIndex(())
    taken.resume(index.fields)
    # A list that names a value twice was counted twice.
    assert taken.size_bytes == pytest.approx(size, rel=0.01)
    assert indexed([]).size_bytes == 0


def test_ranges_and_texts_are_combined() -> None:
    metadata: list[Metadata] = [
        {"n": float(number * 7_919 % 5_000), "s": "ab"[number % 2]} for number in range(5_000)
    ]
    index = indexed(metadata, pieces=3)
    for operand in (0.0, 3.0, 200.0, 2_500.0, 4_999.0):
        below = Compare("n", Comparison.LT, operand)
        for expression in (
            below,
            And((below,)),
            Or((below,)),
            And((below, Equals("s", "a"))),
            Or((below, Equals("n", 4_000.0))),
            NotIn("n", (operand, 1.0)),
            NotEquals("n", operand),
        ):
            assert matching(index, expression, 5_000) == expected(metadata, expression)


def test_non_filterable_fields_are_not_listed() -> None:
    index = indexed([{NON_FILTERABLE: "a", "f": "b"}])
    assert set(index.fields) == {"f"}


def test_answer_does_not_change_the_lists() -> None:
    metadata: list[Metadata] = [{"f": "a", "g": "b"}, {"f": "a"}, {"g": "b"}]
    index = indexed(metadata)
    both = And((Equals("f", "a"), Equals("g", "b")))
    either = Or((Equals("f", "a"), NotEquals("g", "b")))
    for _ in range(2):
        assert matching(index, both, 3) == [0]
        assert matching(index, either, 3) == [0, 1]
        assert matching(index, Equals("f", "a"), 3) == [0, 1]
        assert matching(index, Equals("g", "b"), 3) == [0, 2]


def test_reader_sees_its_view_beside_the_writer() -> None:
    metadata: list[Metadata] = [
        {"n": float(number % 7), "s": "ab"[number % 2], "l": LONG} for number in range(6_000)
    ]
    asked: list[Expression] = [
        Equals("s", "a"),
        NotEquals("s", "a"),
        Compare("n", Comparison.GTE, 3.0),
        And((Equals("l", LONG), NotIn("n", (1.0, 2.0)))),
    ]
    truth = [expected(metadata, expression) for expression in asked]
    index = MetadataIndex(())
    published = [0]
    wrong: list[str] = []

    def read() -> None:
        while published[-1] < len(metadata):
            count = published[-1]
            for expression, slots in zip(asked, truth, strict=True):
                seen = matching(index, expression, count)
                if seen != slots[: np.searchsorted(slots, count)]:
                    wrong.append(f"{expression} of {count}")

    with running(read, times=2):
        for first in range(0, len(metadata), 50):
            index.add(first, metadata[first : first + 50])
            published.append(first + 50)
    assert wrong == []


def test_ends_of_a_range_may_be_met_by_two_numbers_of_a_list_and_by_one_alone() -> None:
    between = And((Compare("f", Comparison.GTE, 3.0), Compare("f", Comparison.LT, 7.0)))
    lists = MetadataIndex(())
    lists.add(0, [{"f": 2.0}, {"f": 3.0}, {"f": 7.0}])
    assert list(lists.matching(between, 3)) == [1]
    lists.add(3, [{"f": [1.0, 9.0]}, {"f": [1.0, 2.0]}])
    assert list(lists.matching(between, 3)) == [1], "an older view, evaluated now"
    assert list(lists.matching(between, 5)) == [1, 3]
    both = And((*between.operands, Exists("g", present=False)))
    assert list(lists.matching(both, 5)) == [1, 3]
