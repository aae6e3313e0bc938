"""JSON by two roads: what is refused, by which name, and that both roads agree."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from vectorbucket.errors import (
    MalformedJson,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.rest.oss import bodies as bodies_module
from vectorbucket_server.rest.oss.bodies import (
    CONTAINERS_MAX,
    ELEMENTS_MAX,
    EXPLAINED_BYTES_MAX,
    TEXTS_MAX,
    Odd,
    parse_carefully,
    parse_quickly,
)
from vectorbucket_server.rest.oss.words import Huge

ROADS = (parse_quickly, parse_carefully)


def plain(value: Any) -> Any:
    """Return a value of either road as plain Python."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    return value.as_list() if hasattr(value, "as_list") else value


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" \n", b"x", b"{", b"}", b"[]", b"1", b'"a"', b"null", b"true", b"{}x", b"{}{}"),
        *(
            b"{'a':1}",
            b'{"a":1,}',
            b'{"a":[1,]}',
            b'{"a":01}',
            b'{"a":+1}',
            b'{"a":.5}',
            b'{"a":1.}',
        ),
        *(b'{"a":NaN}', b'{"a":[Infinity]}', b'{"a":-Infinity}', b'{"a":nan}', b'{"a":0x1}'),
        *(b'{"a":"\n"}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":tru}', b'{"a" 1}', b"{1:2}"),
        *(
            b"\xff",
            b'{"a":"\xff"}',
            b'{"a":"\xed\xa0\x80"}',
            '{"a":1}'.encode("utf-16"),
            b'{"a":1}\x00',
        ),
        *(b'{"a":"\\ud800"}', b'{"\\udfff":1}', b'{"a":[["\\ud800x"]]}', b'{"a":"\\udc00\\ud800"}'),
        *(b'{"a":1,"a":1}', b'{"a":{"b":1,"\\u0062":2}}', b'{"a":[1,[{"b":1,"b":2}]]}'),
        *(b'{"a":' + b"[" * 1_100 + b"]" * 1_100 + b"}", b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
        *(b'{"a":1e400,"a":2}', b'{"a":1e400,}', b'{"a":18446744073709551616'),
        b"\xef\xbb\xbf",
    ],
)
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson) as caught:
        parse_carefully(body)
    assert len(caught.value.message) < 300
    try:
        quick = parse_quickly(body)
    except Odd:
        return
    # The quick road leaves duplicates to be found by whoever reads the members.
    assert b'"a":1' in body or b'"b":1' in body, quick


@pytest.mark.parametrize("parse", ROADS)
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'\xef\xbb\xbf{"a":1}',
        b' {"a" : [ 1 , 2.5 ] }\r\n',
        '{"größe":"東京 🎬","\\ud83c\\udfac":"\\u0000\\/"}'.encode(),
        b'{"a":{"b":[{"c":[]},[[]],null,true,false,-0,1e3]}}',
        b'{"a":9223372036854775808,"b":-9223372036854775808,"c":1e308}',
    ],
)
def test_both_roads_read_the_same(parse: Any, body: bytes) -> None:
    root = parse(body).root
    found = {name: plain(value) for name, value in root.items()}
    assert found == json.loads(body.decode("utf-8-sig"))


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1e400", b"0.1e999", b"1" + b"0" * 400, b"-1" + b"0" * 10_000]
)
def test_numbers_that_no_double_holds_are_kept_as_they_are_written(number: bytes) -> None:
    body = b'{"a":[{"b":' + number + b"}]}"
    with pytest.raises(Odd):
        parse_quickly(body)
    huge = parse_carefully(body).root["a"][0]["b"]
    assert huge == Huge(number.decode())


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**70])
def test_integers_beyond_64_bits_are_left_to_the_careful_road(number: int) -> None:
    body = b'{"a":%d}' % number
    with pytest.raises(Odd):
        parse_quickly(body)
    assert parse_carefully(body).root["a"] == number


@pytest.mark.parametrize("number", [b"18446744073709551615", b"-9223372036854775808", b"1e-400"])
def test_numbers_at_the_ends_are_numbers(number: bytes) -> None:
    body = b'{"a":' + number + b"}"
    assert parse_quickly(body).root["a"] == parse_carefully(body).root["a"] == json.loads(number)


@pytest.mark.parametrize(
    "piece",
    [
        b"0," * ELEMENTS_MAX,
        b"[]," * CONTAINERS_MAX,
        b'{"b":[]},' * CONTAINERS_MAX,
        b'"",' * (TEXTS_MAX + 1),
        b'"\\\\","\\"",' * (TEXTS_MAX // 2 + 1),
    ],
)
def test_a_body_with_more_in_it_than_any_request_has_is_refused_by_both_roads(
    piece: bytes,
) -> None:
    body = b'{"a":[' + piece + b"0]}"
    for parse in ROADS:
        with pytest.raises(VectorIndexParameterInvalid, match="over 16777215 values, 1000000 obj"):
            parse(body)


@pytest.mark.parametrize("parse", ROADS)
@pytest.mark.parametrize(
    "text",
    [
        '{"a":[1]}' * CONTAINERS_MAX,
        "," * ELEMENTS_MAX,
        '\\"' * (2 * TEXTS_MAX + 2),
        "\\\\" * 2_000_001 + "[" * CONTAINERS_MAX + "{",
        "\\" + '"{[' * CONTAINERS_MAX,
    ],
    ids=["objects", "commas", "quotes", "backslashes", "odd backslash"],
)
def test_what_stands_in_a_text_counts_for_nothing(parse: Any, text: str) -> None:
    body = json.dumps({"t": text, "a": [1, {}]}).encode()
    assert parse(body).root["t"] == text


def counted_otherwise(body: bytes) -> tuple[int, int, int]:
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"T", body)
    return bare.count(b"{") + bare.count(b"["), bare.count(b","), bare.count(b"T")


@pytest.mark.parametrize("at_once", [2, 3, 7, 64])
def test_counting_outside_texts_is_exact_wherever_a_body_is_cut(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies_module, "_COUNTED_AT_ONCE_BYTES", at_once)
    chance = random.Random(3)

    def value(depth: int) -> Any:
        if depth == 0:
            return chance.choice(
                [1, '{[,"' * chance.randrange(3), "\\" * chance.randrange(9) + '"']
            )
        inside = [value(depth - 1) for _ in range(chance.randrange(4))]
        return inside if chance.random() < 0.5 else dict(zip('"\\,{', inside, strict=False))

    for _ in range(500):
        body = json.dumps({"a": value(3)}).encode()
        assert bodies_module._counts_outside_texts(body) == counted_otherwise(body), body


PADDING = b'"padding":"' + b"x" * EXPLAINED_BYTES_MAX + b'"'


@pytest.mark.parametrize(
    ("tail", "words"),
    [(b"", "structure"), (b',"a":"\xff"}', "UTF-8"), (b',"a":NaN}', ""), (b',"a":"\\ud800"}', "")],
)
def test_a_large_body_that_is_no_json_is_refused_without_a_closer_look(
    tail: bytes, words: str
) -> None:
    with pytest.raises(MalformedJson, match="the body is not JSON: ") as caught:
        parse_quickly(b"{" + PADDING + tail)
    assert words in caught.value.message
    assert len(caught.value.message) < 200
