"""What vectors, keys and metadata may be put: checked by the batch, before the engine sees it.

Rules of this file: numbers of vectors are checked by numpy, all at once; each vector's metadata is
written as JSON once, and looked at field by field only where that is longer than a field may be; an
error names the place (``vectors[3].metadata.title``), the value and the limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from vectorbucket.limits import INTEGER_MAX, Limits, MetadataTypes
from vectorbucket_server.model import (
    DistanceMetric,
    Float32Array,
    Index,
    Metadata,
    MetadataScalar,
    MetadataValue,
)
from vectorbucket_server.naming import check_key, check_metadata_key, shown
from vectorbucket_server.service.checks import refused

_UTF8_BYTES_MAX = 4
"""Bytes of one character, at most."""

_encode = msgspec.json.Encoder().encode


def check_keys(keys: Sequence[str], path: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless all keys are legal.

    Args:
        keys: The keys of a request.
        path: The field of one, with a place for its position, for errors.
        limits: The limits in force.
    """
    surely_short = limits.key_bytes_max // _UTF8_BYTES_MAX
    for position, key in enumerate(keys):
        if not 0 < len(key) <= surely_short:
            check_key(key, path.format(position), limits)


def check_unique(keys: Sequence[str], path: str) -> None:
    """Raise VectorIndexParameterInvalid if a key stands twice; ``path`` as in check_keys."""
    if len(set(keys)) == len(keys):
        return
    first_positions: dict[str, int] = {}
    for position, key in enumerate(keys):
        first = first_positions.setdefault(key, position)
        if first != position:
            field = path.format(position)
            raise refused(
                field,
                f"{field} {shown(key)} stands at {path.format(first)} already",
                value=shown(key),
            )


def check_numbers(data: Float32Array, metric: DistanceMetric, path: str) -> None:
    """Raise VectorIndexParameterInvalid unless all vectors can be measured.

    Args:
        data: float32, shape (n, dimension).
        metric: Of the index; under cosine, no vector may be zero.
        path: The field of one vector, with a place for its position, for errors.
    """
    if len(data) == 1:
        # The usual query, in a microsecond or two: a norm between the ends says all there is.
        with np.errstate(over="ignore", invalid="ignore"):
            if 0.0 < np.dot(data[0], data[0]) < np.inf:
                return
    finite = np.isfinite(data)
    if not finite.all():
        row, column = (int(where) for where in np.argwhere(~finite)[0])
        field, number = path.format(row), float(data[row, column])
        raise refused(
            field,
            f"{field} holds {number} at position {column}; numbers must be finite float32, within "
            f"±{np.finfo(np.float32).max}",
            value=number,
        )
    # The squares of float32 numbers never vanish in float64, so only zeros have a zero norm there.
    if metric is DistanceMetric.COSINE:
        nonzero = data.any(axis=1)
        if not nonzero.all():
            field = path.format(int(np.argmin(nonzero)))
            raise refused(
                field,
                f"{field} is a zero vector, which has no angle; the index's metric is cosine",
                value=0,
            )


def check_metadata(metadata: Sequence[Metadata], index: Index, path: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless the metadata of all vectors is legal.

    Args:
        metadata: One mapping a vector.
        index: Where to; says which fields are not filterable.
        path: The field of one vector's metadata, with a place for its position, for errors.
        limits: The limits in force.
    """
    rules = _MetadataRules(index, limits)
    for position, fields in enumerate(metadata):
        if fields:
            rules.check(fields, path, position)


class _MetadataRules:
    """The rules for the metadata of one batch."""

    def __init__(self, index: Index, limits: Limits) -> None:
        self._limits = limits
        self._non_filterable = frozenset(index.non_filterable_keys)
        self._strings_only = limits.metadata_types is MetadataTypes.STRINGS
        self._surely_small = min(limits.metadata_field_bytes_max, limits.metadata_bytes_max)
        self._legal_names: set[str] = set()

    def check(self, fields: Metadata, path: str, position: int) -> None:
        """Check one vector's metadata."""
        if len(fields) > self._limits.metadata_fields_max:
            place, limit = path.format(position), self._limits.metadata_fields_max
            raise refused(
                place,
                f"{place} has {len(fields)} fields; the limit is {limit}",
                value=len(fields),
                limit=limit,
            )
        for name, value in fields.items():
            if name not in self._legal_names:
                check_metadata_key(name, path.format(position), self._limits)
                self._legal_names.add(name)
            if type(value) is not str:
                self._check_value(value, f"{path.format(position)}.{name}")
        # With braces and commas, and with integers as "1.0": never shorter than what is counted.
        if len(_encode(fields)) > self._surely_small:
            self._check_sizes(fields, path.format(position))

    def _check_value(self, value: MetadataValue, place: str) -> None:
        """Check a value that is no text."""
        elements = [value] if isinstance(value, str | float | bool) else value
        for element in elements:
            if isinstance(element, str):
                continue
            if self._strings_only:
                raise refused(
                    place,
                    f"{place} holds {shown_number(element)}; this server takes only texts and "
                    "lists of texts (metadata_types is strings)",
                    value=shown_number(element),
                    limit="strings",
                )
            if not isinstance(element, bool):
                _check_number(element, place)

    def _check_sizes(self, fields: Metadata, place: str) -> None:
        """Check the bytes of each filterable field and of all together: compact JSON in UTF-8."""
        total = 0
        for name, value in fields.items():
            size = len(_encode(name)) + len(_encode(_written(value)))
            total += size
            limit = self._limits.metadata_field_bytes_max
            if size > limit and name not in self._non_filterable:
                raise refused(
                    f"{place}.{name}",
                    f"{place}.{name} has {size} bytes, name and value as JSON; the limit of a "
                    f"filterable field is {limit}",
                    value=size,
                    limit=limit,
                )
        if total > self._limits.metadata_bytes_max:
            raise refused(
                place,
                f"{place} has {total} bytes, names and values as JSON; the limit is "
                f"{self._limits.metadata_bytes_max}",
                value=total,
                limit=self._limits.metadata_bytes_max,
            )


def _check_number(number: float, place: str) -> None:
    """Raise VectorIndexParameterInvalid unless metadata may hold the number."""
    if not math.isfinite(number):
        raise refused(place, f"{place} holds {number}; numbers must be finite", value=number)
    # Every double beyond this is an integer, and none of them is told from its neighbours.
    if abs(number) > INTEGER_MAX:
        raise refused(
            place,
            f"{place} holds {shown_number(number)}; integers are exact only within ±{INTEGER_MAX}",
            value=shown_number(number),
            limit=INTEGER_MAX,
        )


def shown_number(value: MetadataScalar) -> str:
    """Return a number or boolean as a person writes it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < 1e21 else repr(value)  # noqa: PLR2004 - as JavaScript
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _written(value: MetadataValue) -> object:
    """Return a value with integral numbers as integers, which JSON writes without a fraction."""
    if isinstance(value, list):
        return [_written(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
