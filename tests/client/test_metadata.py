"""Metadata comes back as it was given, and what the contract cannot say is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oracles import random_metadata
from vectorbucket import VectorIndexParameterInvalid
from vectorbucket._metadata import fill_metadata, plain_number, read_metadata, text_bytes
from vectorbucket.v1 import vector_pb2


def through_a_message(metadata: Any) -> dict[str, Any]:
    """Return what metadata looks like after a trip over the wire."""
    message = vector_pb2.Vector()
    fill_metadata(message.metadata, metadata)
    parsed = vector_pb2.Vector.FromString(message.SerializeToString())
    return dict(read_metadata(parsed.metadata))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "comedy",
        "blau-grün 🜁",
        0,
        -7,
        2**53,
        -(2**53),
        0.5,
        -1e300,
        5e-324,
        True,
        False,
        [],
        [""],
        ["a", "b", "a"],
        [1, 0.5, True, False, "x", ""],
    ],
    ids=repr,
)
def test_value_comes_back_as_it_was_given(value: object) -> None:
    back = through_a_message({"field": value})["field"]
    assert back == value
    assert type(back) is type(value)


def test_random_metadata_comes_back() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        metadata = random_metadata(rng)
        assert through_a_message(metadata) == metadata


def test_whole_numbers_come_back_as_integers_within_their_exact_range() -> None:
    back = through_a_message({"a": 1.0, "b": -3.0, "c": float(2**53), "d": 2.0**54, "e": [4.0]})
    assert [type(back[name]) for name in "abcde"] == [int, int, int, float, list]
    assert type(back["e"][0]) is int
    assert plain_number(1.5) == 1.5


def test_tuples_and_numpy_scalars_are_plain_values() -> None:
    metadata = {
        "tags": ("a", np.str_("b")),
        "text": np.str_("c"),
        "count": np.int64(3),
        "small": np.uint8(4),
        "share": np.float32(0.5),
        "free": np.bool_(True),  # noqa: FBT003 - the value under test
        "mixed": [np.float64(2.5), np.int32(1)],
    }
    assert through_a_message(metadata) == {
        "tags": ["a", "b"],
        "text": "c",
        "count": 3,
        "small": 4,
        "share": 0.5,
        "free": True,
        "mixed": [2.5, 1],
    }


@pytest.mark.parametrize("metadata", [None, {}])
def test_no_metadata_adds_nothing(metadata: dict[str, Any] | None) -> None:
    message = vector_pb2.Vector()
    assert fill_metadata(message.metadata, metadata) == 0
    assert message.ByteSize() == 0


@pytest.mark.parametrize(
    ("metadata", "field", "problem"),
    [
        ({"size": 2**53 + 1}, "metadata.size", "is 9007199254740993; integers are exact"),
        ({"size": -(2**60)}, "metadata.size", "integers are exact within ±2^53 only"),
        ({"size": np.int64(2**60)}, "metadata.size", "integers are exact"),
        ({"ids": [1, 2**53 + 1]}, "metadata.ids[1]", "is 9007199254740993"),
        ({"a": None}, "metadata.a", "is None; it must be text, a number, a boolean or a list"),
        ({"a": ["x", None]}, "metadata.a[1]", "is None"),
        ({"a": {"b": 1}}, "metadata.a", "is a dict"),
        ({"a": [["b"]]}, "metadata.a[0]", "is a list"),
        ({"a": {"b"}}, "metadata.a", "is a set"),
        ({"a": b"raw"}, "metadata.a", "is a bytes"),
        ({"a": 1j}, "metadata.a", "is a complex"),
        ({"a": float("nan")}, "metadata.a", "is nan; numbers must be finite"),
        ({"a": [float("inf")]}, "metadata.a[0]", "is inf; numbers must be finite"),
        ({"a": np.float32("nan")}, "metadata.a", "is nan"),
        ({3: "a"}, "metadata", "has a field named 3"),
        ({b"a": "a"}, "metadata", "has a field named b'a'"),
        (["a"], "metadata", "is list; it must be a dict"),
        ({"a": "\ud800"}, "metadata.'a'", "no Unicode text"),
        ({"\udfff": "a"}, "metadata.'\\udfff'", "no Unicode text"),
        ({"a": ["ok", "\ud800"]}, "metadata.'a'", "no Unicode text"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_value_that_the_contract_cannot_say_is_named(
    metadata: Any, field: str, problem: str
) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        fill_metadata(vector_pb2.Vector().metadata, metadata)
    assert caught.value.field == field
    assert problem in caught.value.message
    assert caught.value.message.startswith(field)


def test_bytes_that_are_counted_are_never_fewer_than_those_sent() -> None:
    rng = np.random.default_rng(6)
    for _ in range(300):
        metadata = random_metadata(rng) | {"blau-grün 🜁" * 30: "ö" * int(rng.integers(300))}
        message = vector_pb2.Vector()
        size = fill_metadata(message.metadata, metadata)
        assert message.ByteSize() <= size <= message.ByteSize() + 24 * len(metadata) + 20 * 4


@pytest.mark.parametrize("text", ["", "a", "ö", "🜁x"])
def test_text_bytes_are_those_of_utf8(text: str) -> None:
    assert text_bytes(text) == len(text.encode())


def test_longest_texts_are_counted_with_their_longer_lengths() -> None:
    message = vector_pb2.Vector()
    size = fill_metadata(message.metadata, {"x" * 70_000: ["y" * 3_000_000], "n": 1.5})
    assert message.ByteSize() <= size
