"""Rows: one vector of a file, with its place in it, or what is wrong there.

Rules of this file: pure values and checks; it knows neither a file's format nor a server. What a
row may hold is judged here only as far as a message could not carry it; the server judges the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from vectorbucket._arrays import float32_array
from vectorbucket._metadata import plain_scalar
from vectorbucket._models import Float32Array, Metadata
from vectorbucket.cli.transfer_definition import Definition
from vectorbucket.errors import VectorIndexParameterInvalid


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A vector that can be put.

    Attributes:
        number: Its place in the file: the line or the row, from 1.
        key: Its key.
        data: float32, shape (dimension,), finite.
        metadata: Value by field name; None if it has none.
    """

    number: int
    key: str
    data: Float32Array
    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A place of a file that holds no vector.

    Attributes:
        number: The line or the row, from 1.
        field: What is wrong there: ``key``, ``data``, ``metadata.color``; empty for all of it.
        problem: Why, as the end of a sentence that the place begins.
        key: Its key, where it has one.
        raw: The line as it stands in the file, where it is one.
    """

    number: int
    field: str
    problem: str
    key: str | None = None
    raw: str | None = None


AnyRow: TypeAlias = Row | BadRow


class Source(Protocol):
    """A file that is read row by row."""

    @property
    def name(self) -> str:
        """What the file is called in messages."""

    @property
    def unit(self) -> str:
        """What a row is called in messages: ``line`` or ``row``."""

    @property
    def definition(self) -> Definition | None:
        """The index that the file was exported from, as far as it says so."""

    @property
    def total(self) -> int | None:
        """How many rows it holds, at least about; None where nobody knows."""

    @property
    def bytes_read(self) -> int:
        """How many bytes of it have been read."""

    def rows(self, skip: int, dimension: int) -> Iterator[AnyRow]:
        """Yield its rows but for the first so many.

        Args:
            skip: How many to pass over.
            dimension: Numbers in each vector.

        Raises:
            BadInput: It is no such file, or ends in the middle.
        """

    def close(self) -> None:
        """Close it."""


def no_constant(word: str) -> Any:
    """Refuse what JSON has no number for; for ``json.loads``.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"it holds {word}; numbers must be finite")


def checked_key(key: object) -> str:
    """Return a key that a message can carry.

    Raises:
        VectorIndexParameterInvalid: It is no text.
    """
    if not isinstance(key, str):
        what = "is missing" if key is None else f"is {_kind(key)}; it must be text"
        raise VectorIndexParameterInvalid(f"key {what}", field="key")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise VectorIndexParameterInvalid("key is no Unicode text", field="key") from error
    return key


def checked_data(data: object, dimension: int) -> Float32Array:
    """Return numbers as the index takes them.

    Args:
        data: A list of numbers, ``{"float32": […]}``, or an array.
        dimension: How many there must be.

    Raises:
        VectorIndexParameterInvalid: They are not that.
    """
    if isinstance(data, Mapping):
        if list(data) != ["float32"]:
            raise VectorIndexParameterInvalid(
                f"data has the members {list(data)}; it must be 'float32' alone", field="data"
            )
        data = data["float32"]
    array = float32_array(data, "data", axes=1)  # type: ignore[arg-type]  # it judges anything
    if len(array) != dimension:
        raise VectorIndexParameterInvalid(
            f"data has {len(array)} numbers; the index takes {dimension}", field="data"
        )
    return array


def checked_metadata(metadata: object) -> Metadata | None:
    """Return metadata that a message can carry; None for none.

    Raises:
        VectorIndexParameterInvalid: It is no dict, or a field has a value of no legal kind.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise VectorIndexParameterInvalid(
            f"metadata is {_kind(metadata)}; it must be an object", field="metadata"
        )
    for name, value in metadata.items():
        field = f"metadata.{name}"
        try:
            name.encode()
            if isinstance(value, list | tuple):
                for position, element in enumerate(value):
                    _check_scalar(element, f"{field}[{position}]")
            else:
                _check_scalar(value, field)
        except UnicodeEncodeError as error:
            raise VectorIndexParameterInvalid(
                f"{field!a} is or holds no Unicode text", field="metadata"
            ) from error
    return metadata


def metadata_of_json(text: object) -> object:
    """Return the metadata that a JSON text holds; what is no text is returned as it is.

    Raises:
        VectorIndexParameterInvalid: It is no JSON.
    """
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text, parse_constant=no_constant) if text else None
    except (ValueError, RecursionError) as error:
        raise VectorIndexParameterInvalid(
            f"metadata is no JSON: {reason_of(error)}", field="metadata"
        ) from error


def row_of(number: int, parts: tuple[object, object, object], dimension: int) -> AnyRow:
    """Return a row of its key, data and metadata, or what is wrong with it.

    Args:
        number: Its place in the file.
        parts: Key, data and metadata as the file has them.
        dimension: Numbers in each vector.
    """
    key, data, metadata = parts
    try:
        return Row(
            number,
            checked_key(key),
            checked_data(data, dimension),
            checked_metadata(metadata),
        )
    except VectorIndexParameterInvalid as error:
        named = key if isinstance(key, str) else None
        return BadRow(number, error.field or "", error.message, named)


def rows_of_columns(
    first_number: int,
    keys: Sequence[object],
    data: npt.NDArray[Any],
    metadata: Sequence[object],
) -> Iterator[AnyRow]:
    """Yield the rows of columns of equal length.

    Args:
        first_number: The place of the first.
        keys: One a row.
        data: Shape (n, dimension), numbers of any type.
        metadata: One a row: an object, JSON of one, or None.
    """
    dimension = data.shape[1]
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(data, dtype="<f4")
    finite = np.isfinite(single).all(axis=1)
    for position, parts in enumerate(zip(keys, single, metadata, strict=True)):
        key, numbers, described = parts
        number = first_number + position
        if not finite[position]:
            # Again and from what the file has, for the message that names the number.
            yield row_of(number, (key, data[position], None), dimension)
            continue
        try:
            known = metadata_of_json(described)
            yield Row(number, checked_key(key), numbers, checked_metadata(known))
        except VectorIndexParameterInvalid as error:
            named = key if isinstance(key, str) else None
            yield BadRow(number, error.field or "", error.message, named)


def _check_scalar(value: object, field: str) -> None:
    """Raise unless a value is text that can be encoded, a boolean, or a legal number."""
    if type(value) is str:
        if not value.isascii():
            value.encode()
    elif type(value) is not bool:
        plain_scalar(value, field)


def _kind(value: object) -> str:
    """Return what a value of JSON is, without showing it."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "an object" if isinstance(value, Mapping) else "something else")


def reason_of(error: BaseException) -> str:
    """Return why JSON could not be read, without what it holds."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
