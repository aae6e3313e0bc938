"""Measure a vectorbucket server: one program, named workloads, references in the same run.

    .venv/bin/python scripts/bench.py --workloads put_stream,query --vectors 20000 --dimension 384

prints a table and one line of JSON a workload: throughput, percentiles, recall@10 beside every
search, ratios to references that were measured in the same run, and facts of the machine. The data
are a seeded mixture, or a sample with ``--data`` (an .npz and the .jsonl beside it).

    .venv/bin/python scripts/bench.py --peer qdrant-edge,zvec

measures peers beside us on the same data. Every ratio that the project holds itself to stands below
its table with what it is to be.

Rules of this file: the command line and the list of workloads; what is measured stands in the
module that a workload is imported from. A new workload is a function from a Session to a Result and
a line in WORKLOADS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from bench_churn import churn
from bench_compare import compare_peers
from bench_data import MIXTURE, UNIFORM
from bench_filtered import query_filtered
from bench_milvus import milvus
from bench_mixed import put_during_query
from bench_open import memory, open_again
from bench_peer_base import PeerUnavailable
from bench_puts import put, put_stream, put_stream_metadata
from bench_queries import engine, query, query_batch
from bench_report import Result, json_line, machine_facts, table_of
from bench_rest import rest_put, rest_query
from bench_session import Session, Settings
from bench_subject import Subject

_WIDTH_IN_FILES = 120
"""Columns of a table that no terminal shows."""

WORKLOADS: Mapping[str, Callable[[Session], Result]] = {
    "put": put,
    "query": query,
    "query_batch": query_batch,
    "rest_query": rest_query,
    "rest_put": rest_put,
    "memory": memory,
    "open": open_again,
    "engine": engine,
    "put_during_query": put_during_query,
    "put_stream": put_stream,
    "put_stream_metadata": put_stream_metadata,
    "query_filtered": query_filtered,
    "churn": churn,
    "milvus": milvus,
}
"""Workload by name, in the order in which they run: from cheap to dear."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the command line asks for."""

    workloads: Sequence[str]
    peers: Mapping[str, str | None]
    """Peers to compare with, and where each is; None: where it is by default."""
    settings: Settings
    only_json: bool


def parse_arguments(arguments: Sequence[str] | None) -> Chosen:
    """Return what to do, or leave with what is wrong."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    default = "" if chosen.peer else ",".join(WORKLOADS)
    names = [name for name in (chosen.workloads or default).split(",") if name]
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"unknown workload {unknown[0]!r}; there are {','.join(WORKLOADS)}")
    for option in ("vectors", "dimension", "repeats", "seconds"):
        if getattr(chosen, option) <= 0:
            parser.error(f"--{option} is {getattr(chosen, option)}; it must be more than 0")
    if chosen.data is not None and not chosen.data.is_file():
        parser.error(f"--data {chosen.data} is no file")
    peers: dict[str, str | None] = {name: None for name in chosen.peer.split(",") if name}
    if peers and (strangers := [name for name in peers if name not in known_peers()]):
        parser.error(f"unknown peer {strangers[0]!r}; there are {','.join(known_peers())}")
    for placed in chosen.peer_target:
        name, _, target = placed.partition("=")
        if name not in peers or not target:
            parser.error(f"--peer-target {placed} is not NAME=TARGET of a --peer")
        peers[name] = target
    settings = Settings(
        vectors=chosen.vectors,
        dimension=chosen.dimension,
        seed=chosen.seed,
        data=chosen.data,
        repeats=chosen.repeats,
        seconds=chosen.seconds,
        distribution=chosen.distribution,
        in_process=chosen.in_process,
        milvus=chosen.milvus,
    )
    return Chosen(names, peers, settings, chosen.json)


def _parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--workloads", help=f"which, by commas (default: {','.join(WORKLOADS)}; with --peer: none)")
    add("--vectors", type=int, default=20_000, help="how many (default: 20000)")
    add("--dimension", type=int, default=384, help="of drawn data (default: 384)")
    add("--seed", type=int, default=1, help="of drawn data (default: 1)")
    add(
        "--distribution",
        choices=(MIXTURE, UNIFORM),
        default=MIXTURE,
        help="of drawn data (default: mixture); uniform noise has no floor for its recall",
    )
    add("--data", type=Path, help="a sample instead of drawn data: PATH.npz")
    add("--repeats", type=int, default=3, help="of puts and starts (default: 3)")
    add("--seconds", type=float, default=3.0, help="of each query case (default: 3)")
    add("--in-process", action="store_true", help="ask filters of the engine, without the RPC")
    add("--milvus", help="URI of a running one for that workload (default: it starts one)")
    add("--peer", default="", help="compare with these, by commas: qdrant-edge,zvec")
    add(
        "--peer-target",
        action="append",
        default=[],
        help="NAME=TARGET: where a peer is that is a server (default: where it is by default)",
    )
    add("--json", action="store_true", help="print the lines of JSON alone")
    return parser


def known_peers() -> Mapping[str, Callable[[str | None], Subject]]:
    """Return how the peers that can be measured are made, by name."""
    # Here and not above, so that nothing of a peer is needed where none is asked for.
    from bench_peers import PEERS  # noqa: PLC0415

    return PEERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workloads, print what they found, and return the exit code."""
    chosen = parse_arguments(arguments)
    return 2 if _run(chosen) else 0


def _run(chosen: Chosen) -> list[PeerUnavailable]:
    """Run what was chosen, print what it found, and return what could not be had."""
    missing: list[PeerUnavailable] = []

    def tell(why: PeerUnavailable) -> None:
        print(f"bench.py: {why}", file=sys.stderr)
        missing.append(why)

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_IN_FILES)
    with Session(chosen.settings, Console(stderr=True)) as session:
        facts = {**session.facts(), "machine": machine_facts()}

        def show(result: Result) -> None:
            if not chosen.only_json:
                console.print(table_of(result))
            print(json_line(result, facts), flush=True)

        for name in chosen.workloads:
            try:
                show(WORKLOADS[name](session))
            except PeerUnavailable as why:
                tell(why)
        makers = {
            name: partial(known_peers()[name], target) for name, target in chosen.peers.items()
        }
        for result in compare_peers(session, makers, tell):
            show(result)
    return missing


if __name__ == "__main__":
    sys.exit(main())
