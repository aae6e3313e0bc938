"""Metadata and filters as messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from rpc import vector_of
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.v1 import vector_pb2, vector_service_pb2
from vectorbucket_server.rest.oss import metadata as metadata_module
from vectorbucket_server.rest.oss import reader as reader_module
from vectorbucket_server.rest.oss.bodies import Odd, parse_carefully, parse_quickly
from vectorbucket_server.rest.oss.metadata import (
    below,
    double,
    fill_filter,
    fill_metadata,
    metadata_values,
)
from vectorbucket_server.rest.oss.reader import Reader
from vectorbucket_server.rest.oss.words import Huge

ROADS = (parse_quickly, parse_carefully)

PLAIN: dict[str, Any] = {
    "text": "größe",
    "empty": "",
    "yes": True,
    "no": False,
    "whole": 7,
    "zero": 0,
    "part": 1.5,
    "list": ["a", "", 1, 2.5, True, False],
    "none": [],
}


def vector_with(parse: Any, text: str) -> vector_pb2.Vector:
    body: Reader = Reader(parse(f'{{"m":{text}}}'.encode()))
    vector = vector_pb2.Vector()
    fill_metadata(vector.metadata, body.root()["m"], body, "m")
    return vector


@pytest.mark.parametrize("parse", ROADS)
def test_metadata_become_what_they_are(parse: Any) -> None:
    vector = vector_with(parse, json.dumps(PLAIN))
    assert (
        vector == vector_of("", (), PLAIN) or vector.metadata == vector_of("", (), PLAIN).metadata
    )
    written = metadata_values(vector.metadata)
    assert written == PLAIN
    assert {name: type(one) for name, one in written.items()} == {
        name: type(one) for name, one in PLAIN.items()
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '{"a":null}',
            "m.a must be a string, a number, a boolean or an array of them, and is null",
        ),
        ('{"a":{}}', "m.a must be"),
        ('{"a":[[]]}', "m.a[0] must be"),
        ('{"a":["x",{"b":1}]}', "m.a[1] must be"),
        ('{"a":9007199254740993}', "m.a is the number 9007199254740993, an integer beyond ±2^53"),
        ('{"a":[-9007199254740993]}', "m.a[0] is the number -9007199254740993, an integer beyond"),
        ('{"a":18446744073709551616}', "m.a is the number 18446744073709551616, an integer beyond"),
        ('{"a":1e400}', "m.a is the number 1e400, which no double can hold"),
        ('"x"', "m must be an object, and is the string 'x'"),
    ],
)
def test_what_metadata_cannot_be_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(Odd):
        vector_with(parse_quickly, text)
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        vector_with(parse_carefully, text)
    assert caught.value.message.startswith(problem)


@pytest.mark.parametrize("number", [2**53, -(2**53), 1e300, 0.1, 1e20])
def test_doubles_of_their_own_are_kept(number: float) -> None:
    body = Reader(parse_carefully(b"{}"))
    assert double(number, body, "p") == number


def test_integers_beyond_are_named_whatever_road_they_came() -> None:
    body = Reader(parse_carefully(b"{}"))
    body.root()
    for number in (2**53 + 1, 10**30, -(10**399)):
        with pytest.raises(VectorIndexParameterInvalid, match="an integer beyond"):
            double(number, body, "p")
    for beyond in (Huge("1e400"), float("inf"), Huge("1" * 500)):
        with pytest.raises(VectorIndexParameterInvalid, match="no double can hold"):
            double(beyond, body, "p")


@pytest.mark.parametrize("parse", ROADS)
def test_very_many_values_are_not_made(parse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "METADATA_VALUES_MAX", 1_000)
    assert len(vector_with(parse, '{"a":[' + "1," * 998 + "1]}").metadata["a"].list_value.values)
    for text in ('{"a":[' + "1," * 999 + "1]}", '{"a":' + json.dumps([""] * 10_000) + "}"):
        with pytest.raises(VectorIndexParameterInvalid, match="the limit is 1000"):
            vector_with(parse, text)


def test_a_place_is_never_long() -> None:
    assert below("m", "a") == "m.a"
    assert len(below("m", "x" * 10_000)) == len("m.") + 64


# --- Filters ------------------------------------------------------------------------------------


def struct_of(parse: Any, text: str) -> Struct:
    body: Reader = Reader(parse(f'{{"f":{text}}}'.encode()))
    struct = Struct()
    fill_filter(struct, body.root()["f"], body)
    return struct


@pytest.mark.parametrize("parse", ROADS)
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"$and":[{"type":{"$nin":["comedy","documentary"]}}]}',
        '{"a":{"$gte":1,"$lt":2.5},"b":{"$exists":true},"c":null,"d":"x","$or":[]}',
        '{"$nonsense":[[[{"a":[1,"x",null,false]}]],{}]}',
    ],
)
def test_a_filter_is_carried_whatever_it_says(parse: Any, text: str) -> None:
    assert MessageToDict(struct_of(parse, text)) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "filter must be an object, and is an array"),
        ('{"a":{"$gt":9007199254740993}}', "filter.a.$gt is the number 9007199254740993, an int"),
        ('{"$or":[{},{"a":{"$in":[1,1e400]}}]}', "filter.$or[1].a.$in[1] is the number 1e400"),
    ],
)
def test_what_a_filter_cannot_carry_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(Odd):
        struct_of(parse_quickly, text)
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        struct_of(parse_carefully, text)
    assert caught.value.message.startswith(problem)


NESTINGS = {
    "objects": ('{"a":', "1", "}"),
    "lists": ("[", "1", "]"),
    "expressions": ('{"$and":[', '{"a":1}', "]}"),
}


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("parse", ROADS)
def test_the_deepest_filter_that_is_sent_can_be_read_and_no_deeper_one_could(
    parse: Any, nesting: str
) -> None:
    """Method: every depth is either refused here, or survives the wire; and both happen."""
    before, inside, after = NESTINGS[nesting]
    sent = refused = 0
    for depth in range(1, 120):
        text = before * depth + inside + after * depth
        request = vector_service_pb2.QueryVectorsRequest()
        try:
            request.filter.CopyFrom(struct_of(parse, f'{{"x":{text}}}' if before == "[" else text))
        except (Odd, VectorIndexParameterInvalid):
            refused += 1
            continue
        assert not refused, "a deeper filter passed than one that was refused"
        vector_service_pb2.QueryVectorsRequest.FromString(request.SerializeToString())
        sent += 1
    assert sent >= 19
    assert refused


def test_a_filter_of_very_many_values_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_module, "FILTER_VALUES_MAX", 1_000)
    with pytest.raises(VectorIndexParameterInvalid, match="filter holds over 1000 values"):
        struct_of(parse_carefully, '{"a":[' + "1," * 1_000 + "1]}")
    assert struct_of(parse_carefully, '{"a":[' + "1," * 998 + "1]}").fields["a"].list_value
