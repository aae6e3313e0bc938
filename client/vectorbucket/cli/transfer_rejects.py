"""The rows that an import could not put, in a file of JSON lines, each with the reason.

Rules of this file: a line is ``{"line": 17, "field": "data", "reason": …, "key": …, "text": …}``
(``row`` where the input has no lines); the text is the line as it stood in the input, so that it
can be corrected and imported. The file is made when the first row is rejected.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

from vectorbucket._models import Vector
from vectorbucket.cli.rows import BadRow, Row
from vectorbucket.cli.rows_json import json_lines


class Rejects:
    """A file of rejected rows.

    Args:
        path: Where it is, or will be.
        unit: What a row is called: ``line`` or ``row``.
        done: Rows of the input that an earlier run has done. What it rejected of those stays; what
            it rejected further on is found again.
    """

    def __init__(self, path: Path, unit: str, done: int) -> None:
        self._path = path
        self._unit = unit
        self.count = 0
        if done and path.exists():
            self._keep(done)
        else:
            path.unlink(missing_ok=True)
        self._file: BinaryIO | None = None

    def write(self, bad: BadRow) -> None:
        """Add a row."""
        said: dict[str, Any] = {
            self._unit: bad.number,
            "field": bad.field,
            "reason": bad.problem,
            "key": bad.key,
            "text": bad.raw,
        }
        kept = {name: value for name, value in said.items() if value is not None}
        if self._file is None:
            self._file = self._path.open("ab")
        self._file.write(json.dumps(kept).encode() + b"\n")
        self.count += 1

    def flush(self) -> None:
        """Hand on what was added."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _keep(self, done: int) -> None:
        """Keep the rows up to a number; a line that is torn is none."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        with self._path.open("rb") as before, fresh.open("wb") as after:
            for line in before:
                if line.endswith(b"\n") and json.loads(line)[self._unit] <= done:
                    after.write(line)
                    self.count += 1
        fresh.replace(self._path)


def bad_row(row: Row, field: str, problem: str) -> BadRow:
    """Return a row that the server refused."""
    text = json_lines([Vector(row.key, row.data, row.metadata or {})])
    return BadRow(row.number, field, problem, row.key, text.decode().rstrip("\n"))
