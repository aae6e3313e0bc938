"""Metadata: plain dicts ↔ the contract's map of values.

Rules of this file: pure; called for every vector, so the usual types are told apart by one look;
what the contract has no form for (None, nested things, integers beyond ±2^53, NaN) is an error that
names the field, never a guess. Sizes and names are the server's to judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vectorbucket._models import MetadataValue, Scalar
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import INTEGER_MAX
from vectorbucket.v1 import vector_pb2

_FIELD_BYTES = 24
"""Tags and lengths around one field of a map, at most."""

_ELEMENT_BYTES = 20
"""Tags, lengths and number of one element of a list, at most."""


def fill_metadata(fields: Any, metadata: Mapping[str, MetadataValue] | None) -> int:
    """Put metadata into a message's map.

    Args:
        fields: The map ``metadata`` of a Vector message.
        metadata: Value by field name; None for none.

    Returns:
        How many bytes that adds to the message, at most.

    Raises:
        VectorIndexParameterInvalid: A field has a value that the contract has no form for.
    """
    if not metadata:
        return 0
    if not isinstance(metadata, Mapping):
        raise VectorIndexParameterInvalid(
            f"metadata is {type(metadata).__name__}; it must be a dict", field="metadata"
        )
    size = 0
    for name, value in metadata.items():
        if not isinstance(name, str):
            raise _illegal("metadata", f"has a field named {name!r}; names are text")
        try:
            size += _FIELD_BYTES + text_bytes(name) + _fill_field(fields[name], name, value)
        except UnicodeEncodeError as error:
            raise _illegal(f"metadata.{name!a}", "is or holds no Unicode text") from error
    return size


def text_bytes(text: str) -> int:
    """Return how many bytes of UTF-8 a text has."""
    return len(text) if text.isascii() else len(text.encode())


def _fill_field(message: Any, name: str, value: object) -> int:
    """Put the value of one field into its MetadataValue; return the bytes it adds, at most."""
    if type(value) is str:
        message.string_value = value
        return text_bytes(value)
    if not isinstance(value, list | tuple):
        return _fill_scalar(message, value, f"metadata.{name}")
    # An empty list is a value too: without this the field would have none.
    message.list_value.SetInParent()
    add = message.list_value.values.add
    size = 0
    for position, element in enumerate(value):
        if type(element) is str:
            add().string_value = element
            size += _ELEMENT_BYTES + text_bytes(element)
        else:
            place = f"metadata.{name}[{position}]"
            size += _ELEMENT_BYTES + _fill_scalar(add(), element, place)
    return size


def _fill_scalar(message: Any, value: object, field: str) -> int:
    """Put a scalar into a MetadataValue or MetadataScalar; return the bytes of its text."""
    plain = plain_scalar(value, field)
    if isinstance(plain, bool):
        message.bool_value = plain
    elif isinstance(plain, str):
        message.string_value = plain
        return text_bytes(plain)
    else:
        message.number_value = plain
    return 0


def plain_scalar(value: object, field: str) -> Scalar:
    """Return a scalar (numpy's too) as Python's own str, bool, int or float.

    Args:
        value: What the caller gave.
        field: Where it stands, for the message.

    Raises:
        VectorIndexParameterInvalid: It is something else, or no exact or finite number.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise _illegal(field, f"is {value}; integers are exact within ±2^53 only")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _illegal(field, f"is {value}; numbers must be finite")
        return float(value)
    shown = "None" if value is None else f"a {type(value).__name__}"
    raise _illegal(field, f"is {shown}; it must be text, a number, a boolean or a list of these")


def plain_number(value: float) -> int | float:
    """Return a number of the wire as an int where it is a whole number within ±2^53."""
    if value.is_integer() and -INTEGER_MAX <= value <= INTEGER_MAX:
        return int(value)
    return value


def read_metadata(fields: Mapping[str, vector_pb2.MetadataValue]) -> dict[str, MetadataValue]:
    """Return a message's map as a plain dict; lists become lists, whole numbers become ints."""
    metadata: dict[str, MetadataValue] = {}
    for name, message in fields.items():
        # Most values are texts, and asking for the text is quicker than asking for the kind.
        if text := message.string_value:
            metadata[name] = text
        elif message.WhichOneof("kind") == "list_value":
            metadata[name] = [_read_scalar(element) for element in message.list_value.values]
        else:
            metadata[name] = _read_scalar(message)
    return metadata


def _read_scalar(message: vector_pb2.MetadataValue | vector_pb2.MetadataScalar) -> Scalar:
    """Return the scalar that a message holds."""
    kind = message.WhichOneof("kind")
    if kind == "bool_value":
        return message.bool_value
    if kind == "number_value":
        return plain_number(message.number_value)
    return message.string_value


def _illegal(field: str, problem: str) -> VectorIndexParameterInvalid:
    """Return the error about a field."""
    return VectorIndexParameterInvalid(f"{field} {problem}", field=field)
