"""What tests compare with: random metadata and filters from a seed, and what a filter means.

Rules of this file: it imports neither the engine nor the filter language. ``matches`` is written
from the truth table of the contract alone, so that it and the matcher can only agree by being
right. Data, exact neighbours and recall come from scripts/bench_data.py, which the bench measures
with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bench_data import (
    Dataset,
    Float32Array,
    Metadata,
    distances,
    draw_dataset,
    draw_mixture,
    draw_noise,
    exact_neighbours,
    load_dataset,
    recall_at_k,
)

__all__ = [
    "FILTERABLE",
    "NON_FILTERABLE",
    "Dataset",
    "Float32Array",
    "Metadata",
    "RawFilter",
    "distances",
    "draw_dataset",
    "draw_mixture",
    "draw_noise",
    "exact_neighbours",
    "f32",
    "load_dataset",
    "matches",
    "random_filter",
    "random_grid",
    "random_metadata",
    "recall_at_k",
]

RawFilter: TypeAlias = dict[str, Any]
"""A filter as a caller writes it: a JSON object."""

NON_FILTERABLE = "note"
"""The field of ``random_metadata`` that an index may declare non-filterable."""

_COLOURS = ("red", "green", "blue", "", "Red", "blau-grün 🜁")
_NUMBERS = (-1.5, 0.0, 1.0, 2.0, 3.0, 1e300, 2.0**53)
_MIXED: tuple[str | float | bool, ...] = ("red", "1", 1.0, 0.0, True, False, "true", "zinc", 2.5)

_VALUES: dict[str, tuple[str | float | bool, ...]] = {
    "colour": _COLOURS,
    "size": _NUMBERS,
    "sold": (True, False),
    "tags": _MIXED,
    "absent": _MIXED,
}

FILTERABLE = tuple(_VALUES)
"""The fields that ``random_filter`` asks about; no vector has the last one."""


def f32(rows: npt.ArrayLike) -> Float32Array:
    """Return anything that numpy can make an array of as float32, C-contiguous."""
    return np.ascontiguousarray(rows, np.float32)


def random_metadata(rng: np.random.Generator) -> Metadata:
    """Return metadata with any of five fields, of every type, lists empty and mixed among them."""
    metadata: Metadata = {}
    if rng.random() < 0.8:
        metadata["colour"] = _choice(rng, _COLOURS)
    if rng.random() < 0.7:
        metadata["size"] = _choice(rng, _NUMBERS)
    if rng.random() < 0.5:
        metadata["sold"] = bool(rng.integers(2))
    if rng.random() < 0.6:
        metadata["tags"] = [_choice(rng, _MIXED) for _ in range(int(rng.integers(4)))]
    if rng.random() < 0.3:
        metadata[NON_FILTERABLE] = "n" * int(rng.integers(200))
    return metadata


def random_filter(rng: np.random.Generator, *, levels: int = 3) -> RawFilter:
    """Return a legal filter over the fields of ``random_metadata``, up to ``levels`` deep."""
    share = rng.random()
    if levels > 1 and share < 0.3:
        name = "$and" if rng.random() < 0.5 else "$or"
        count = int(rng.integers(1, 4))
        return {name: [random_filter(rng, levels=levels - 1) for _ in range(count)]}
    fields = rng.choice(len(FILTERABLE), size=1 if share < 0.8 else 2, replace=False)
    return {
        FILTERABLE[position]: _random_condition(rng, FILTERABLE[position]) for position in fields
    }


def _random_condition(rng: np.random.Generator, field: str) -> Any:
    """Return what may stand behind a field's name: a bare value, or one or two operators."""
    if rng.random() < 0.2:
        return _random_scalar(rng, field)
    names = rng.choice(len(_OPERATORS), size=1 if rng.random() < 0.8 else 2, replace=False)
    operators = [_OPERATORS[position] for position in names]
    return {operator: _random_operand(rng, field, operator) for operator in operators}


def _random_operand(rng: np.random.Generator, field: str, operator: str) -> Any:
    """Return a legal operand of the operator."""
    if operator == "$exists":
        return bool(rng.integers(2))
    if operator in {"$in", "$nin"}:
        return [_random_scalar(rng, field) for _ in range(int(rng.integers(1, 4)))]
    if operator in {"$gt", "$gte", "$lt", "$lte"}:
        return _choice(rng, _NUMBERS)
    return _random_scalar(rng, field)


def _random_scalar(rng: np.random.Generator, field: str) -> Any:
    """Return a value that the field may have, or now and then one that it never has."""
    return _choice(rng, _VALUES[field if rng.random() < 0.8 else _choice(rng, FILTERABLE)])


def _choice(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    """Return one of the values as it is: numpy's own choice would turn it into a numpy scalar."""
    return values[int(rng.integers(len(values)))]


_OPERATORS = ("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists")


def matches(raw: RawFilter, metadata: Metadata) -> bool:
    """Return whether metadata match a filter, by the contract's truth table.

    A list matches where any element does; a missing field matches nothing but ``$ne``, ``$nin`` and
    ``{"$exists": false}``; values of different types are never equal and never compare.
    """
    return all(_entry_matches(name, condition, metadata) for name, condition in raw.items())


def _entry_matches(name: str, condition: Any, metadata: Metadata) -> bool:
    """Return whether one entry of a filter holds."""
    if name == "$and":
        return all(matches(part, metadata) for part in condition)
    if name == "$or":
        return any(matches(part, metadata) for part in condition)
    if not isinstance(condition, dict):
        condition = {"$eq": condition}
    return all(_holds(name, operator, operand, metadata) for operator, operand in condition.items())


def _holds(name: str, operator: str, operand: Any, metadata: Metadata) -> bool:
    """Return whether one operator holds for one field."""
    stored = metadata.get(name, [])
    elements = stored if isinstance(stored, list) else [stored]
    if operator == "$exists":
        return (name in metadata) is operand
    if operator in {"$eq", "$ne"}:
        return any(_same(element, operand) for element in elements) is (operator == "$eq")
    if operator in {"$in", "$nin"}:
        found = any(_same(element, one) for element in elements for one in operand)
        return found is (operator == "$in")
    return any(
        _kind(element) is float
        and {
            "$gt": float(element) > operand,
            "$gte": float(element) >= operand,
            "$lt": float(element) < operand,
            "$lte": float(element) <= operand,
        }[operator]
        for element in elements
    )


def _same(a: object, b: object) -> bool:
    """Return whether two scalars are equal in type and value; 1 and 1.0 are, 1 and true are not."""
    return _kind(a) is _kind(b) and a == b


def _kind(value: object) -> type:
    """Return the contract's type of a scalar: str, bool or float."""
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def random_grid(rng: np.random.Generator, count: int, dimension: int) -> Float32Array:
    """Return rows of small whole numbers, float32 of shape (count, dimension), none of them zero.

    Their distances are exact in any float, so that ties are ties in every engine.
    """
    rows = rng.integers(-2, 3, size=(count, dimension)).astype(np.float32)
    rows[~rows.any(axis=1), 0] = 1.0
    return rows
