"""Keys, numbers and metadata of a batch."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import OSS, UNLIMITED, Limits, MetadataTypes
from vectorbucket_server.model import DistanceMetric, Index
from vectorbucket_server.service.vector_checks import (
    check_keys,
    check_metadata,
    check_numbers,
    check_unique,
    shown_number,
)

INDEX = Index("photos", "faces", 4, DistanceMetric.COSINE, ("blob",))
COSINE, EUCLIDEAN = DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN


def check(fields: dict[str, Any], limits: Limits = OSS) -> None:
    """Check metadata as that of the third vector of a batch."""
    check_metadata([{}, {"a": "b"}, fields], INDEX, "vectors[{}].metadata", limits)


def json_bytes(value: object) -> int:
    """Measure a value as the contract says, with another library."""
    if isinstance(value, list):
        value = [int(one) if isinstance(one, float) and one.is_integer() else one for one in value]
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


# --- Keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["a", "k" * 256, "k" * 1024, "é" * 512, "🜁" * 256, " ", "\0", "/"])
def test_legal_key_passes(key: str) -> None:
    check_keys(["first", key], "vectors[{}].key", OSS)


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, "🜁" * 257])
def test_illegal_key_is_refused_with_its_place(key: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="1 to 1024") as caught:
        check_keys(["first", key], "vectors[{}].key", OSS)
    assert caught.value.field == "vectors[1].key"
    assert f"{len(key.encode())} bytes" in caught.value.message


def test_second_of_equal_keys_is_named_with_the_first() -> None:
    check_unique(["a", "b", "A"], "keys[{}]")
    with pytest.raises(VectorIndexParameterInvalid, match=r"'b' stands at keys\[1\]") as caught:
        check_unique(["a", "b", "c", "b", "a"], "keys[{}]")
    assert caught.value.field == "keys[3]"


# --- Numbers --------------------------------------------------------------------------------------


def rows(*numbers: list[float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    with np.errstate(over="ignore"):
        return np.array(numbers, np.float32)


def test_finite_numbers_pass_up_to_the_ends_of_float32() -> None:
    largest = float(np.finfo(np.float32).max)
    check_numbers(rows([largest, -largest, 1e-45, 0.0]), COSINE, "vectors[{}].data")
    check_numbers(rows([0, 0], [-0.0, 0]), EUCLIDEAN, "vectors[{}].data")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 3.5e38])
def test_number_that_is_not_finite_is_refused_with_its_place(number: float) -> None:
    data = rows([1, 2, 3], [4, 5, number], [number, 1, 1])
    for metric in DistanceMetric:
        with pytest.raises(VectorIndexParameterInvalid, match="at position 2") as caught:
            check_numbers(data, metric, "vectors[{}].data")
        assert caught.value.field == "vectors[1].data"
        assert caught.value.details["value"] in {"nan", "inf", "-inf"}


def test_zero_vector_is_refused_under_cosine_with_its_place() -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="zero vector") as caught:
        check_numbers(rows([1, 0], [0, -0.0], [0, 0]), COSINE, "vectors[{}].data")
    assert caught.value.field == "vectors[1].data"


# --- Metadata -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text",
        0.0,
        -1.5,
        2.0**53,
        -(2.0**53),
        1e-300,
        True,
        False,
        [],
        ["a", 1.0, True],
        "é" * 900,
    ],
)
def test_legal_value_passes(value: object) -> None:
    check({"field": value})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "holds nan"),
        (math.inf, "holds inf"),
        ([1.0, -math.inf], "holds -inf"),
        (2.0**53 + 2, "holds 9007199254740994"),
        (-1e19, "holds -10000000000000000000"),
        ([1e300], r"holds 1e\+300"),
    ],
)
def test_number_out_of_range_is_refused_and_shown(value: object, words: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=words) as caught:
        check({"ok": "x", "field": value})
    assert caught.value.field == "vectors[2].metadata.field"


@pytest.mark.parametrize("size_change", [0, 1])
@pytest.mark.parametrize(
    ("name", "filler"),
    [("title", "x"), ("title", "é"), ("title", '"'), ("title", "\n"), ("tïtle", "🜁")],
)
def test_filterable_field_may_have_2_kb_and_no_byte_more(
    name: str, filler: str, size_change: int
) -> None:
    room = OSS.metadata_field_bytes_max - json_bytes(name) - 2
    each = json_bytes(filler) - 2
    value = filler * (room // each) + "x" * (room % each + size_change)
    size = json_bytes(name) + json_bytes(value)
    assert size == OSS.metadata_field_bytes_max + size_change
    if not size_change:
        check({name: value})
        return
    with pytest.raises(VectorIndexParameterInvalid, match=r"2049 bytes.*2048") as caught:
        check({name: value})
    assert caught.value.field == f"vectors[2].metadata.{name}"


def test_numbers_count_as_they_are_written_without_a_fraction() -> None:
    # As "1" 1,010 of them fit; as "1.0" they would not.
    ones = [1.0] * 1_010
    assert json_bytes("n") + json_bytes(ones) <= OSS.metadata_field_bytes_max
    check({"n": ones})
    with pytest.raises(VectorIndexParameterInvalid, match="2048"):
        check({"n": [1.0] * 1_030})


def test_non_filterable_field_may_be_larger_than_a_filterable_one() -> None:
    check({"blob": "x" * 30_000})
    with pytest.raises(VectorIndexParameterInvalid, match="2048"):
        check({"text": "x" * 30_000})


def test_all_fields_together_may_have_40_kb_and_no_byte_more() -> None:
    small = {f"f{number}": "x" * 1000 for number in range(9)}
    used = sum(json_bytes(name) + json_bytes(value) for name, value in small.items())
    room = OSS.metadata_bytes_max - used - json_bytes("blob") - 2
    check(small | {"blob": "x" * room})
    with pytest.raises(VectorIndexParameterInvalid, match=r"40961 bytes.*40960") as caught:
        check(small | {"blob": "x" * (room + 1)})
    assert caught.value.field == "vectors[2].metadata"


def test_total_smaller_than_a_field_may_be_is_kept_to_as_well() -> None:
    limits = replace(OSS, metadata_bytes_max=100)
    check({"a": "x" * 80}, limits)
    with pytest.raises(VectorIndexParameterInvalid, match="limit is 100"):
        check({"a": "x" * 60, "b": "x" * 60}, limits)


def test_ten_fields_pass_and_eleven_do_not() -> None:
    ten = {f"f{number}": "x" for number in range(10)}
    check(ten)
    with pytest.raises(VectorIndexParameterInvalid, match="11 fields; the limit is 10"):
        check(ten | {"blob": "x"})


@pytest.mark.parametrize("name", ["", "$eq", "$", "n" * 256, "é" * 128])
def test_illegal_name_is_refused(name: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        check({name: "x"})
    assert caught.value.field == "vectors[2].metadata"


@pytest.mark.parametrize("name", ["a", "with space", "a$", "n" * 255, "ä.b", "and"])
def test_legal_name_passes(name: str) -> None:
    check({name: "x"})


def test_texts_only_refuses_everything_else() -> None:
    limits = replace(OSS, metadata_types=MetadataTypes.STRINGS)
    check({"a": "x", "b": ["x", "y"], "c": [], "d": ""}, limits)
    for value in (1.0, True, ["x", 2.0], [False]):
        with pytest.raises(VectorIndexParameterInvalid, match="only texts") as caught:
            check({"field": value}, limits)
        assert caught.value.field == "vectors[2].metadata.field"


def test_unlimited_profile_lifts_sizes_and_counts_but_not_meaning() -> None:
    check({f"f{number}": "x" * 50_000 for number in range(20)}, UNLIMITED)
    with pytest.raises(VectorIndexParameterInvalid):
        check({"field": math.nan}, UNLIMITED)
    with pytest.raises(VectorIndexParameterInvalid):
        check({"$field": "x"}, UNLIMITED)


def test_sizes_agree_with_a_plain_measure_on_random_metadata() -> None:
    chance = random.Random(2)
    limits = replace(OSS, metadata_field_bytes_max=60, metadata_bytes_max=150)
    refused = 0
    for _ in range(3_000):
        fields: dict[str, Any] = {
            f"f{number}": chance.choice(
                ["é" * chance.randrange(30), float(chance.randrange(10**12)), [1.0, "x", True] * 4]
            )
            for number in range(chance.randrange(8))
        }
        sizes = [json_bytes(name) + json_bytes(value) for name, value in fields.items()]
        fits = all(size <= 60 for size in sizes) and sum(sizes) <= 150
        try:
            check(fields, limits)
        except VectorIndexParameterInvalid:
            refused += 1
            assert not fits, fields
        else:
            assert fits, fields
    assert 300 < refused < 2_700


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (2.5, "2.5"), (-3.0, "-3"), (True, "true"), (False, "false"), (1e300, "1e+300")],
)
def test_numbers_are_shown_as_people_write_them(value: float, text: str) -> None:
    assert shown_number(value) == text
