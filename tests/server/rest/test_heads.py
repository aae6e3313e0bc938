"""What the head of a request says, and what can be wrong with one."""

from __future__ import annotations

import httptools
import pytest

from vectorbucket.errors import InvalidArgument, MethodNotAllowed, QpsLimitExceeded
from vectorbucket_server.rest.heads import check_head, fault_of, path_of

HOST = (b"host", b"vectors.local")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/a/b?c=/d", "/a/b"),
        (b"/a?http://b/c", "/a"),
        (b"http://host/a?b", "/a"),
        (b"http://host?a=/b", "/"),
        (b"http://host", "/"),
        (b"*", "/"),
        (b"host:443", "/"),
        (b"/\xe9", "/\xe9"),
    ],
)
def test_path_is_what_follows_the_host(target: bytes, path: str) -> None:
    assert path_of(target) == path


@pytest.mark.parametrize(
    ("version", "target", "headers"),
    [
        ("1.1", b"/", [HOST]),
        ("1.1", b"/", [(b"x", b"y"), (b"host", b"")]),
        ("1.1", b"http://host/", []),
        ("1.0", b"/", []),
        ("1.0", b"*", [HOST]),
    ],
)
def test_head_that_says_whom_it_is_for_is_fine(
    version: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    check_head(version, target, headers)


@pytest.mark.parametrize(
    ("version", "target", "headers"),
    [
        ("1.1", b"/", []),
        ("1.1", b"/a?http://host/", [(b"x", b"y")]),
        ("1.1", b"*", []),
        ("1.1", b"host:443", []),
        ("1.1", b"/", [HOST, HOST]),
        ("1.1", b"http://host/", [HOST, HOST]),
        ("1.0", b"/", [HOST, HOST]),
        ("0.9", b"/", [HOST]),
        ("2.0", b"/", [HOST]),
    ],
)
def test_head_that_does_not_say_it_once_is_refused(
    version: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(InvalidArgument):
        check_head(version, target, headers)


def test_refusal_that_was_raised_within_the_parser_is_what_is_wrong() -> None:
    refusal = QpsLimitExceeded("too many")
    error = httptools.HttpParserCallbackError("a callback failed")
    error.__context__ = refusal
    assert fault_of(error, b"", is_beginning=True) is refusal


def test_failure_within_the_parser_is_no_fault_of_the_request() -> None:
    error = httptools.HttpParserCallbackError("a callback failed")
    error.__context__ = ZeroDivisionError("nobody foresaw this")
    with pytest.raises(ZeroDivisionError):
        fault_of(error, b"", is_beginning=True)


@pytest.mark.parametrize(
    ("data", "is_beginning", "kind"),
    [
        (b"FETCH / HTTP/1.1\r\n", True, MethodNotAllowed),
        (b"FETCH / HTTP/1.1\r\n", False, InvalidArgument),
        (b"nonsense\r\n\r\n", True, InvalidArgument),
    ],
)
def test_unknown_method_is_told_from_nonsense(
    data: bytes, *, is_beginning: bool, kind: type[Exception]
) -> None:
    error = httptools.HttpParserInvalidMethodError("what is this")
    assert isinstance(fault_of(error, data, is_beginning=is_beginning), kind)
