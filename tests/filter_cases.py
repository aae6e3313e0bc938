"""Filters, expressions and metadata for hypothesis to draw: legal ones, and nearly legal ones.

Below them, short ways to ask the parser what it makes of a filter.

Rules of this file: names and values come from small pools, so that drawn filters and drawn metadata
meet; what is drawn is the same in every run (``REPEATABLE``), so that a red test stays red.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import OSS, Limits
from vectorbucket_server.filters.expression import (
    And,
    Compare,
    Comparison,
    Equals,
    Exists,
    Expression,
    In,
    NotEquals,
    NotIn,
    Or,
)
from vectorbucket_server.filters.parser import parse

Json: TypeAlias = Any
"""What ``json.loads`` may return, and a little more."""

REPEATABLE = settings(derandomize=True, deadline=None, max_examples=300)
"""How every property of the filter language is run."""

POOL: tuple[str | float | bool, ...] = (
    "",
    "a",
    "b",
    "A",
    "1",
    "é",
    0.0,
    1.0,
    2.5,
    -1.0,
    True,
    False,
)
"""Values that look alike across types, so that mixing them up is noticed."""

FIELDS = ("f", "g", "und so")

NAMES = st.sampled_from(FIELDS) | st.text(min_size=1, max_size=8).filter(
    lambda name: not name.startswith("$")
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.sampled_from(POOL) | st.text(max_size=8) | NUMBERS | st.booleans()


def _tuples_of(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw tuples of one to four."""
    return st.lists(elements, min_size=1, max_size=4).map(tuple)


CONDITIONS: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Equals, NAMES, SCALARS),
    st.builds(NotEquals, NAMES, SCALARS),
    st.builds(In, NAMES, _tuples_of(SCALARS)),
    st.builds(NotIn, NAMES, _tuples_of(SCALARS)),
    st.builds(Compare, NAMES, st.sampled_from(Comparison), NUMBERS),
    st.builds(Exists, NAMES, st.booleans()),
)

EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    CONDITIONS,
    lambda inner: st.builds(And, _tuples_of(inner)) | st.builds(Or, _tuples_of(inner)),
    max_leaves=12,
)
"""Any expression that can be made, also such as no filter means."""

_POOLED = st.sampled_from(POOL)
_POOLED_LISTS = st.lists(_POOLED, min_size=1, max_size=3)
_POOLED_NUMBERS = st.sampled_from((-1, 0, 1, 2.5, 1.0))

_OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "$eq": _POOLED,
        "$ne": _POOLED,
        "$in": _POOLED_LISTS,
        "$nin": _POOLED_LISTS,
        "$gt": _POOLED_NUMBERS,
        "$gte": _POOLED_NUMBERS,
        "$lt": _POOLED_NUMBERS,
        "$lte": _POOLED_NUMBERS,
        "$exists": st.booleans(),
    },
).filter(bool)

_FIELD_OBJECTS = st.dictionaries(
    st.sampled_from(FIELDS), _POOLED | _OPERATIONS, min_size=1, max_size=2
)


def _combined(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Draw objects that hold filters, fields, or both."""
    inners = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {}, optional={"$and": inners, "$or": inners, "f": _POOLED | _OPERATIONS}
    ).filter(bool)


FILTERS: st.SearchStrategy[dict[str, Json]] = st.recursive(_FIELD_OBJECTS, _combined, max_leaves=6)
"""Legal filters as callers write them."""

METADATA: st.SearchStrategy[dict[str, Json]] = st.dictionaries(
    st.sampled_from(FIELDS), _POOLED | st.lists(_POOLED, max_size=3)
)

# --- Nearly legal ones --------------------------------------------------------------------------

_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)
"""Anything of JSON, NaN and huge integers too."""


def _mostly(
    legal: st.SearchStrategy[Json], other: st.SearchStrategy[Json] = _JUNK
) -> st.SearchStrategy[Json]:
    """Draw what is legal in most cases."""
    return st.integers(0, 15).flatmap(lambda number: other if number == 0 else legal)


_NEAR_VALUES = _mostly(_POOLED)
_NEAR_OPERATIONS = _mostly(_OPERATIONS) | st.dictionaries(
    st.sampled_from(("$eq", "$in", "$gt", "$exists", "$not", "f", "")),
    _NEAR_VALUES | st.lists(_NEAR_VALUES, min_size=1, max_size=3),
    min_size=1,
    max_size=2,
)
_NEAR_FIELDS = st.dictionaries(
    _mostly(st.sampled_from(FIELDS), st.sampled_from(("", "$eq", "$not")) | st.text(max_size=3)),
    _NEAR_VALUES | _NEAR_OPERATIONS,
    min_size=1,
    max_size=2,
)


def _nearly_combined(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Draw objects that hold filters, fields, both, or what should not be there."""
    inners = _mostly(st.lists(inner, min_size=1, max_size=3))
    return st.fixed_dictionaries(
        {}, optional={"$and": inners, "$or": inners, "f": _NEAR_VALUES}
    ).filter(bool)


NEARLY_FILTERS: st.SearchStrategy[Json] = _mostly(
    st.recursive(_NEAR_FIELDS, _nearly_combined, max_leaves=6)
)
"""Filters, most of them with a fault here or there."""


# --- What the parser makes of a filter ----------------------------------------------------------

NON_FILTERABLE_KEYS = ("source", "a.b")
"""Fields that ``refusal`` declares non-filterable."""


def parsed(raw: Json, limits: Limits = OSS) -> Expression:
    """Return the expression of a filter that is not empty."""
    expression = parse(raw, limits=limits)
    assert expression is not None
    return expression


def refusal(raw: Json, limits: Limits = OSS) -> VectorIndexParameterInvalid:
    """Return the error that a filter gets."""
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        parse(raw, limits=limits, non_filterable_keys=NON_FILTERABLE_KEYS)
    return caught.value


def is_legal(raw: Json, limits: Limits = OSS) -> bool:
    """Return whether a filter is legal and not empty."""
    try:
        return parse(raw, limits=limits) is not None
    except VectorIndexParameterInvalid:
        return False
