"""The workload of churn: what is left of an index when every vector was replaced five times over.

Rules of this file: a worn index is compared with a fresh one of the same vectors in another server,
asked in turns; nothing is asked before the background work is done.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np

from bench_data import Dataset, moved_rows
from bench_ours import ServerSubject
from bench_report import Case, Ratio, Result
from bench_server import wait_until_quiet
from bench_session import Session
from bench_subject import Asked, ask, in_turns
from vectorbucket import Client

REPLACEMENTS = 5
"""How often churn replaces every vector."""

_MOVED = 0.1
"""How far a replacing vector lies from where another lay, as a share of its length: near, so that
the data stay what they are; not upon it, because copies of dead vectors are no one's data."""

_TURNS = 3
_MEGABYTE = 1_000_000


def churn(session: Session) -> Result:
    """Replace every vector five times over, and compare with a fresh index of the last ones."""
    first, seconds = session.dataset, session.settings.seconds
    last = replaced(first, REPLACEMENTS, seed=session.settings.seed)
    wanted = session.wanted(dataset=last)
    with session.server() as worn_process, session.server() as fresh_process:
        worn, fresh = ServerSubject(worn_process, "worn"), ServerSubject(fresh_process, "fresh")
        with Client(worn_process.target) as client:
            session.put_and_index(client, "churn: loading")
            before = ask(worn, first.queries, seconds=seconds)
            began = time.perf_counter()
            for number in range(1, REPLACEMENTS + 1):
                session.put_and_index(
                    client,
                    f"churn: replacement {number} of {REPLACEMENTS}",
                    dataset=replaced(first, number, seed=session.settings.seed),
                )
            took_s = time.perf_counter() - began
        with session.working("churn: waiting for background work"):
            wait_until_quiet(worn_process.pid)
        quiet_s = time.perf_counter() - began
        with Client(fresh_process.target) as client:
            session.put_and_index(client, "churn: a fresh index", dataset=last)
        with session.working("churn: asking both"):
            wait_until_quiet(fresh_process.pid)
            got, reference = in_turns(
                [partial(_ask_one, subject, last) for subject in (worn, fresh)],
                seconds=seconds,
                turns=_TURNS,
            )
        memory = [round(one.memory_bytes() / _MEGABYTE) for one in (worn, fresh)]
        worn.close()
        fresh.close()
    return Result(
        "churn",
        (
            before.case("before", session.wanted()),
            Case("replaced and indexed", "vectors", REPLACEMENTS * len(last.keys), took_s),
            Case("background work done", "vectors", REPLACEMENTS * len(last.keys), quiet_s),
            got.case("after 5 replacements", wanted),
            reference.case("fresh index", wanted),
            Case("memory, after 5 replacements", "MB", memory[0]),
            Case("memory, fresh index", "MB", memory[1]),
        ),
        (
            Ratio(
                "recall@10 less than a fresh index's by",
                reference.recall(wanted) - got.recall(wanted),
                at_most=0.01,
            ),
            Ratio("p50 to a fresh index's", got.p50_ms() / reference.p50_ms(), at_most=1.3),
            Ratio("p50 to that before", got.p50_ms() / before.p50_ms()),
            Ratio("memory to a fresh index's", memory[0] / memory[1]),
        ),
    )


def replaced(dataset: Dataset, number: int, *, seed: int) -> Dataset:
    """Return a data set in which every key has another's vector, a little moved, and metadata.

    Args:
        dataset: What is replaced.
        number: Which replacement.
        seed: Says who gets whose.
    """
    rng = np.random.default_rng([seed, 5, number])
    count = len(dataset.keys)
    # A shift of a permutation moves every vector, whatever the permutation.
    order = rng.permutation(count)
    places = np.empty(count, np.int64)
    places[order] = np.roll(order, 1)
    return replace(
        dataset,
        data=moved_rows(dataset.data[places], _MOVED, rng),
        metadata=tuple(dataset.metadata[place] for place in places.tolist()),
    )


def _ask_one(subject: ServerSubject, dataset: Dataset, seconds: float, first: int) -> Asked:
    """Take one turn of one caller."""
    return ask(subject, dataset.queries, seconds=seconds, first=first)
