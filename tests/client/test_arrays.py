"""Numbers in every form a caller may have them become the same float32 bytes, or a named error."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vectorbucket import VectorIndexParameterInvalid
from vectorbucket._arrays import float32_array, float32_rows

MATRIX = np.array([[1.0, -2.5, 0.0], [3.25, 1e-40, -0.0]], dtype=np.float32)


@pytest.mark.parametrize(
    "values",
    [
        MATRIX.tolist(),
        tuple(map(tuple, MATRIX.tolist())),
        MATRIX.astype(np.float64),
        MATRIX.astype(">f4"),
        np.asfortranarray(MATRIX),
        np.repeat(MATRIX, 2, axis=0)[::2],
        [MATRIX[0], MATRIX[1].tolist()],
    ],
    ids=["lists", "tuples", "float64", "big-endian", "fortran", "strided", "mixed"],
)
def test_every_form_of_the_same_numbers_becomes_the_same_bytes(values: npt.ArrayLike) -> None:
    array = float32_array(values, "data", axes=2)
    assert array.flags.c_contiguous
    assert array.dtype == np.dtype("<f4")
    assert array.tobytes() == MATRIX.tobytes()


def test_float32_array_is_looked_at_and_not_copied() -> None:
    assert float32_array(MATRIX, "data", axes=2) is MATRIX


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float16, np.longdouble])
def test_numbers_of_any_type_are_taken(dtype: type[np.generic]) -> None:
    array = float32_array(np.array([1, 2, 3], dtype=dtype), "data", axes=1)
    assert array.tolist() == [1.0, 2.0, 3.0]


def test_integers_past_64_bits_are_numbers_too() -> None:
    assert float32_array([2**70, 1], "data", axes=1).tolist() == [float(2**70), 1.0]
    fractions: Any = [Fraction(1, 2), 2**70]
    assert float32_array(fractions, "data", axes=1).tolist() == [0.5, float(2**70)]


def test_signalling_bits_of_float32_survive() -> None:
    subnormal = np.array([0x00000001, 0x80000000], dtype=np.uint32).view(np.float32)
    assert float32_array(subnormal, "data", axes=1).tobytes() == subnormal.tobytes()


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0, 1.0, float("nan")], "holds nan at position 2"),
        ([0.0, float("-inf")], "holds -inf at position 1"),
        ([1e39], r"holds 1e\+39 at position 0"),
        (np.array([0.0, -3.5e38]), r"holds -3.5e\+38 at position 1"),
        (np.array([np.nan], dtype=np.float32), "holds nan at position 0"),
    ],
)
def test_number_that_float32_cannot_hold_is_named(values: npt.ArrayLike, shown: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=f": query_vector {shown}; ") as caught:
        float32_array(values, "query_vector", axes=1)
    assert caught.value.field == "query_vector"
    assert "within ±3.40282" in caught.value.message


def test_bad_number_of_a_matrix_is_named_with_its_row() -> None:
    spoiled = MATRIX.copy()
    spoiled[1, 2] = np.inf
    with pytest.raises(VectorIndexParameterInvalid, match="holds inf at position 2") as caught:
        float32_array(spoiled, "query_vectors", axes=2)
    assert caught.value.field == "query_vectors[1]"


@pytest.mark.parametrize(
    ("values", "axes", "problem"),
    [
        (None, 1, "data is missing"),
        ([[1.0], [2.0, 3.0]], 2, "data is not a list of vectors of equal length: "),
        ([[1.0, 2.0]], 1, r"data has shape \(1, 2\); it must be a list of numbers"),
        ([1.0, 2.0], 2, r"data has shape \(2,\); it must be a list of vectors of equal length"),
        (3.5, 1, r"data has shape \(\); it must be a list of numbers"),
        (["1.5", "2.5"], 1, "data holds <U3, for example .*1.5"),
        ("abc", 1, "data holds <U3"),
        ([True, False], 1, "data holds bool, for example .*True"),
        ([1j], 1, "data holds complex128"),
        ([1.0, None], 1, r"data\[1\] is None; it must be a number"),
        ([2**70, True], 1, r"data\[1\] is True; it must be a number"),
        ([Decimal(1)], 1, r"data\[0\] is Decimal\('1'\); it must be a number"),
        ([10**400], 1, "data holds an integer past the range of float32"),
        ({"float32": [1.0]}, 1, r"data is \{'float32': \[1.0\]\}; it must be a number"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(
    values: npt.ArrayLike, axes: int, problem: str
) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=f": {problem}") as caught:
        float32_array(values, "data", axes=axes)
    assert caught.value.field == "data"


def test_rows_of_a_matrix_are_the_bytes_of_its_vectors() -> None:
    assert float32_rows(MATRIX) == [MATRIX[0].tobytes(), MATRIX[1].tobytes()]  # type: ignore[arg-type]


def test_rows_need_not_be_equally_long() -> None:
    assert float32_rows([[1.0], [2.0, 3.0]]) == [
        np.array([1.0], np.float32).tobytes(),
        np.array([2.0, 3.0], np.float32).tobytes(),
    ]


def test_bad_row_does_not_spoil_its_neighbours() -> None:
    good, bad, missing = float32_rows([[1.0, 2.0], [1.0, float("inf")], None])
    assert good == np.array([1.0, 2.0], np.float32).tobytes()
    assert isinstance(bad, VectorIndexParameterInvalid)
    assert bad.message.startswith("data holds inf at position 1")
    assert isinstance(missing, VectorIndexParameterInvalid)
    assert missing.message == "data is missing"


@pytest.mark.parametrize("rows", [[], [[]], [[], []], np.empty((0, 4)), np.empty((2, 0))])
def test_rows_without_numbers_are_rows_without_bytes(rows: list[list[float]]) -> None:
    assert float32_rows(rows) == [b""] * len(rows)
