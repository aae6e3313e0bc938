"""Requests that nobody would send: golden ones, broken at random.

Method: seeded, so that a failure comes again; each request is one of the golden ones with one to
four faults in its method, target, headers or body. Whatever it is, the answer is in the dialect's
form and blames the client, or is none of an error: never a 5xx, never an exception.
"""

from __future__ import annotations

import dataclasses
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from long_runs import Rounds
from oss.dialect import (
    ACCOUNT_ID,
    BUCKET_HOST,
    SERVICE_HOST,
    Answer,
    Dialect,
    check_form,
    dialect_before,
)
from oss.golden import all_exchanges, http_request
from vectorbucket_server.auth.credentials import parse_credentials
from vectorbucket_server.rest.oss.messages import HttpRequest
from vectorbucket_server.rest.oss.routes import ROUTES, UNSUPPORTED

TOGETHER = 16
"""Requests that are sent at the same time."""

REQUESTS = (2_000, 100_000)

OWNER = f"""
[[credential]]
name = "owner"
account_id = "{ACCOUNT_ID}"
access_key_id = "test-ak"
access_key_secret = "other-sk"
owner = true
"""

METHODS = ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "get", "CONNECT", "", "\xff"]
FLAGS = [route.flag for route in ROUTES] + [*UNSUPPORTED, "acl", "uploads", "list-type", "%00", ""]
TARGETS = [
    *("/", "", "*", "//", "///", "/b/o", "/%2e%2e/", "/\xff", "/%FF%FE", "/%", "/%zz", "/b?%", "?"),
    *("http://", "http:///", "https://h", "http://h?", "http://u@h/", "ftp://h/", "h:80", "/ /"),
    *("/?x-oss-signature-version=OSS4-HMAC-SHA256", "/?x-oss-expires=1&x-oss-date=", "/?&&==&"),
    *("/" + "a" * 5_000, "/?" + "b" * 5_000, "/?" + "c=&" * 2_000, "http://" + "d" * 5_000 + "/"),
]
HOSTS = [
    *(
        BUCKET_HOST,
        SERVICE_HOST,
        "",
        "-1.h",
        "b-1",
        "b-1.",
        "b-1..",
        "b-.h",
        "b-x1.h",
        "b-1.127.0.0.1",
    ),
    *(
        "[::1]:80",
        "[::1",
        "b-1.[::1]",
        "a" * 300,
        "b" * 260 + "-1.h",
        "b-" + "9" * 200 + ".h",
        "\xe9-1.h",
    ),
    *("B-1.H", "b-1.h:", "b-1.h:x", "b_b-1.h", " b-1.h ", "b-1.h\x00", "b--1.h", "1-1.h", "b-٣.h"),
]
HEADERS = [
    ("authorization", ""),
    ("authorization", "OSS4-HMAC-SHA256 "),
    ("authorization", "OSS4-HMAC-SHA256 Credential=test-ak/20231216/cn-hangzhou/oss/,Signature=0"),
    ("authorization", "OSS test-ak:AAAA"),
    ("authorization", "Bearer x"),
    ("x-oss-date", "20231216T162057"),
    ("x-oss-date", "99999999T999999Z"),
    ("x-oss-security-token", "\xff"),
    ("content-type", "application/xml; charset=utf-16"),
    ("content-encoding", "gzip"),
    ("content-md5", "x"),
    ("x-vectorbucket-principal", "owner"),
    ("expect", "100-continue"),
    ("origin", "null"),
    ("origin", f"http://{SERVICE_HOST}"),
    ("referer", "http://\xff/"),
    ("sec-fetch-site", "cross-site"),
]
TOKENS = [
    *(b"null", b"true", b"{}", b"[]", b"[[]]", b"-0", b"1e400", b"-1e-400", b"NaN", b"Infinity"),
    *(
        b"9007199254740993",
        b"18446744073709551616",
        b"1" * 5_000,
        b"0.1",
        b"1e39",
        b'""',
        b'"\xff"',
    ),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b'"\xf0\x9f\x8e\xac"',
        b"\xef\xbb\xbf",
        b'{"a":1,"a":1}',
        b'"$and"',
    ),
    *(b"[" * 1_100, b'{"a":' * 500, b"," * 100, b"\x00", b'"' + b"k" * 2_000 + b'"', b"2147483648"),
    *(b'{"$and":[{"a":{"$in":[1]}}]}', b'{"$or":[]}', b"[1,[2,[3]]]", b"1.5", b"-1", b"[1,2,3]"),
]

Fault = Callable[[random.Random, HttpRequest], HttpRequest]


def other_method(chance: random.Random, request: HttpRequest) -> HttpRequest:
    return dataclasses.replace(request, method=chance.choice(METHODS))


def other_target(chance: random.Random, request: HttpRequest) -> HttpRequest:
    return dataclasses.replace(request, target=chance.choice(TARGETS))


def other_flag(chance: random.Random, request: HttpRequest) -> HttpRequest:
    path, _, query = request.target.partition("?")
    flag = chance.choice(FLAGS) + chance.choice(["", "=", "=x", "&policy", "&acl=", "&x-oss-a=1"])
    more = chance.choice([flag, f"{query}&{flag}"])
    return dataclasses.replace(request, target=f"{path}?{more}")


