"""What a command answers: one JSON document for programs, or tables for people.

Rules of this file: the only writer of standard output. With ``--output json`` a command that
succeeds leaves exactly one document there; in tables nothing of what users store reaches the
terminal as a command to it. Colours are in terminals only, and never where NO_COLOR or
``--no-color`` says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vectorbucket.cli.connection import Connection, Output
from vectorbucket.cli.endings import say, shown

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")

_DATA_SHOWN = 4
"""Numbers of a vector in a table."""


def answer(connection: Connection, document: Any, *tables: Table) -> None:
    """Answer with a document, or with tables that show it."""
    if connection.output is Output.JSON:
        _write(f"{_json(document)}\n")
        return
    console = Console(
        file=sys.stdout, no_color=connection.no_color or None, highlight=False, markup=False
    )
    for table in tables:
        # Written by ourselves: where nobody reads any more, rich would choose the exit code.
        with console.capture() as captured:
            console.print(table)
        _write(captured.get())


def answer_text(connection: Connection, text: str, *, member: str | None = None) -> None:
    """Answer with a text as it stands, or with a document that holds it.

    Args:
        connection: In which form to answer.
        text: The text.
        member: Its name in the document; None where it is one itself.
    """
    if connection.output is Output.JSON and member is not None:
        answer(connection, {member: text})
    else:
        _write(text if text.endswith("\n") else f"{text}\n")


def answer_done(connection: Connection, message: str) -> None:
    """Say that something is done: for a program nothing is left to answer."""
    if connection.output is Output.JSON:
        answer(connection, {})
    else:
        say(message)


def answer_elements(member: str, documents: Iterable[Any]) -> None:
    """Answer with one document that holds an array of any length, written as it comes.

    Where the rest cannot be had, the document is left torn, so that nobody takes it for the whole.
    """
    before = f"{{{_json(member)}:["
    for document in documents:
        _write(f"{before}{_json(document)}")
        before = ","
    _write("]}\n" if before == "," else f"{before}]}}\n")


def columns(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table with a heading over each column; numbers stand to the right."""
    listed = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False)
    for position, heading in enumerate(headings):
        numbers = bool(listed) and all(_is_number(row[position]) for row in listed)
        table.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*(cell(value) for value in row))
    return table


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Return a table of names and values."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, cell(value))
    return table


def cell(value: object) -> Text:
    """Return what stands in a table for a value; a dict or list as JSON, None as nothing."""
    if value is None:
        text = ""
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, datetime):
        text = f"{value:%Y-%m-%d %H:%M:%S}Z"
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    safe = shown(text).replace("\n", "\\n")
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return Text(safe.encode(encoding, "backslashreplace").decode(encoding))


def size_text(size_bytes: int | None) -> str | None:
    """Return a number of bytes as people say it, and exactly."""
    if size_bytes is None:
        return None
    short, exact = short_size_text(size_bytes), f"{size_bytes:,} bytes"
    return exact if short == exact else f"{short} ({exact})"


def short_size_text(size_bytes: int) -> str:
    """Return a number of bytes as people say it."""
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - the units are decimal
        size, unit = size / 1000, unit + 1
    return f"{size_bytes} bytes" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def data_text(numbers: Sequence[float]) -> str:
    """Return the beginning of a vector, and how long it is."""
    beginning = ", ".join(f"{float(number):.4g}" for number in numbers[:_DATA_SHOWN])
    if len(numbers) <= _DATA_SHOWN:
        return f"[{beginning}]"
    return f"[{beginning}, …] {len(numbers)} numbers"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(document: Any) -> str:
    """Return JSON on one line; as plain ASCII where the output is not known to take more."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return json.dumps(
        document, ensure_ascii=encoding != "utf8", allow_nan=False, separators=(",", ":")
    )


def _write(text: str) -> None:
    sys.stdout.write(text)
