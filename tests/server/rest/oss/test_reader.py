"""Values as what they have to be, by both roads, and in which words they are refused."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import numpy as np
import pytest

from long_runs import Rounds
from vectorbucket.errors import (
    InvalidArgument,
    MalformedJson,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.rest.oss import reader as reader_module
from vectorbucket_server.rest.oss.bodies import (
    EXPLAINED_BYTES_MAX,
    Odd,
    parse_carefully,
    parse_quickly,
)
from vectorbucket_server.rest.oss.reader import ELEMENTS_READ_MAX, Reader

ROADS = (parse_quickly, parse_carefully)


def carefully(value: object) -> Reader:
    return Reader(parse_carefully(json.dumps({"a": value}).encode()))


@pytest.mark.parametrize(
    ("reader", "value", "problem"),
    [
        ("string", 1, "a must be a string, and is the number 1"),
        ("boolean", 1, "a must be true or false, and is the number 1"),
        ("boolean", "x" * 100, f"a must be true or false, and is the string '{'x' * 64}'… (100"),
        ("integer", True, "a must be an integer, and is true"),
        ("integer", 1.5, "a must be an integer, and is the number 1.5"),
        ("integer", "1", "a must be an integer, and is the string '1'"),
        ("integer", [1], "a must be an integer, and is an array"),
        ("integer", {}, "a must be an integer, and is an object"),
        ("integer", 2**31, "a is 2147483648; it must be within ±2147483647"),
        ("integer", 1e300, "a must be an integer, and is the number 1e+300"),
        ("integer", 10**30, f"a is {10**30}; it must be within"),
        ("integer", 10**399, f"a is 1{'0' * 63}…; it must be within"),
        ("integer", 10**401, f"a must be an integer, and is the number 1{'0' * 63}…"),
    ],
)
def test_a_wrong_value_is_refused_with_what_it_is(reader: str, value: object, problem: str) -> None:
    body = carefully(value)
    root = body.root()
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        getattr(body, reader)(root, "a")
    assert caught.value.message.startswith(problem)
    assert caught.value.field == "a"


@pytest.mark.parametrize(
    ("value", "problem", "field"),
    [
        ("text", "a must be an array, and is the string 'text'", "a"),
        (["text", 1], "a[1] must be a string, and is the number 1", "a[1]"),
    ],
)
def test_what_is_no_array_of_strings_is_refused_where_it_is_none(
    value: object, problem: str, field: str
) -> None:
    body = carefully(value)
    with pytest.raises(VectorIndexParameterInvalid, match=re.escape(problem)) as caught:
        body.strings(body.root()["a"], "a")
    assert caught.value.field == field


@pytest.mark.parametrize("parse", ROADS)
def test_members_are_read_as_what_they_are_and_absent_ones_are_empty(parse: Any) -> None:
    body = Reader(parse(b'{"s":"x","b":true,"i":-5,"f":7.0,"l":["a","b"],"o":{"x":{"y":1}}}'))
    root = body.root()
    assert (body.string(root, "s"), body.string(root, "none")) == ("x", "")
    assert (body.boolean(root, "b"), body.boolean(root, "none")) == (True, False)
    assert [body.integer(root, name) for name in ("i", "f", "none")] == [-5, 7, 0]
    assert body.strings(root["l"], "l") == ["a", "b"]
    assert list(body.elements(root["l"], "l")) == ["a", "b"]
    inside = body.members(root["o"], "o")
    assert body.plain_members(inside["x"], "o.x") == {"y": 1}


@pytest.mark.parametrize("value", [1, "x", None, [], True])
def test_what_is_no_object_has_no_members(value: object) -> None:
    body = carefully(value)
    for read in (body.members, body.all_members, body.plain_members):
        with pytest.raises(VectorIndexParameterInvalid, match="p must be an object"):
            read(value, "p")
    quick = Reader(parse_quickly(b"{}"))
    for read in (quick.members, quick.all_members, quick.plain_members):
        with pytest.raises(Odd):
            read(value, "p")


@pytest.mark.parametrize("parse", ROADS)
def test_a_member_that_is_null_is_absent_except_among_values(parse: Any) -> None:
    body = Reader(parse(b'{"a":null,"b":{"c":null,"d":1},"e":null}'))
    root = body.root()
    assert set(root) == {"b"}
    assert (body.string(root, "a"), body.integer(root, "a"), body.boolean(root, "e")) == ("", 0, 0)
    assert set(body.members(root["b"], "b")) == {"d"}
    assert dict(body.all_members(root["b"], "b")) == {"c": None, "d": 1}
    assert body.plain_members(root["b"], "b") == {"c": None, "d": 1}


@pytest.mark.parametrize("parse", ROADS)
def test_more_elements_than_are_read_are_refused_by_either_road(parse: Any) -> None:
    for count in (ELEMENTS_READ_MAX, ELEMENTS_READ_MAX + 1):
        body = Reader(parse(b'{"a":[' + b'"",' * (count - 1) + b'""]}'))
        listed = body.root()["a"]
        if count == ELEMENTS_READ_MAX:
            assert len(body.strings(listed, "p")) == count
            continue
        with pytest.raises(VectorIndexParameterInvalid) as caught:
            body.strings(listed, "p")
        assert caught.value.message == "p has 200001 elements; the limit is 200000"
        assert caught.value.details == {"value": "200001", "limit": "200000"}


@pytest.mark.parametrize("parse", ROADS)
def test_values_of_metadata_are_counted_in_the_whole_body(
    parse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "METADATA_VALUES_MAX", 5)
    body = Reader(parse(b'{"a":{"x":1,"y":2},"b":{"x":1,"y":2}}'))
    root = body.root()
    for name in "ab":
        body.plain_members(root[name], name)
    body.count_metadata(1)
    with pytest.raises(VectorIndexParameterInvalid, match=r"6 values.*; the limit is 5"):
        body.count_metadata(1)


def test_the_error_is_the_one_that_the_reader_chose() -> None:
    body = carefully(1)
    root = body.root(error=InvalidArgument)
    with pytest.raises(InvalidArgument, match=r"x\.a must be a string"):
        body.string(root, "a", "x.")


def test_the_quick_road_leaves_to_the_careful_one_what_it_cannot_judge() -> None:
    many = json.dumps({f"n{number}": 1 for number in range(65)}).encode()
    for raw in (b'{"a":1,"a":2}', b'{"a\\u0000":1}', many):
        with pytest.raises(Odd):
            Reader(parse_quickly(raw)).root()
        if raw != b'{"a":1,"a":2}':
            assert Reader(parse_carefully(raw)).root()
    twice = Reader(parse_quickly(b'{"a":{"b":1,"b":2}}'))
    with pytest.raises(Odd):
        twice.plain_members(twice.root()["a"], "a")


@pytest.mark.parametrize("known", [frozenset({"a"}), frozenset({"a", "u"})])
def test_unknown_members_need_a_look_only_if_there_is_something_in_them(
    known: frozenset[str],
) -> None:
    body = Reader(parse_quickly(b'{"a":[1],"u":[1]}'))
    if "u" in known:
        body.pass_over(body.root(), known)
    else:
        with pytest.raises(Odd):
            body.pass_over(body.root(), known)
    scalar = Reader(parse_quickly(b'{"a":[1],"u":1}'))
    scalar.pass_over(scalar.root(), known)
    careful = Reader(parse_carefully(b'{"a":[1],"u":[1]}'))
    careful.pass_over(careful.root(), known)


# --- Numbers of vectors -------------------------------------------------------------------------


def float32_of(parse: Any, text: str) -> list[float]:
    body = Reader(parse(f'{{"a":{text}}}'.encode()))
    return list(np.frombuffer(body.float32_bytes(body.root()["a"], lambda: "p"), "<f4"))


@pytest.mark.parametrize("parse", ROADS)
@pytest.mark.parametrize(
    "text", ["[]", "[1]", "[1,2.5,-3]", "[0.1,1e-50,3.4028235e38,-0.0,18446744073709551615]"]
)
def test_numbers_become_float32(parse: Any, text: str) -> None:
    with np.errstate(over="ignore"):
        expected = np.asarray(json.loads(text), np.float64).astype("<f4")
    assert float32_of(parse, text) == list(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1", "p must be an array of numbers, and is the number 1"),
        ('"1,2"', "p must be an array of numbers, and is the string '1,2'"),
        ("[1,true]", "p[1] must be a number, and is true"),
        ("[1,[2]]", "p[1] must be a number, and is an array"),
        ("[[]]", "p[0] must be a number, and is an array"),
        ("[[1],[2]]", "p[0] must be a number, and is an array"),
        ("[ [1]]", "p[0] must be a number, and is an array"),
        ("[" + " " * 40 + "[1]]", "p[0] must be a number, and is an array"),
        ("[1,\n\t[2]]", "p[1] must be a number, and is an array"),
        ("[1,{}]", "p[1] must be a number, and is an object"),
        ("[null]", "p[0] must be a number, and is null"),
        ("[0,0,3.5e38]", "p[2] is the number 3.5e+38; float32 ends at ±3.4028234663852886e+38"),
        ("[-1e39]", "p[0] is the number -1e+39"),
        ("[1e400]", "p[0] is the number 1e400; float32 ends"),
        ("[1" + "0" * 400 + "]", "p[0] is the number 1000"),
    ],
)
def test_what_is_no_float32_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(Odd):
        float32_of(parse_quickly, text)
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        float32_of(parse_carefully, text)
    assert caught.value.message.startswith(problem)
    assert len(caught.value.message) < 300


def test_an_integer_that_only_float32_holds_is_a_number() -> None:
    assert float32_of(parse_carefully, "[100000000000000000000]") == [np.float32(1e20)]


@pytest.mark.parametrize("text", ["x, [y", "[[", ",\\n[", "\\u005b[", "]]"])
def test_texts_with_brackets_do_not_keep_a_body_from_the_quick_road(text: str) -> None:
    body = Reader(parse_quickly(f'{{"t":"{text}","a":[1,2,3]}}'.encode()))
    numbers = body.float32_bytes(body.root()["a"], lambda: "a")
    assert np.array_equal(np.frombuffer(numbers, "<f4"), [1, 2, 3])


def test_very_many_brackets_are_not_looked_at_one_by_one() -> None:
    body = Reader(parse_quickly(b'{"t":"' + b"x[" * 50_000 + b'","a":[1]}'))
    assert len(body.float32_bytes(body.root()["a"], lambda: "a")) == 4


# --- Both roads, at random ----------------------------------------------------------------------


def some_value(chance: random.Random, depth: int) -> str:
    """Return a piece of JSON, or of something like it."""
    if depth and chance.random() < 0.4:
        inside = [some_value(chance, depth - 1) for _ in range(chance.randrange(4))]
        if chance.random() < 0.5:
            return "[" + chance.choice([",", ", ", ",\n"]).join(inside) + "]"
        return "{" + ",".join(f'"{chance.choice("abc")}":{one}' for one in inside) + "}"
    tokens = [
        "1",
        "-2.5",
        "1e400",
        "NaN",
        "null",
        "true",
        '"x"',
        '"[,["',
        '"\\ud800"',
        "1e39",
        "2" * 25,
    ]
    return chance.choice(tokens)


def read_everything(body: Reader, value: Any) -> Any:
    """Return a value by the readers, numbers in arrays as vectors where they are all numbers."""
    if isinstance(value, dict) or hasattr(value, "as_dict"):
        members = body.members(value, "p")
        return {name: read_everything(body, one) for name, one in members.items()}
    if isinstance(value, list) or hasattr(value, "as_list"):
        elements = list(body.elements(value, "p"))
        if elements and all(isinstance(one, int | float) for one in elements):
            return body.float32_bytes(value, lambda: "p")
        return [read_everything(body, one) for one in elements]
    return value


def outcome(parse: Any, raw: bytes) -> Any:
    try:
        body = Reader(parse(raw))
        return read_everything(body, dict(body.root()))
    except VectorBucketError as error:
        return type(error)


def test_the_quick_road_never_says_other_than_the_careful_one(rounds: Rounds) -> None:
    chance, quick = random.Random(7), 0
    for _ in range(rounds(3_000, 100_000)):
        raw = ('{"a":' + some_value(chance, 4) + "}").encode()
        careful = outcome(parse_carefully, raw)
        try:
            found = outcome(parse_quickly, raw)
        except Odd:
            continue
        quick += 1
        assert found == careful, raw
    assert quick > 500


PADDING = b'"padding":"' + b"x" * EXPLAINED_BYTES_MAX + b'"'


def test_numbers_of_a_large_body_are_named_as_far_as_python_tells_them() -> None:
    body = Reader(parse_carefully(b"{" + PADDING + b',"v":[1,1e400],"w":[1' + b"0" * 400 + b"]}"))
    root = body.root()
    for name, position in (("v", 1), ("w", 0)):
        with pytest.raises(VectorIndexParameterInvalid) as caught:
            body.float32_bytes(root[name], lambda: "p")
        assert caught.value.field == f"p[{position}]"
    with pytest.raises(VectorIndexParameterInvalid, match="thousands of digits"):
        Reader(parse_carefully(b"{" + PADDING + b',"v":1' + b"0" * 5_000 + b"}"))
    with pytest.raises(MalformedJson):
        Reader(parse_carefully(b"{" + PADDING + b',"v":01}'))
