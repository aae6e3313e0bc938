"""What a value of a body is, in words of bounded length.

Rules of this file: whatever a caller sends, it is described in a line; strings are quoted, so that
nothing in them passes for a word of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = object()
"""What a reader gets for a member that is not there."""

_CHARACTERS_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Huge:
    """A number of the body that no double can hold."""

    text: str
    """As it is written."""


def shown(text: str) -> str:
    """Return a text fit for a message: quoted, escaped, at most about 64 characters of it."""
    if len(text) <= _CHARACTERS_SHOWN:
        return repr(text)
    return f"{text[:_CHARACTERS_SHOWN]!r}… ({len(text)} characters)"


def cut(text: str) -> str:
    """Return as much of the text of a number as is worth reading."""
    return text if len(text) <= _CHARACTERS_SHOWN else f"{text[:_CHARACTERS_SHOWN]}…"


def described(value: object) -> str:  # noqa: PLR0911 - one a kind
    """Return what a value is, in words of bounded length."""
    if value is ABSENT:
        return "missing"
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {shown(value)}"
        case int() | float():
            return f"the number {cut(str(value))}"
        case Huge():
            return f"the number {cut(value.text)}"
        case list():
            return "an array"
        case _:
            return "an object"
