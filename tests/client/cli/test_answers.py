"""One document for programs, tables for people; and nothing that a terminal would obey."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from vectorbucket.cli.answers import (
    answer,
    answer_done,
    answer_elements,
    answer_text,
    cell,
    columns,
    data_text,
    facts,
    size_text,
)
from vectorbucket.cli.connection import Connection, Output

AS_JSON = Connection(output=Output.JSON)
AS_TABLE = Connection()


def written(captured: pytest.CaptureFixture[str]) -> str:
    return captured.readouterr().out


def test_document_is_one_line_and_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"vectors": [{"key": "é"}]}
    answer(AS_JSON, document, columns(["key"], [["é"]]))
    assert written(capsys) == '{"vectors":[{"key":"é"}]}\n'
    answer(AS_TABLE, document, columns(["key"], [["é"]]), facts([("key", "é")]))
    shown = written(capsys)
    assert "{" not in shown
    assert shown.count("é") == 2


def test_number_that_json_has_no_form_for_is_never_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        answer(AS_JSON, {"distance": float("nan")})
    assert written(capsys) == ""


def test_text_stands_as_it_is_or_in_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    answer_text(AS_TABLE, "a [bold]b[/bold]\n", member="text")
    answer_text(AS_JSON, "a", member="text")
    answer_text(AS_JSON, "{ }")
    assert written(capsys) == 'a [bold]b[/bold]\n{"text":"a"}\n{ }\n'


def test_what_is_done_is_told_to_people_only(capsys: pytest.CaptureFixture[str]) -> None:
    answer_done(AS_TABLE, "it is made")
    assert capsys.readouterr() == ("", "vectorbucket: it is made\n")
    answer_done(AS_JSON, "it is made")
    assert capsys.readouterr() == ("{}\n", "")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_elements_make_one_document(capsys: pytest.CaptureFixture[str], count: int) -> None:
    answer_elements("vectors", ({"key": str(number)} for number in range(count)))
    text = written(capsys)
    assert json.loads(text) == {"vectors": [{"key": str(number)} for number in range(count)]}
    assert text.endswith("]}\n")


def test_elements_that_break_off_are_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Any:
        yield {"key": "a"}
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        answer_elements("vectors", broken())
    with pytest.raises(json.JSONDecodeError):
        json.loads(written(capsys))


CELLS = {
    "nothing": (None, ""),
    "yes": (True, "yes"),
    "no": (False, "no"),
    "count": (1234567, "1,234,567"),
    "number": (0.123456789, "0.123457"),
    "time": (datetime(2025, 4, 17, 1, 33, 47, tzinfo=UTC), "2025-04-17 01:33:47Z"),
    "metadata": ({"b": ["é"], "a": 1}, '{"a": 1, "b": ["é"]}'),
    "markup": ("[bold]x[/bold]", "[bold]x[/bold]"),
    "escape": ("a\x1b[31mb", r"a\x1b[31mb"),
    "lines": ("a\nb\tc", r"a\nb\tc"),
    "direction": ("a\u202eb", r"a\u202eb"),
}


@pytest.mark.parametrize("case", CELLS)
def test_cell_shows_a_value(case: str) -> None:
    value, shown = CELLS[case]
    assert cell(value).plain == shown


def test_output_that_takes_ascii_only_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    answer(AS_JSON, {"key": "é"})
    answer(AS_TABLE, None, columns(["key"], [["é"]]))
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    document, *table = raw.getvalue().decode("ascii").splitlines()
    assert json.loads(document) == {"key": "é"}
    assert any("\\xe9" in line for line in table)


SIZES = {0: "0 bytes", 999: "999 bytes", 1500: "1.5 kB (1,500 bytes)", None: None}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_size_is_said_as_people_do_and_exactly(size: int | None) -> None:
    assert size_text(size) == SIZES[size]


def test_large_sizes_have_large_units() -> None:
    assert size_text(3 * 10**12) == "3.0 TB (3,000,000,000,000 bytes)"
    assert size_text(10**21) == "1000000.0 PB (1,000,000,000,000,000,000,000 bytes)"


def test_vector_is_shown_by_its_beginning() -> None:
    assert data_text([0.1, -2, 3, 4.00001]) == "[0.1, -2, 3, 4]"
    assert data_text([1.0] * 768) == "[1, 1, 1, 1, …] 768 numbers"


@pytest.mark.parametrize(
    ("connection", "environment", "colours"),
    [(AS_TABLE, {}, 1), (Connection(no_color=True), {}, 0), (AS_TABLE, {"NO_COLOR": "1"}, 0)],
    ids=["terminal", "flag", "environment"],
)
def test_colours_are_in_terminals_only_and_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch,
    connection: Connection,
    environment: dict[str, str],
    colours: int,
) -> None:
    # Whether colours are left out of what is piped shows in every other test of tables.
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **environment}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            answer(connection, {}, columns(["account"], [["a"]]))
            terminal.flush()
            shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
    assert "account" in shown
    assert min(shown.count("36m"), 1) == colours
