"""Golden exchanges: read from ``testdata``, sent as they stand, compared as they stand.

Rules of this file: the format is that of ``testdata/README.md``; what is not a placeholder has to
be equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oss.dialect import DATE, Dialect
from vectorbucket_server.rest.oss.messages import HttpRequest

FOLDER = Path(__file__).parent / "testdata"
SDKS = ("python", "go")

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True)
class Exchange:
    """One request, and the response to it."""

    remark: str
    request: tuple[str, ...]
    """Request line and headers."""
    request_body: str
    response: tuple[str, ...]
    """Status line and headers."""
    response_body: str


def read_exchanges(name: str, sdk: str) -> list[Exchange]:
    """Return the exchanges of an operation, in the words of an SDK."""
    text = (FOLDER / f"{name}.{sdk}.http").read_text()
    parts = [part.strip("\n").split("\n") for part in text.split("\n\n")[1:]]
    return [
        Exchange(
            lines[0].removeprefix("# "), *_read_message(lines, ">"), *_read_message(lines, "<")
        )
        for lines in parts
    ]


def _read_message(lines: list[str], mark: str) -> tuple[tuple[str, ...], str]:
    """Return head and body of one message."""
    mine = [line[1:].removeprefix(" ") for line in lines if line.startswith(mark)]
    end = mine.index("")
    return tuple(mine[:end]), "\n".join(mine[end + 1 :])


def all_exchanges() -> Iterator[Exchange]:
    """Yield every exchange of every file."""
    for path in sorted(FOLDER.glob("*.http")):
        name, sdk, _ = path.name.split(".")
        yield from read_exchanges(name, sdk)


def http_request(exchange: Exchange, token: str = "") -> HttpRequest:
    """Return the request of an exchange, with the token of the page before."""
    method, target, _ = exchange.request[0].split(" ")
    headers = [line.partition(": ") for line in exchange.request[1:]]
    return HttpRequest(
        method,
        target,
        tuple((name.lower(), value) for name, _, value in headers),
        exchange.request_body.replace("{token}", token).encode(),
    )


def play(dialect: Dialect, name: str, sdk: str) -> None:
    """Send the requests of a file and compare the responses."""
    dialect.make_bucket()
    token = ""
    for exchange in read_exchanges(name, sdk):
        answer = dialect.send(http_request(exchange, token))
        said = answer.response.body.decode()
        assert answer.status == int(exchange.response[0].split(" ")[1]), (exchange.remark, said)
        request_id = answer.headers["x-oss-request-id"]
        for line in exchange.response[1:]:
            header, _, value = line.partition(": ")
            expected = value.replace("{date}", DATE).replace("{request_id}", request_id)
            assert answer.headers[header.lower()] == expected, exchange.remark
        assert len(answer.headers) == len(exchange.response) - 1, exchange.remark
        if "policy" in exchange.request[0] and answer.status == 200:
            assert said == exchange.response_body, exchange.remark
        elif exchange.response_body:
            expected_body = exchange.response_body.replace("{request_id}", request_id)
            _check_same(answer.body, json.loads(expected_body), exchange.remark)
            token = answer.body.get("nextToken", token)
        else:
            assert said == "", exchange.remark


def _check_same(found: Any, expected: Any, place: str) -> None:
    """Check that JSON is as expected, numbers with and without fraction told apart."""
    assert type(found) is type(expected), (place, found, expected)
    if isinstance(expected, dict):
        assert set(found) == set(expected), (place, found)
        for name, value in expected.items():
            _check_same(found[name], value, f"{place}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), (place, found)
        for position, value in enumerate(expected):
            _check_same(found[position], value, f"{place}[{position}]")
    elif expected == "{time}":
        assert _TIME.fullmatch(found), place
    elif expected == "{token}":
        assert found, place
    else:
        assert found == expected, place