def damaged_target(chance: random.Random, request: HttpRequest) -> HttpRequest:
    at = chance.randrange(len(request.target) + 1)
    new = chance.choice(["%", "/", "?", "&", "=", "\x7f", "\xff", "%00", "#", " ", "+"])
    return dataclasses.replace(request, target=request.target[:at] + new + request.target[at:])


def absolute_target(chance: random.Random, request: HttpRequest) -> HttpRequest:
    scheme = chance.choice(["http", "https", "HTTP", "h"])
    return dataclasses.replace(request, target=f"{scheme}://{chance.choice(HOSTS)}{request.target}")


def other_host(chance: random.Random, request: HttpRequest) -> HttpRequest:
    kept = tuple(pair for pair in request.headers if pair[0] != "host")
    more = chance.choices(HOSTS, k=chance.choice([0, 1, 1, 1, 2]))
    return dataclasses.replace(request, headers=(*(("host", one) for one in more), *kept))


def other_header(chance: random.Random, request: HttpRequest) -> HttpRequest:
    headers = list(request.headers)
    if chance.random() < 0.3 and headers:
        headers.pop(chance.randrange(len(headers)))
    headers.insert(chance.randrange(len(headers) + 1), chance.choice(HEADERS))
    return dataclasses.replace(request, headers=tuple(headers))


def other_body(chance: random.Random, request: HttpRequest) -> HttpRequest:
    return dataclasses.replace(request, body=chance.choice([b"", *TOKENS, chance.randbytes(50)]))


def damaged_body(chance: random.Random, request: HttpRequest) -> HttpRequest:
    """Cut a piece out of the body, or put one in; mostly where a value begins or ends."""
    body = request.body
    places = [at for at, byte in enumerate(body) if byte in b'[]{},:"0123456789'] or [0]
    start, end = sorted(chance.choices([*places, chance.randrange(len(body) + 1)], k=2))
    kind = chance.randrange(4)
    if kind == 0:
        body = body[:start] + body[end:]
    elif kind == 1:
        body = body[:start] + chance.choice(TOKENS) + body[start:]
    elif kind == 2:
        body = body[:start] + body[start:end] * 2 + body[end:]
    else:
        body = body[:start] + bytes([chance.randrange(256)]) + body[start + 1 :]
    return dataclasses.replace(request, body=body)


def other_value(chance: random.Random, request: HttpRequest) -> HttpRequest:
    """Put another value in the place of one."""
    body = request.body
    colons = [at for at, byte in enumerate(body) if byte in b":[,"]
    if not colons:
        return request
    start = chance.choice(colons) + 1
    ends = [at for at in range(start, len(body)) if body[at] in b",]}"] or [len(body)]
    return dataclasses.replace(request, body=body[:start] + chance.choice(TOKENS) + body[ends[0] :])


FAULTS: tuple[Fault, ...] = (
    *(other_method, other_target, other_flag, damaged_target, absolute_target, other_host),
    *(other_header, other_body, damaged_body, damaged_body, other_value, other_value, other_value),
)


def broken_requests(seed: int, count: int) -> Iterator[HttpRequest]:
    """Yield requests, each with faults."""
    chance = random.Random(seed)
    golden = [http_request(exchange, "AZub8J1NbffEbBDHomE") for exchange in all_exchanges()]
    for _ in range(count):
        request = chance.choice(golden)
        for fault in chance.choices(FAULTS, k=chance.choice([1, 1, 1, 2, 2, 3, 4])):
            request = fault(chance, request)
        yield request


def check_all(dialect: Dialect, requests: Iterator[HttpRequest]) -> Counter[int]:
    """Send requests and check the form of what comes back; return how often each status did."""
    seen: Counter[int] = Counter()
    while True:
        together = [one for one, _ in zip(requests, range(TOGETHER), strict=False)]
        if not together:
            return seen
        for request, response in zip(together, dialect.send_all(together), strict=True):
            try:
                check_form(response)
                assert response.status < 500
            except AssertionError as error:
                raise AssertionError(f"{request} {request.body!r}: {Answer(response)}") from error
            seen[response.status] += 1


def test_broken_requests_are_refused_in_the_form_of_the_dialect(
    dialect: Dialect, rounds: Rounds
) -> None:
    dialect.make_index()
    seen = check_all(dialect, broken_requests(zlib.crc32(b"open"), rounds(*REQUESTS)))
    assert {200, 400, 404, 405} <= set(seen), "the faults are too few or too many"
    assert seen[400] > seen.total() / 5


@pytest.mark.parametrize("account_id", [ACCOUNT_ID, "42"])
def test_broken_requests_tell_nothing_to_whoever_cannot_sign(
    dialect: Dialect, server_address: str, rounds: Rounds, account_id: str
) -> None:
    """Method: the translator has credentials, and the golden signatures are of another secret."""
    credentials = parse_credentials(OWNER.replace(ACCOUNT_ID, account_id))
    dialect.make_index()
    with dialect_before(server_address, credentials=credentials) as guarded:
        requests = broken_requests(zlib.crc32(account_id.encode()), rounds(500, 20_000))
        assert set(check_all(guarded, requests)) == {403}
