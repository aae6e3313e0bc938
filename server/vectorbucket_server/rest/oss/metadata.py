"""Metadata and filters: JSON into messages, and metadata back.

Rules of this file: what a message cannot carry is refused here, with its path; what it can carry is
the server's to judge. Numbers are doubles: an integer that is no double of its own is refused and
named, never rounded.

Source: oss-vectors-api, sections 0, 4.2 and 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from vectorbucket.limits import INTEGER_MAX
from vectorbucket.v1 import vector_pb2
from vectorbucket_server.rest.oss.bodies import ARRAYS
from vectorbucket_server.rest.oss.reader import Reader
from vectorbucket_server.rest.oss.replies import number
from vectorbucket_server.rest.oss.words import Huge, described

MESSAGE_LEVELS_MAX = 99
"""Levels of messages in a request below which a filter's values may stand: protobuf reads 100. An
object takes three of them, a list two. Source: tried with protobuf 6.33."""

FILTER_VALUES_MAX = 100_000
"""Values of a filter that are made into messages at all; 64 KB of filter, its limit, hold a third
of that."""

_NAME_CHARACTERS_SHOWN = 64

# --- Metadata, inward ---------------------------------------------------------------------------


def fill_metadata(fields: Any, value: object, body: Reader, path: str) -> None:
    """Read metadata into a map field.

    Args:
        fields: The field; looking up a name there makes its entry.
        value: What stands there in the body.
        body: Reads it.
        path: Of the metadata, for errors.
    """
    for name, one in body.plain_members(value, path).items():
        message = fields[name]
        # Most are texts, and most others are numbers.
        if type(one) is str:
            message.string_value = one
        elif type(one) is list:
            body.count_metadata(len(one))
            message.list_value.SetInParent()  # an empty list is a value, too
            for position, element in enumerate(one):
                place = f"{below(path, name)}[{position}]"
                _set_scalar(message.list_value.values.add(), element, body, place)
        else:
            _set_scalar(message, one, body, below(path, name))


def _set_scalar(message: Any, value: object, body: Reader, path: str) -> None:
    """Set a text, a number or a boolean."""
    if isinstance(value, str):
        message.string_value = value
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float | Huge):
        message.number_value = double(value, body, path)
    else:
        raise body.wrong(path, "a string, a number, a boolean or an array of them", value)


def double(value: float | Huge, body: Reader, path: str) -> float:
    """Return a number as the double that it is, if it is one."""
    if isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise body.refused(path, f"is {described(value)}, an integer beyond ±2^53")
    if isinstance(value, Huge) or math.isinf(value):
        raise body.refused(path, f"is {described(value)}, which no double can hold")
    return value


def below(path: str, name: str) -> str:
    """Return the path of a member."""
    return f"{path}.{name[:_NAME_CHARACTERS_SHOWN]}"


# --- Filters, inward ----------------------------------------------------------------------------


def fill_filter(struct: Struct, value: object, body: Reader) -> None:
    """Read a filter, whatever it says.

    Args:
        struct: The field.
        value: What stands there in the body.
        body: Reads it.
    """
    _Filter(body).fill_object(struct, value, "filter", 1)


class _Filter:
    """One filter on its way into messages; each method gets the level that a message is at."""

    def __init__(self, body: Reader) -> None:
        self._body = body
        self._count = 0

    def fill_object(self, struct: Struct, value: object, path: str, level: int) -> None:
        """Fill a Struct; its entries are messages, too."""
        struct.SetInParent()
        for name, one in self._body.all_members(value, path).items():
            self._fill(struct.fields[name], one, below(path, name), level + 2)

    def _fill_list(self, message: ListValue, value: object, path: str, level: int) -> None:
        message.SetInParent()
        for position, one in enumerate(self._body.elements(value, path)):
            self._fill(message.values.add(), one, f"{path}[{position}]", level + 1)

    def _fill(self, message: Value, value: object, path: str, level: int) -> None:
        self._count += 1
        if self._count > FILTER_VALUES_MAX:
            raise self._body.refused("filter", f"holds over {FILTER_VALUES_MAX} values")
        if level > MESSAGE_LEVELS_MAX:
            raise self._body.refused("filter", "is nested deeper than any filter can be")
        if isinstance(value, str):
            message.string_value = value
        elif isinstance(value, bool):
            message.bool_value = value
        elif isinstance(value, int | float | Huge):
            message.number_value = double(value, self._body, path)
        elif value is None:
            message.null_value = 0  # type: ignore[assignment]  # the only value of its enum
        elif isinstance(value, ARRAYS):
            self._fill_list(message.list_value, value, path, level + 1)
        else:
            self.fill_object(message.struct_value, value, path, level + 1)


# --- Metadata, outward --------------------------------------------------------------------------


def metadata_values(fields: Mapping[str, vector_pb2.MetadataValue]) -> dict[str, Any]:
    """Return metadata as it is written in JSON."""
    # Over the names, because protobuf's items() is half as quick; most values are texts, and asking
    # for the text is quicker than asking for the kind.
    return {name: fields[name].string_value or _value(fields[name]) for name in fields}


def _value(message: vector_pb2.MetadataValue | vector_pb2.MetadataScalar) -> Any:
    kind = message.WhichOneof("kind")
    if kind == "number_value":
        return number(message.number_value)
    if kind == "list_value":
        return [_value(element) for element in message.list_value.values]  # type: ignore[union-attr]
    return getattr(message, kind or "string_value")
