"""A filter reaches the server as it was written, or is refused with the path of what cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from oracles import random_filter
from vectorbucket import VectorIndexParameterInvalid
from vectorbucket._filter import NESTING_MAX, filter_struct
from vectorbucket.v1 import vector_service_pb2


def through_a_message(wanted: dict[str, Any]) -> Any:
    """Return what a server reads of a filter, as plain values."""
    request = vector_service_pb2.QueryVectorsRequest(filter=filter_struct(wanted))
    parsed = vector_service_pb2.QueryVectorsRequest.FromString(request.SerializeToString())
    assert parsed.HasField("filter")
    return json_format.MessageToDict(parsed.filter)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"type": "comedy"},
        {"type": {"$eq": "comedy"}},
        {"a": 1, "b": True, "c": 2.5, "d": None},
        {"size": {"$gte": -(2**53), "$lt": 2**53}},
        {"$and": [{"type": {"$nin": ["comedy", 1, False]}}, {"$or": [{"a": {"$exists": True}}]}]},
        {"a": {"$in": []}, "b": {}},
    ],
    ids=repr,
)
def test_filter_arrives_as_it_was_written(wanted: dict[str, Any]) -> None:
    assert through_a_message(wanted) == wanted


def test_random_filters_arrive_as_they_were_written() -> None:
    rng = np.random.default_rng(9)
    for _ in range(300):
        wanted = random_filter(rng)
        assert through_a_message(wanted) == wanted


def test_tuples_and_numpy_scalars_are_plain_values() -> None:
    wanted = {"a": {"$in": (np.int64(1), np.str_("x"))}, "b": np.bool_(False)}  # noqa: FBT003
    assert through_a_message(wanted) == {"a": {"$in": [1, "x"]}, "b": False}


def test_no_filter_is_no_message_and_an_empty_one_is_an_empty_message() -> None:
    assert filter_struct(None) is None
    empty = filter_struct({})
    assert empty is not None
    assert not empty.fields


@pytest.mark.parametrize(
    ("wanted", "path", "problem"),
    [
        ({"size": {"$gt": 2**53 + 1}}, "filter.size.$gt", "integers are exact within ±2^53"),
        (
            {"$and": [{"a": 1}, {"b": {"$in": [0, -(2**54)]}}]},
            "filter.$and[1].b.$in[1]",
            "integers are exact",
        ),
        ({"size": float("nan")}, "filter.size", "is nan; numbers must be finite"),
        ({"size": {"$lt": float("inf")}}, "filter.size.$lt", "is inf"),
        ({"tags": {"$in": {"a"}}}, "filter.tags.$in", "is a set"),
        ({"raw": b"x"}, "filter.raw", "is a bytes"),
        ({3: "a"}, "filter", "has a member named 3"),
        ({"a": {None: 1}}, "filter.a", "has a member named None"),
        ([{"a": 1}], "filter", "is a list; it must be a dict"),
        ("a = 1", "filter", "is a str; it must be a dict"),
        ({"a": "\ud800"}, "filter", "no Unicode text"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_a_struct_cannot_carry_is_named_by_its_path(
    wanted: Any, path: str, problem: str
) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        filter_struct(wanted)
    assert caught.value.field == path
    assert caught.value.message.startswith(path)
    assert problem in caught.value.message


def nested(levels: int) -> dict[str, Any]:
    """Return a filter of so many dicts inside each other."""
    wanted: dict[str, Any] = {}
    for _ in range(levels - 1):
        wanted = {"a": wanted}
    return wanted


def test_deepest_filter_that_is_sent_can_be_read() -> None:
    wanted = nested(NESTING_MAX + 1)
    assert through_a_message(wanted) == wanted


@pytest.mark.parametrize("levels", [NESTING_MAX + 2, 5000])
def test_filter_too_deep_to_be_read_is_refused(levels: int) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="the limit is 8 levels"):
        filter_struct(nested(levels))
