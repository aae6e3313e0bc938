"""What a JSON flag says is read from three places, and what is wrong is told with its place."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from vectorbucket.cli import json_input
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.json_input import read_json, read_keys, read_text, read_vectors


def as_object(value: str) -> Any:
    return read_json("--filter", value, dict, "a JSON object")


def test_json_is_read_from_the_flag_a_file_or_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "filter.json"
    file.write_text('\ufeff{"a": "ü"}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for value in ('{"a": "ü"}', f"file://{file}", "file://filter.json"):
        assert as_object(value) == {"a": "ü"}
    for value in ("-", "file://-", "file:///dev/stdin"):
        monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 1}'))
        assert as_object(value) == {"a": 1}
    assert read_text("--body", "file://filter.json") == '{"a": "ü"}'


WRONG = {
    "torn": ('{"a": 1', "--filter is no JSON: Expecting ',' delimiter: line 1 column 8"),
    "second line": ('{"a":\n oops}', "line 2 column 2"),
    "empty": ("", "--filter is no JSON: Expecting value: line 1 column 1"),
    "rest": ('{"a": 1} x', "Extra data: line 1 column 10"),
    "infinite": ('{"a": Infinity}', "Infinity is no number of JSON"),
    "twice": ('{"a": 1, "a": 2}', "the member 'a' stands in one object twice"),
    "array": ("[1]", "--filter must be a JSON object, not an array"),
    "null": ("null", "--filter must be a JSON object, not null"),
    "boolean": ("true", "not true or false"),
    "number": ("1.5", "not a number"),
    "text": ('"a"', "not a text"),
    "deep": ("[" * 100_000, "it is nested too deeply"),
    "no file": ("file:///no/such/file", "/no/such/file, named by --filter, cannot be read: No "),
    "folder": ("file:///", "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_place(case: str) -> None:
    text, words = WRONG[case]
    with pytest.raises(BadInput) as caught:
        as_object(text)
    assert words in str(caught.value)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    file = tmp_path / "latin.json"
    file.write_bytes(b'{"a": "\xfc"}')
    with pytest.raises(BadInput, match=r"latin\.json, named by --filter, is no UTF-8: byte 7"):
        as_object(f"file://{file}")
    with pytest.raises(BadInput, match=r"is no UTF-8: byte 7"):
        list(read_vectors("--vectors", f"file://{file}"))


def test_file_that_was_meant_is_suggested(tmp_path: Path) -> None:
    file = tmp_path / "filter.json"
    file.write_text("{}")
    with pytest.raises(BadInput, match=f"if the file is meant: file://{file}"):
        as_object(str(file))


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        (["a,b", "c"], ["a", "b", "c"]),
        (['["a,b", "c"]'], ["a,b", "c"]),
        (["a", '["-"]'], ["a", "-"]),
    ],
    ids=["commas", "array", "both"],
)
def test_keys_stand_between_commas_or_in_an_array(values: list[str], keys: list[str]) -> None:
    assert read_keys(values) == keys


def test_keys_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text('["a", 1]')
    with pytest.raises(BadInput, match="--keys must hold texts only, not a number"):
        read_keys([f"file://{file}"])


# --- Vectors, one after the other -----------------------------------------------------------------

FORMS = {
    "array": "[{0}, {1}, {2}]",
    "spaced": " [\n{0}\n,\n{1},{2}\n]\n ",
    "lines": "{0}\n{1}\n{2}\n",
    "blank lines": "\n{0}\n\n{1}\r\n{2}",
}

OBJECTS: list[dict[str, Any]] = [
    {"key": "a]", "data": [1.5, -2e-3]},
    {"key": '"[,', "metadata": {"é": ["x", 1]}},
    {"key": "c", "data": {"float32": list(range(50))}},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 10_000])
def test_vectors_are_read_whatever_the_cut(
    monkeypatch: pytest.MonkeyPatch, form: str, chunk: int
) -> None:
    monkeypatch.setattr(json_input, "_CHUNK_CHARS", chunk)
    text = FORMS[form].format(*map(json.dumps, OBJECTS))
    assert list(read_vectors("--vectors", text)) == OBJECTS


@pytest.mark.parametrize("text", ["[]", "", " \n", "[ ]\n"])
def test_no_vectors_are_no_error(text: str) -> None:
    assert list(read_vectors("--vectors", text)) == []


TORN = {
    "not closed": ('[{"key": "a"}', "the array is not closed: line 1 column 14"),
    "no comma": ('[{"key": "a"} {"key": "b"}]', "expected , or ]: line 1 column 15"),
    "comma at the end": ('[{"key": "a"},\n]', "Expecting value: line 2 column 1"),
    "after the end": ('[{"key": "a"}]\n\n  x', "nothing may stand here: line 3 column 3"),
    "bad line": ('{"key": "a"}\n{"key": "b"}\n{key}\n', "line 3 column 2"),
    "bracket alone": ('{"key": "a"}]', "nothing may stand here: line 1 column 13"),
    "NaN": ('[{"data": [NaN]}]', "NaN is no number of JSON: line 1 column 2"),
    "number": ("[1, 2]", "number 0 is a number"),
    "array": ('[{"key": "a"}, []]', "number 1 is an array"),
    "deep": ('[{"a":' * 50_000, "it is nested too deeply"),
    "long number": ("[{" + '"a": ' + "1" * 5000 + "}]", "line 1 column 2"),
}


@pytest.mark.parametrize("case", TORN)
@pytest.mark.parametrize("chunk", [5, 1024 * 1024])
def test_what_is_wrong_in_vectors_is_told_with_its_place(
    monkeypatch: pytest.MonkeyPatch, case: str, chunk: int
) -> None:
    monkeypatch.setattr(json_input, "_CHUNK_CHARS", chunk)
    text, words = TORN[case]
    with pytest.raises(BadInput) as caught:
        list(read_vectors("--vectors", text))
    assert str(caught.value).startswith("--vectors")
    assert words in str(caught.value)


def test_bracket_that_is_never_closed_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_input, "_CHUNK_CHARS", 1000)
    monkeypatch.setattr(json_input, "_VALUE_CHARS_MAX", 10_000)

    class Endless(io.StringIO):
        """A file of one text that does not end."""

        taken = 0

        def read(self, size: int | None = -1, /) -> str:
            assert size is not None
            self.taken += size
            return "x" * size

    endless = Endless()
    monkeypatch.setattr(sys, "stdin", endless)
    monkeypatch.setattr(endless, "read", _after('[{"key": "', endless.read))
    with pytest.raises(BadInput, match="Unterminated string"):
        list(read_vectors("--vectors", "-"))
    assert endless.taken < 100_000


def _after(first: str, read: Any) -> Any:
    """Return a way to read that gives a text first."""
    texts = [first]
    return lambda size: texts.pop() if texts else read(size)


def test_vectors_of_a_long_file_are_read_as_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(json_input, "_CHUNK_CHARS", 1000)
    file = tmp_path / "vectors.jsonl"
    file.write_text("".join(f'{{"key": "k{number}"}}\n' for number in range(10_000)) + "oops")
    vectors = read_vectors("--vectors", f"file://{file}")
    # The end, which is wrong, is not in sight yet.
    assert [next(vectors)["key"] for _ in range(100)] == [f"k{number}" for number in range(100)]
    with pytest.raises(BadInput, match="line 10001 column 1"):
        list(vectors)
