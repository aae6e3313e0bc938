"""The command ``vectorbucket``: every operation from a shell, one file per noun.

Rules of this file: it alone is named by pyproject.toml; it says in one sentence what is missing.
"""

from __future__ import annotations

import os
import sys

PACKAGE = "vectorbucket"

_INTERRUPTED = 130
"""As in exit_codes.py, which may not be there yet."""

_STREAMS = 3
"""Standard input, output and error."""


def main() -> None:
    """Run the command with this process's arguments."""
    _open_closed_streams()
    try:
        from vectorbucket.cli.application import app  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as missing:
        if (missing.name or PACKAGE).startswith(PACKAGE):
            raise
        sys.exit(
            f"vectorbucket needs the package {missing.name}, which is not installed: "
            "pip install 'vectorbucket[cli]'"
        )
    except KeyboardInterrupt:
        sys.stderr.write("vectorbucket: interrupted\n")
        sys.exit(_INTERRUPTED)
    app(prog_name="vectorbucket")


def _open_closed_streams() -> None:
    """Open what the caller has closed, so that no connection gets the number of such a stream."""
    while (number := os.open(os.devnull, os.O_RDWR)) < _STREAMS:
        pass
    os.close(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - it stays open
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
