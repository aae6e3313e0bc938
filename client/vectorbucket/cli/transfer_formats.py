"""What exported and imported files may hold, and how their names say it.

Rules of this file: pure, and light to import: what reads and writes the formats stands elsewhere.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from vectorbucket.cli.connection import BadInput

STANDARD = "-"
"""The name of standard input and output."""


class Format(StrEnum):
    """What a file may hold."""

    JSON_LINES = "jsonl"
    PARQUET = "parquet"
    NPY = "npy"


class OnError(StrEnum):
    """What an import does about a row that is no vector."""

    STOP = "stop"
    SKIP = "skip"


_SUFFIXES = {
    ".jsonl": Format.JSON_LINES,
    ".ndjson": Format.JSON_LINES,
    ".parquet": Format.PARQUET,
    ".npy": Format.NPY,
}


def format_of(name: str, said: Format | None) -> tuple[Format, bool]:
    """Return the format of a file, and whether it is compressed.

    Args:
        name: The file's name; ``-`` for standard input or output.
        said: What ``--format`` says.

    Raises:
        BadInput: Neither the flag nor the name says what it is, or they do not go together.
    """
    compressed = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    known = said or _SUFFIXES.get(suffix) or (Format.JSON_LINES if name == STANDARD else None)
    if known is None:
        raise BadInput(
            f"--file is {name!r}, whose ending says no format; it may end in .jsonl, .jsonl.gz or "
            f".parquet (.npy only for import), or --format says it: {', '.join(Format)}"
        )
    if known is not Format.JSON_LINES and (compressed or name == STANDARD):
        what = f"{name!r}, a compressed file," if compressed else "standard input or output"
        raise BadInput(f"--file is {what} which can hold JSON lines only, not {known}")
    return known, compressed
