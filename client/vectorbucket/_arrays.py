"""Numbers as callers have them (arrays, lists, anything numpy reads) → float32 as the wire has it.

Rules of this file: pure; what float32 cannot hold (NaN, infinity, a number past its range) is an
error that names the place and the value, never a silent infinity; arrays that are float32 already
are looked at, not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from vectorbucket._models import Float32Array
from vectorbucket.errors import VectorIndexParameterInvalid

_NUMBERS = "fiu"
"""The kinds of numpy types that are numbers; booleans and texts that look like some are not."""

_SHAPES = {1: "a list of numbers", 2: "a list of vectors of equal length"}
"""What an array-like of so many axes is called in a message."""


def float32_array(values: npt.ArrayLike, field: str, *, axes: int) -> Float32Array:
    """Return values as float32, little-endian and C-contiguous; the same array if it is that.

    Args:
        values: An array or nested lists of numbers.
        field: The path of the values in the request, for the message.
        axes: How many axes the array must have, 1 or 2.

    Raises:
        VectorIndexParameterInvalid: The values are no such array, or float32 cannot hold one.
    """
    array = _number_array(values, field, axes)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, dtype="<f4")
    finite = np.isfinite(single)
    if not finite.all():
        raise _not_finite(array, finite, field)
    return single


def float32_rows(rows: Sequence[Any]) -> list[bytes | VectorIndexParameterInvalid]:
    """Return the numbers of each vector as little-endian float32 bytes, or what is wrong with them.

    The field that an error names is relative to its vector: ``data``.

    Args:
        rows: An array of shape (n, dimension), or n array-likes of one axis each, which need not be
            equally long (whether they fit an index, the server knows).
    """
    try:
        matrix = float32_array(rows, "data", axes=2)
    except VectorIndexParameterInvalid:
        # One vector spoils the matrix: say which.
        return [_float32_row(row) for row in rows]
    # Slices of one block are cheaper than a call of tobytes for each row.
    blob, width = matrix.tobytes(), matrix.shape[1] * 4
    return [blob[row * width : (row + 1) * width] for row in range(len(rows))]


def _float32_row(row: Any) -> bytes | VectorIndexParameterInvalid:
    """Return one vector's bytes, or what is wrong with it."""
    try:
        return float32_array(row, "data", axes=1).tobytes()
    except VectorIndexParameterInvalid as error:
        return error


def _number_array(values: npt.ArrayLike, field: str, axes: int) -> npt.NDArray[Any]:
    """Return values as an array of numbers of any type, of so many axes."""
    if values is None:
        raise VectorIndexParameterInvalid(f"{field} is missing", field=field)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise VectorIndexParameterInvalid(
            f"{field} is not {_SHAPES[axes]}: {error}", field=field
        ) from error
    if array.dtype.kind == "O":
        array = _numbers_of_objects(array, field)
    if array.dtype.kind not in _NUMBERS:
        raise VectorIndexParameterInvalid(
            f"{field} holds {array.dtype}, for example {_first(array)!r}; it must hold numbers",
            field=field,
        )
    if array.ndim != axes:
        raise VectorIndexParameterInvalid(
            f"{field} has shape {array.shape}; it must be {_SHAPES[axes]}", field=field
        )
    return array


def _numbers_of_objects(array: npt.NDArray[Any], field: str) -> npt.NDArray[Any]:
    """Return an array of Python objects as float64 if all are numbers (as very large integers)."""
    for place, value in np.ndenumerate(array):
        if isinstance(value, bool) or not isinstance(value, Real):
            at = "".join(f"[{position}]" for position in place)
            raise VectorIndexParameterInvalid(
                f"{field}{at} is {value!r}; it must be a number", field=field
            )
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise VectorIndexParameterInvalid(
            f"{field} holds an integer past the range of float32", field=field
        ) from error


def _first(array: npt.NDArray[Any]) -> object:
    """Return the first element, for a message."""
    return array.flat[0] if array.size else None


def _not_finite(
    array: npt.NDArray[Any], finite: npt.NDArray[np.bool_], field: str
) -> VectorIndexParameterInvalid:
    """Return the error about the first number that float32 cannot hold."""
    *row, column = np.unravel_index(int(np.argmin(finite)), finite.shape)
    at = field + "".join(f"[{position}]" for position in row)
    return VectorIndexParameterInvalid(
        f"{at} holds {array[(*row, column)]} at position {column}; numbers must be finite float32, "
        f"within ±{np.finfo(np.float32).max}",
        field=at,
    )
