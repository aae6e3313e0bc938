"""Tests of limits.py: every limit says what it is, and the profiles are what the words say.

Method: the words are read from the docstrings under the fields, with ``ast``.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
from typing import Any

import pytest

from vectorbucket import limits
from vectorbucket.limits import (
    FILTER_LEVELS_CEILING,
    INTEGER_MAX,
    OSS,
    PROFILES,
    TOKEN_FRAME_BYTES,
    UNBOUNDED,
    UNLIMITED,
    Limits,
    MetadataTypes,
)


def docstrings() -> dict[str, str]:
    """Return the docstring under each field of Limits."""
    tree = ast.parse(inspect.getsource(limits))
    body = next(
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Limits"
    )
    found = {}
    for field, words in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            found[field.target.id] = ""
            if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant):
                found[field.target.id] = " ".join(str(words.value.value).split())
    return found


DOCSTRINGS = docstrings()
NAMES = [field.name for field in dataclasses.fields(Limits)]
POLICY = {name for name, words in DOCSTRINGS.items() if words.startswith("Policy. ")}
LIFTED = {name for name in NAMES if getattr(OSS, name) != getattr(UNLIMITED, name)}
NUMBERS = [name for name in NAMES if type(getattr(OSS, name)) is int]


# --- The words ----------------------------------------------------------------------------------


def test_every_limit_has_a_docstring() -> None:
    assert list(DOCSTRINGS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_docstring_says_which_kind_of_limit_it_is_and_whence_it_comes(name: str) -> None:
    kind, _, rest = DOCSTRINGS[name].partition(". ")
    meaning, _, source = rest.partition(" Source: ")
    assert kind in {"Policy", "Physical"}
    assert len(meaning.split()) >= 3
    assert source.endswith(".")
    # A source is the service's pages or SDKs, or a choice of ours with its reason.
    assert source.startswith(("OSS", "what the OSS SDKs", "ours"))


@pytest.mark.parametrize(
    ("suffix", "word"), [("_bytes_max", "bytes"), ("bucket_name_min", "characters")]
)
def test_docstring_names_the_unit_of_the_name(suffix: str, word: str) -> None:
    named = [name for name in NAMES if name.endswith(suffix)]
    assert named
    assert [name for name in named if word not in DOCSTRINGS[name].lower()] == []


# --- The profiles -------------------------------------------------------------------------------


def test_profiles_have_names() -> None:
    assert PROFILES == {"oss": OSS, "unlimited": UNLIMITED}


def test_defaults_are_the_profile_oss() -> None:
    assert Limits() == OSS


def test_unlimited_lifts_policy_and_nothing_else() -> None:
    assert LIFTED <= POLICY
    # The profile oss takes all types already: nothing is left to lift.
    assert LIFTED | {"metadata_types"} == POLICY
    assert OSS.metadata_types is MetadataTypes.ALL


@pytest.mark.parametrize("name", sorted(LIFTED))
def test_lifted_limit_is_as_far_as_it_goes(name: str) -> None:
    lifted: Any = getattr(UNLIMITED, name)
    assert lifted == (UNBOUNDED if name in NUMBERS else True)


def test_unbounded_is_the_largest_number_of_an_int32_field() -> None:
    assert UNBOUNDED.bit_length() == 31
    assert (UNBOUNDED + 1).bit_length() == 32


def test_integers_up_to_the_largest_one_are_told_apart_by_doubles() -> None:
    assert float(INTEGER_MAX) != float(INTEGER_MAX - 1)
    assert float(INTEGER_MAX) == float(INTEGER_MAX + 1)


@pytest.mark.parametrize(
    ("name", "documented"),
    [
        ("buckets_max", 100),
        ("indexes_per_bucket_max", 100),
        ("dimension_max", 4096),
        ("put_vectors_max", 500),
        ("get_vectors_max", 100),
        ("delete_vectors_max", 500),
        ("list_vectors_max", 1000),
        ("list_vectors_default", 500),
        ("list_indexes_max", 500),
        ("list_indexes_default", 100),
        ("list_buckets_max", 1000),
        ("list_buckets_default", 100),
        ("segments_max", 16),
        ("top_k_max", 100),
        ("key_bytes_max", 1024),
        ("metadata_bytes_max", 40_960),
        ("metadata_field_bytes_max", 2_048),
        ("metadata_fields_max", 10),
        ("non_filterable_keys_max", 10),
        ("non_filterable_key_bytes_max", 63),
        ("filter_bytes_max", 65_536),
        ("filter_operands_max", 1_024),
        ("filter_levels_max", 8),
        ("index_token_bytes_max", 512),
        ("vector_token_bytes_max", 2_048),
    ],
)
def test_profile_oss_holds_the_documented_limits(name: str, documented: int) -> None:
    assert getattr(OSS, name) == documented


def test_metadata_types_are_named_as_the_setting_says() -> None:
    assert {types.value for types in MetadataTypes} == {"all", "strings"}


# --- Limits set alone ---------------------------------------------------------------------------


def test_limit_can_be_set_alone() -> None:
    raised = dataclasses.replace(OSS, top_k_max=500)
    changed = [name for name in NAMES if getattr(raised, name) != getattr(OSS, name)]
    assert changed == ["top_k_max"]


def test_limits_cannot_be_changed_once_they_are_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        OSS.top_k_max = 500  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, UNBOUNDED + 1])
def test_limit_out_of_range_is_refused_and_named(name: str, value: int) -> None:
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"limit {name} is {value}; it must be 1 to {UNBOUNDED}"):
        dataclasses.replace(OSS, **changes)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("list_buckets_default", "list_buckets_max"),
        ("list_indexes_default", "list_indexes_max"),
        ("list_vectors_default", "list_vectors_max"),
        ("bucket_name_min", "bucket_name_max"),
        ("m_min", "m_max"),
        ("ef_construction_min", "ef_construction_max"),
        ("m_max", "ef_construction_max"),
    ],
)
def test_default_over_its_maximum_is_refused(smaller: str, larger: str) -> None:
    limit = getattr(OSS, larger)
    fitting: dict[str, Any] = {smaller: limit}
    assert getattr(dataclasses.replace(OSS, **fitting), smaller) == limit
    over: dict[str, Any] = {smaller: limit + 1}
    with pytest.raises(ValueError, match=f"limit {smaller} is {limit + 1}; {larger} is {limit}"):
        dataclasses.replace(OSS, **over)


@pytest.mark.parametrize(
    ("name", "token"),
    [("key_bytes_max", "vector_token_bytes_max"), ("index_name_max", "index_token_bytes_max")],
)
def test_name_that_fits_no_page_token_is_refused(name: str, token: str) -> None:
    longest = (getattr(OSS, token) - TOKEN_FRAME_BYTES) // 4 * 3
    fitting: dict[str, Any] = {name: longest}
    assert getattr(dataclasses.replace(OSS, **fitting), name) == longest
    over: dict[str, Any] = {name: longest + 1}
    with pytest.raises(ValueError, match=f"{name}, in a page token, is .*; {token} is"):
        dataclasses.replace(OSS, **over)


def test_filters_may_not_be_nested_deeper_than_recursion_goes() -> None:
    deepest = dataclasses.replace(OSS, filter_levels_max=FILTER_LEVELS_CEILING)
    assert deepest.filter_levels_max == FILTER_LEVELS_CEILING
    with pytest.raises(ValueError, match=r"filter_levels_max is 65; it must be at most 64"):
        dataclasses.replace(OSS, filter_levels_max=FILTER_LEVELS_CEILING + 1)


def test_no_legal_top_k_is_past_the_breadth_that_may_be_asked_for() -> None:
    assert OSS.top_k_max <= OSS.ef_search_max
    # Nobody needs a graph that costs more to search than to scan: the range is no policy.
    assert UNLIMITED.ef_search_max == OSS.ef_search_max


def test_largest_legal_batch_and_page_fit_a_message() -> None:
    vector = OSS.dimension_max * 4 + OSS.key_bytes_max + OSS.metadata_bytes_max
    assert vector * OSS.put_vectors_max < OSS.message_bytes_max
    # A page ends after the vector that takes it over its bound.
    assert OSS.page_bytes_max + vector < 4 * 1024 * 1024
