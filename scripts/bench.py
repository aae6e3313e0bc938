"""Measure a vectorbucket server: one program, named workloads, references in the same run.

    .venv/bin/python scripts/bench.py --workloads put_stream,query --vectors 20000 --dimension 384

prints a table and one line of JSON a workload: throughput, percentiles, recall@10 beside every
search, ratios to references that were measured in the same run, and facts of the machine. The data
are a seeded mixture, or a sample with ``--data`` (an .npz and the .jsonl beside it).

Rules of this file: the command line and the list of workloads; what is measured stands in
bench_puts.py and bench_queries.py, against what in bench_reference.py. A new workload is a function
from a Session to a Result and a line in WORKLOADS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench_puts import put_stream, put_stream_metadata
from bench_queries import query, query_filtered
from bench_report import Result, json_line, machine_facts, table_of
from bench_session import Session, Settings

_WIDTH_IN_FILES = 120
"""Columns of a table that no terminal shows."""

WORKLOADS: Mapping[str, Callable[[Session], Result]] = {
    "put_stream": put_stream,
    "put_stream_metadata": put_stream_metadata,
    "query": query,
    "query_filtered": query_filtered,
}
"""Workload by name, in the order in which they run."""


def parse_arguments(arguments: Sequence[str] | None) -> tuple[list[str], Settings, bool]:
    """Return the workloads to run, the settings, and whether only JSON is wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = ",".join(WORKLOADS)
    parser.add_argument("--workloads", default=known, help=f"which, by commas (default: {known})")
    parser.add_argument("--vectors", type=int, default=20_000, help="how many (default: 20000)")
    parser.add_argument("--dimension", type=int, default=384, help="of the mixture (default: 384)")
    parser.add_argument("--seed", type=int, default=1, help="of the mixture (default: 1)")
    parser.add_argument("--data", type=Path, help="a sample instead of the mixture: PATH.npz")
    parser.add_argument("--repeats", type=int, default=3, help="of each put (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each query case (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print the lines of JSON alone")
    chosen = parser.parse_args(arguments)
    names = chosen.workloads.split(",")
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"unknown workload {unknown[0]!r}; there are {known}")
    for option in ("vectors", "dimension", "repeats", "seconds"):
        if getattr(chosen, option) <= 0:
            parser.error(f"--{option} is {getattr(chosen, option)}; it must be more than 0")
    if chosen.data is not None and not chosen.data.is_file():
        parser.error(f"--data {chosen.data} is no file")
    settings = Settings(
        vectors=chosen.vectors,
        dimension=chosen.dimension,
        seed=chosen.seed,
        data=chosen.data,
        repeats=chosen.repeats,
        seconds=chosen.seconds,
    )
    return names, settings, chosen.json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workloads, print what they found, and return the exit code."""
    names, settings, only_json = parse_arguments(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_IN_FILES)
    with Session(settings, Console(stderr=True)) as session:
        facts = {**session.facts(), "machine": machine_facts()}
        for name in names:
            result = WORKLOADS[name](session)
            if not only_json:
                console.print(table_of(result))
            print(json_line(result, facts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
