"""JSON lines: written so that they read back bit for bit, read so that every fault has its line."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.cli.transfers import ODD
from vectorbucket import Vector
from vectorbucket.cli import rows_json
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import BadRow, Row
from vectorbucket.cli.rows_json import JsonLines, json_lines, metadata_json


def vector(numbers: object, metadata: Any = None) -> Vector:
    return Vector("a", np.asarray(numbers, np.float32), metadata)


def read(text: str | bytes, dimension: int = 2, skip: int = 0) -> list[Row | BadRow]:
    raw = text if isinstance(text, bytes) else text.encode()
    return list(JsonLines("file", io.BytesIO(raw)).rows(skip, dimension))


def test_line_is_in_the_spelling_of_oss() -> None:
    (line,) = json_lines([vector([1, -2.5], {"b": [1, "x"], "a": True})]).splitlines()
    assert line == b'{"key":"a","data":{"float32":[1,-2.5]},"metadata":{"a":true,"b":[1,"x"]}}'
    assert json_lines([Vector("b", None, {})]) == b'{"key":"b","metadata":{}}\n'
    assert json_lines([]) == b""
    assert metadata_json(Vector("b", None, None)) == "{}"


def test_every_float32_reads_back_bit_for_bit_through_float64() -> None:
    chance = np.random.default_rng(11)
    bits = chance.integers(0, 2**32, 60_000, dtype=np.uint32)
    edges = [0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x80000000, 0xFF7FFFFF, 0x3F800000]
    numbers = np.concatenate([np.array(edges, np.uint32), bits]).view(np.float32)
    # Its shortest text, read as float64 and then as float32, is its neighbour.
    odd = np.array([0x15AE43FD, 0x95AE43FD], np.uint32).view(np.float32)
    numbers = np.concatenate([odd, numbers])
    numbers = numbers[np.isfinite(numbers)][:59_000].reshape(-1, 20)
    lines = json_lines([vector(row) for row in numbers]).splitlines()
    for line, row in zip(lines, numbers, strict=True):
        read_back = json.loads(line)["data"]["float32"]
        assert np.array(read_back, np.float64).astype(np.float32).tobytes() == row.tobytes()


def test_numbers_are_as_short_as_they_can_be() -> None:
    assert b"[0.1,0.33333334,-0.0,1e-45,3.4028235e+38]" in json_lines(
        [vector([0.1, 1 / 3, -0.0, 1e-45, 3.4028235e38])]
    )


def test_odd_vectors_are_lines_and_come_back() -> None:
    vectors = [Vector(key, np.array(data, np.float32), metadata) for key, data, metadata in ODD]
    text = json_lines(vectors)
    assert text.count(b"\n") == len(ODD)
    rows = [row for row in read(text, 3) if isinstance(row, Row)]
    assert [row.key for row in rows] == [key for key, _, _ in ODD]
    for row, (_, data, metadata) in zip(rows, ODD, strict=True):
        assert row.data.tobytes() == np.array(data, np.float32).tobytes()
        assert row.metadata == metadata


BAD_LINES: dict[str, tuple[str | bytes, str]] = {
    "torn": ('{"key": "a", "data": [1', "is no JSON: Expecting ',' delimiter at character 26"),
    "list": ("[1]", "is no JSON object"),
    "member": ('{"key": "a", "vector": [1, 2]}', "has a member 'vector'; there may be data, key"),
    "NaN": ('{"key": "a", "data": [1, NaN]}', "it holds NaN; numbers must be finite"),
    "infinity": ('{"key": "a", "data": [1, -Infinity]}', "it holds -Infinity"),
    "deep": ("[" * 100_000, "it is nested too deeply"),
    "no text": (b'{"key": "\xff"}', "is no JSON"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_told_with_its_number_and_text(case: str) -> None:
    text, words = BAD_LINES[case]
    raw = text if isinstance(text, bytes) else text.encode()
    good = b'{"key": "a", "data": [1, 2]}\n'
    first, bad, last = read(good + raw + b"\r\n" + good)
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, BadRow)
    assert (bad.number, bad.field) == (2, "")
    assert words in bad.problem
    assert bad.raw == raw.decode(errors="replace")


def test_bad_field_of_a_line_keeps_the_line() -> None:
    line = '{"key": "a", "data": [1]}'
    (bad,) = read(line)
    assert isinstance(bad, BadRow)
    assert (bad.field, bad.key, bad.raw) == ("data", "a", line)
    (bad,) = read('{"key": "a", "data": [1, 2], "metadata": "{}"}')
    assert isinstance(bad, BadRow)
    assert bad.problem == "metadata is text; it must be an object"


def test_empty_lines_and_a_byte_order_mark_are_passed_over() -> None:
    line = b'{"key": "a", "data": [1, 2]}'
    rows = read(b"\xef\xbb\xbf" + line + b"\n\n  \r\n" + line)
    assert [row.number for row in rows] == [1, 4]
    assert all(isinstance(row, Row) for row in rows)


def test_skipped_lines_are_not_looked_at() -> None:
    rows = read('no JSON\n\n{"key": "b", "data": [1, 2]}\n', skip=2)
    assert [row.number for row in rows] == [3]


def test_line_without_an_end_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_json, "LINE_BYTES_MAX", 50)
    with pytest.raises(BadInput, match="file, line 2: it is longer than 50 bytes"):
        read(b"{}\n" + b" " * 51)


def test_total_is_judged_by_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"key": "a", "data": [1, 2]}\n' * 100)
    lines = JsonLines.open(path, compressed=False)
    assert JsonLines("file", io.BytesIO(b"")).total is None
    rows = lines.rows(0, 2)
    next(rows)
    assert lines.total == 100
    assert len(list(rows)) == 99
    assert (lines.total, lines.bytes_read) == (100, path.stat().st_size)
    lines.close()


def test_compressed_file_of_several_members_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(
        gzip.compress(b'{"key": "a", "data": [1') + gzip.compress(b', 2]}\n{"key": "b"}')
    )
    lines = JsonLines.open(path, compressed=True)
    assert [row.key for row in lines.rows(0, 2)] == ["a", "b"]
    assert lines.bytes_read == path.stat().st_size
    lines.close()


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_compressed_file_that_is_cut_is_told(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(b'{"key": "a", "data": [1, 2]}\n' * 50)
    path.write_bytes(whole[: int(len(whole) * kept)])
    lines = JsonLines.open(path, compressed=True)
    with pytest.raises(BadInput, match="is no whole gzip file"):
        list(lines.rows(0, 2))
    lines.close()
    path.write_bytes(b"no gzip at all")
    lines = JsonLines.open(path, compressed=True)
    with pytest.raises(BadInput, match="is no whole gzip file"):
        list(lines.rows(0, 2))
    lines.close()
