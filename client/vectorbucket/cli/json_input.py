"""What a JSON flag says, or the file that it names → plain values.

Rules of this file: every JSON flag is read here, in one of three forms: the JSON itself,
``file://PATH``, or ``-`` for standard input. What is wrong is told with its place: flag, file, line
and column. Of a long file with vectors only a bounded part is in memory at any time.

Source: ossutil reads its flags so ("a string prefixed with file:// indicates a file path").
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from vectorbucket.cli.connection import BadInput

_FILE = "file://"
_STANDARD_INPUT = ("-", "/dev/stdin")

_CHUNK_CHARS = 1024 * 1024
"""How much of a file is read at once."""

_TOO_DEEP = "it is nested too deeply"

_VALUE_CHARS_MAX = 64 * 1024 * 1024
"""Characters of one vector; more are no vector, but a bracket that is never closed."""

_SPACE = " \t\r\n"


def read_text(flag: str, value: str) -> str:
    """Return the text that a flag says or names.

    Raises:
        BadInput: Its file cannot be read.
    """
    with _opened(flag, value) as (stream, _):
        return stream.read()


def read_json(flag: str, value: str, kind: type[Any] | tuple[type[Any], ...], what: str) -> Any:
    """Return the JSON that a flag says or names.

    Args:
        flag: The flag, for the message.
        value: What stands after it.
        kind: What it must be in Python.
        what: That in words, as ``a JSON object``.

    Raises:
        BadInput: Its file cannot be read, or it is no JSON, or not of that kind.
    """
    with _opened(flag, value) as (stream, place):
        text = stream.read()
    try:
        found = _DECODER.decode(text)
    except RecursionError:
        _refuse(place, ValueError(_TOO_DEEP), "")
    except ValueError as error:
        _refuse(place, error, _hint(value))
    if not isinstance(found, kind):
        raise BadInput(f"{place} must be {what}, not {_named(found)}")
    return found


def read_keys(values: list[str]) -> list[str]:
    """Return keys: given one by one, with commas between them, or as a JSON array.

    Raises:
        BadInput: An array is none, or holds something else than texts.
    """
    keys: list[str] = []
    for value in values:
        if value in _STANDARD_INPUT or value.startswith((_FILE, "[")):
            found = read_json("--keys", value, list, "a JSON array of texts")
            wrong = next((one for one in found if not isinstance(one, str)), None)
            if wrong is not None:
                raise BadInput(f"--keys must hold texts only, not {_named(wrong)}")
            keys += found
        else:
            keys += value.split(",")
    return keys


def read_vectors(flag: str, value: str) -> Iterator[dict[str, Any]]:
    """Yield the vectors that a flag says or names: a JSON array of them, or one after the other.

    Args:
        flag: The flag, for the message.
        value: What stands after it. JSON lines are vectors one after the other.

    Raises:
        BadInput: The file cannot be read, or is no JSON, or holds something else than objects.
    """
    with _opened(flag, value) as (stream, place):
        for position, found in enumerate(_values(stream, place, _hint(value))):
            if not isinstance(found, dict):
                raise BadInput(
                    f"{place} must hold vectors, which are JSON objects; number {position} is "
                    f"{_named(found)}"
                )
            yield found


# --- One value after the other --------------------------------------------------------------------


class _Window:
    """The part of a stream that is looked at, and where in the stream it begins."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.text = ""
        self.at = 0
        self.ended = False
        self._lines = 1
        self._column = 1

    def read_on(self) -> None:
        """Forget what was used up, and look further."""
        used = self.text[: self.at]
        self._lines += (breaks := used.count("\n"))
        self._column = len(used) - used.rfind("\n") if breaks else self._column + len(used)
        # Twice as much each time, so that one long value is not looked at over and over.
        more = self._stream.read(max(_CHUNK_CHARS, len(self.text) - self.at))
        self.text = self.text[self.at :] + more
        self.at = 0
        self.ended = not more

    def next_mark(self) -> str:
        """Return the next character that is no space, not used up; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.read_on()

    def error(self, message: str, at: int) -> ValueError:
        """Return an error that names a place of the whole stream."""
        before = self.text[:at]
        breaks = before.count("\n")
        column = at - before.rfind("\n") if breaks else self._column + at
        return ValueError(f"{message}: line {self._lines + breaks} column {column}")


def _values(stream: TextIO, place: str, hint: str) -> Iterator[Any]:
    """Yield the elements of an array, or values that stand one after the other."""
    window = _Window(stream)
    try:
        listed = window.next_mark() == "["
        if listed:
            window.at += 1
        first = True
        while (mark := window.next_mark()) and mark != "]":
            if listed and not first:
                if mark != ",":
                    raise window.error("expected , or ]", window.at)
                window.at += 1
                window.next_mark()
            yield _value(window)
            first = False
        if listed:
            if not mark:
                raise window.error("the array is not closed", window.at)
            window.at += 1
            mark = window.next_mark()
        if mark:
            raise window.error("nothing may stand here", window.at)
    except ValueError as error:
        _refuse(place, error, hint)


def _value(window: _Window) -> Any:
    """Return the next value, used up.

    Raises:
        ValueError: There is none; it says where.
    """
    while True:
        try:
            found, window.at = _DECODER.raw_decode(window.text, window.at)
        except json.JSONDecodeError as error:
            # It may be that only its end is not in sight.
            if window.ended or len(window.text) - window.at > _VALUE_CHARS_MAX:
                raise window.error(error.msg, error.pos) from error
            window.read_on()
        except RecursionError as error:
            raise window.error(_TOO_DEEP, window.at) from error
        except ValueError as error:
            raise window.error(str(error), window.at) from error
        else:
            return found


# --- Where it stands ------------------------------------------------------------------------------


@contextmanager
def _opened(flag: str, value: str) -> Iterator[tuple[TextIO, str]]:
    """Yield what to read, and how to name it.

    Raises:
        BadInput: It cannot be read, or is no UTF-8.
    """
    name = value.removeprefix(_FILE)
    place = flag
    try:
        if name in _STANDARD_INPUT:
            place = f"standard input, named by {flag},"
            yield sys.stdin, place
        elif name != value:
            place = f"{name}, named by {flag},"
            # With or without the mark that some editors put before UTF-8.
            with Path(name).expanduser().open(encoding="utf-8-sig") as stream:
                yield stream, place
        else:
            yield io.StringIO(value), place
    except UnicodeDecodeError as error:
        raise BadInput(f"{place} is no UTF-8: byte {error.start} of what was read") from error
    except OSError as error:
        raise BadInput(f"{place} cannot be read: {error.strerror or error}") from error


def _refuse(place: str, error: ValueError, hint: str) -> NoReturn:
    """Say that something is no JSON.

    Raises:
        BadInput: Always.
    """
    if isinstance(error, UnicodeDecodeError):
        raise error
    if isinstance(error, json.JSONDecodeError):
        why = f"{error.msg}: line {error.lineno} column {error.colno}"
    else:
        why = str(error)
    raise BadInput(f"{place} is no JSON: {why}{hint}") from error


def _hint(value: str) -> str:
    """Return what may have been meant by a text that is no JSON."""
    try:
        meant = len(value) < 4096 and Path(value).is_file()  # noqa: PLR2004 - no path is longer
    except (OSError, ValueError):
        meant = False
    return f"; if the file is meant: file://{value}" if meant else ""


def _named(value: object) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")


def _no_number(token: str) -> NoReturn:
    raise ValueError(f"{token} is no number of JSON")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, none of whose members stands there twice."""
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} stands in one object twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object)
