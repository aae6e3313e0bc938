"""Filters: a plain dict → the Struct of a query.

Rules of this file: pure; only what a Struct cannot carry faithfully (integers beyond ±2^53, NaN,
objects that are no JSON) is refused here. Whether a filter makes sense, the server judges, so that
there is one judge. An error's field is the path, as in ``filter.$and[1].size.$gt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

from vectorbucket._metadata import plain_scalar
from vectorbucket._models import Filter
from vectorbucket.errors import VectorIndexParameterInvalid

NESTING_MAX = 30
"""Dicts and lists inside each other. The 8 levels of ``$and`` and ``$or`` that a server allows are
19 of these; past 32, protobuf's own limit of 100 nested messages could garble the refusal."""


def filter_struct(wanted: Filter | None) -> struct_pb2.Struct | None:
    """Return the message of a filter; None or an empty one matches everything.

    Raises:
        VectorIndexParameterInvalid: It holds what no Struct can carry.
    """
    if wanted is None:
        return None
    message = struct_pb2.Struct()
    if not isinstance(wanted, Mapping):
        raise VectorIndexParameterInvalid(
            f"filter is a {type(wanted).__name__}; it must be a dict", field="filter"
        )
    _fill_struct(message, wanted, "filter", 1)
    return message


def _fill_struct(
    message: struct_pb2.Struct, members: Mapping[Any, object], path: str, level: int
) -> None:
    """Put a dict into a Struct."""
    for name, value in members.items():
        if not isinstance(name, str):
            raise VectorIndexParameterInvalid(
                f"{path} has a member named {name!r}; names are text", field=path
            )
        try:
            _fill_value(message.fields[name], value, f"{path}.{name}", level)
        except UnicodeEncodeError as error:
            raise VectorIndexParameterInvalid(
                f"{path} holds {name!a} or below it what is no Unicode text", field=path
            ) from error


def _fill_value(message: struct_pb2.Value, value: object, path: str, level: int) -> None:
    """Put anything that is JSON into a Value."""
    if level > NESTING_MAX:
        raise VectorIndexParameterInvalid(
            f"filter is nested {level} deep; the limit is 8 levels of $and and $or", field="filter"
        )
    if value is None:
        message.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, Mapping):
        message.struct_value.SetInParent()
        _fill_struct(message.struct_value, value, path, level + 1)
    elif isinstance(value, list | tuple):
        message.list_value.SetInParent()
        for position, element in enumerate(value):
            place = f"{path}[{position}]"
            _fill_value(message.list_value.values.add(), element, place, level + 1)
    else:
        _fill_scalar(message, value, path)


def _fill_scalar(message: struct_pb2.Value, value: object, path: str) -> None:
    """Put a text, number or boolean into a Value."""
    plain = plain_scalar(value, path)
    if isinstance(plain, bool):
        message.bool_value = plain
    elif isinstance(plain, str):
        message.string_value = plain
    else:
        message.number_value = plain
