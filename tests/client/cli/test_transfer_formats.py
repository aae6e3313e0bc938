"""Which format a file has, by its name and by what is said."""

from __future__ import annotations

import pytest

from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.transfer_formats import Format, OnError, format_of


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("a.jsonl", None, (Format.JSON_LINES, False)),
        ("a.ndjson", None, (Format.JSON_LINES, False)),
        ("folder.parquet/a.JSONL", None, (Format.JSON_LINES, False)),
        ("a.jsonl.gz", None, (Format.JSON_LINES, True)),
        ("a.parquet", None, (Format.PARQUET, False)),
        ("a.npy", None, (Format.NPY, False)),
        ("-", None, (Format.JSON_LINES, False)),
        ("-", Format.JSON_LINES, (Format.JSON_LINES, False)),
        ("a.txt", Format.JSON_LINES, (Format.JSON_LINES, False)),
        ("a.gz", Format.JSON_LINES, (Format.JSON_LINES, True)),
        ("a.jsonl", Format.PARQUET, (Format.PARQUET, False)),
    ],
)
def test_format_is_said_or_stands_in_the_name(
    name: str, said: Format | None, expected: tuple[Format, bool]
) -> None:
    assert format_of(name, said) == expected


@pytest.mark.parametrize(
    ("name", "said", "words"),
    [
        ("vectors", None, "--file is 'vectors', whose ending says no format"),
        ("a.gz", None, "whose ending says no format"),
        ("-", Format.PARQUET, "standard input or output which can hold JSON lines only"),
        ("a.parquet.gz", None, "'a.parquet.gz', a compressed file, which can hold JSON lines only"),
        ("a.npy.gz", None, "not npy"),
    ],
)
def test_name_that_does_not_go_with_a_format_is_refused(
    name: str, said: Format | None, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        format_of(name, said)
    assert words in str(caught.value)


def test_words_are_those_of_the_flags() -> None:
    assert [*Format] == ["jsonl", "parquet", "npy"]
    assert [*OnError] == ["stop", "skip"]
