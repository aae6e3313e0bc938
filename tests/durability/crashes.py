"""Crashes at a chosen instruction, for the tests of this folder.

Rules of this file: crash_child.py dies; here it is told when, and what it had come to is noted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from bench_server import ROOT
from durability.crash_child import DIED, operations
from durability.ledger import Ledger

CHILD = Path(__file__).with_name("crash_child.py")


Crash: TypeAlias = Callable[[Path, int, str, int, Ledger], None]
"""Runs a process until it dies at a point, and notes in the ledger what it had come to.

It takes the directory, the seed of the operations, the point, at which coming, and the ledger."""


@contextmanager
def crashes() -> Iterator[Crash]:
    """Yield how to crash; all processes that do are forked by one, which has imported all."""
    folders = ("client", "server", "tests", "scripts")
    paths = os.pathsep.join(str(ROOT / folder) for folder in folders)
    with subprocess.Popen(
        [sys.executable, str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as parent:
        asked, answered = parent.stdin, parent.stdout
        assert asked is not None
        assert answered is not None

        def crash(data_dir: Path, seed: int, point: str, nth: int, ledger: Ledger) -> None:
            asked.write(json.dumps([str(data_dir), seed, point, nth]) + "\n")
            asked.flush()
            answer = json.loads(answered.readline())
            assert answer["exit_code"] == DIED, f"{point}: exit code {answer['exit_code']}"
            lines = answer["lines"]
            for operation in islice(operations(seed), lines.count("begun")):
                ledger.begun(operation)
            for _ in range(lines.count("done")):
                ledger.answered()

        yield crash
