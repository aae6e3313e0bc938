"""Lists that were written and read again answer every filter as they did, and go on.

Method: lists are filled with what hypothesis draws, and both are asked about each value of each
field; what they answer, and not how they are kept, is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import random_metadata
from vectorbucket_server.engine.embedded import metadata_file
from vectorbucket_server.engine.embedded.metadata_index import MetadataIndex
from vectorbucket_server.filters.expression import (
    Compare,
    Comparison,
    Equals,
    Exists,
    Expression,
    In,
    NotEquals,
)
from vectorbucket_server.model import Metadata

FIELDS = ("colour", "n", "grün")
LONG = "long" * 20
TEXTS = st.sampled_from(["", "red", "grün", "1", "x" * 16, "x" * 17, LONG, LONG + "é"])
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.5, 1e300, 5e-324, 2.0**53]) | st.floats(
    allow_nan=False, allow_infinity=False
)
SCALARS = TEXTS | NUMBERS | st.booleans() | st.text(max_size=40)
METADATA = st.dictionaries(
    st.sampled_from(FIELDS), SCALARS | st.lists(SCALARS, max_size=4), max_size=4
)


def lists_of(metadata: Sequence[Metadata], *skipped: str) -> MetadataIndex:
    """Return the lists of these slots."""
    lists = MetadataIndex(skipped)
    lists.add(0, metadata)
    return lists


def again(lists: MetadataIndex, *skipped: str) -> MetadataIndex:
    """Return the lists, written and read."""
    return metadata_file.decode(metadata_file.encode(lists), skipped)


def questions(metadata: Sequence[Metadata]) -> Iterator[Expression]:
    """Yield filters on each value that is there, and on some that are not."""
    for field in (*FIELDS, "unknown"):
        yield Exists(field, present=True)
        yield Exists(field, present=False)
        for mapping in metadata:
            value = mapping.get(field, "absent")
            elements = [value] if isinstance(value, str | bool | float) else list(value)
            yield In(field, ("absent", *elements))
            for element in elements:
                yield Equals(field, element)
                yield NotEquals(field, element)
                if isinstance(element, float):
                    yield from (Compare(field, comparison, element) for comparison in Comparison)


def assert_alike(
    found: MetadataIndex, lists: MetadataIndex, metadata: Sequence[Metadata], count: int
) -> None:
    """Check that two indexes answer alike."""
    for question in questions(metadata):
        assert list(found.matching(question, count)) == list(lists.matching(question, count))


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(st.lists(METADATA, max_size=12))
def test_lists_that_were_read_answer_as_those_that_were_written(metadata: list[Metadata]) -> None:
    lists = lists_of(metadata)
    assert_alike(again(lists), lists, metadata, len(metadata))


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(st.lists(METADATA, max_size=8), st.lists(METADATA, max_size=8))
def test_lists_that_were_read_take_more(first: list[Metadata], later: list[Metadata]) -> None:
    lists, everything = lists_of(first), [*first, *later]
    found = again(lists)
    for one in (lists, found):
        one.add(len(first), later)
    assert_alike(found, lists, everything, len(everything))
    assert_alike(again(found), lists, everything, len(everything))


def test_many_slots_and_many_values_come_back() -> None:
    rng = np.random.default_rng(1)
    metadata = [random_metadata(rng) | {"n": float(number)} for number in range(5_000)]
    lists = MetadataIndex(())
    for start in range(0, 5_000, 100):  # so that numbers are in both of their parts
        lists.add(start, metadata[start : start + 100])
    found = again(lists)
    for operand in (-1.0, 0.0, 99.5, 4_999.0):
        for comparison in Comparison:
            asked = Compare("n", comparison, operand)
            assert list(found.matching(asked, 5_000)) == list(lists.matching(asked, 5_000))
    assert_alike(found, lists, metadata[::500], 5_000)
    assert_alike(found, lists, metadata[::500], 1_234)


def test_boolean_is_no_number_and_no_text() -> None:
    metadata: list[Metadata] = [
        {"n": True}, {"n": 1.0}, {"n": "true"}, {"n": False}, {"n": 0.0}, {"n": "1"}, {"n": True},
    ]  # fmt: skip
    found = again(lists_of(metadata))
    assert list(found.matching(Equals("n", value=True), 7)) == [0, 6]
    assert list(found.matching(Equals("n", value=False), 7)) == [3]
    assert list(found.matching(Equals("n", 1.0), 7)) == [1]
    assert list(found.matching(Equals("n", "1"), 7)) == [5]


def test_long_texts_that_begin_alike_stay_apart() -> None:
    metadata: list[Metadata] = [{"t": LONG + "a"}, {"t": LONG + "b"}, {"t": LONG + "a"}]
    found = again(lists_of(metadata))
    assert list(found.matching(Equals("t", LONG + "a"), 3)) == [0, 2]
    assert list(found.matching(Equals("t", LONG + "b"), 3)) == [1]


def test_fields_that_no_filter_may_name_stay_unlisted() -> None:
    found = again(lists_of([{"note": "x", "n": 1.0}], "note"), "note")
    found.add(1, [{"note": "y", "n": 2.0}])
    assert set(found.fields) == {"n"}


def test_index_without_metadata_is_read_empty() -> None:
    for count in (0, 2):
        found = again(lists_of([{}] * count))
        assert found.fields == {}
        assert list(found.matching(Exists("n", present=False), 2)) == [0, 1]


def test_writing_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    metadata = [random_metadata(rng) for _ in range(200)]
    lists, untouched = lists_of(metadata), lists_of(metadata)
    assert metadata_file.encode(lists) == metadata_file.encode(lists)
    assert_alike(lists, untouched, metadata[:20], 200)


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\x00", b"{}", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"n": [b"", []]})],
)
def test_bytes_that_are_no_lists_are_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="no lists of metadata"):
        metadata_file.decode(encoded, ())


def test_lists_of_different_lengths_are_refused() -> None:
    encoded = metadata_file.encode(lists_of([{"n": "red"}]))
    records = msgspec.msgpack.decode(encoded)
    records["n"][2] = []  # the slot of the only value is missing
    with pytest.raises(ValueError, match="shorter"):
        metadata_file.decode(msgspec.msgpack.encode(records), ())
