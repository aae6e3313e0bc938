"""The workload of filters: three kinds, seven shares, matches anywhere and matches far away.

Rules of this file: a filter's p50 is divided by that of the same queries without one, asked in
turns with it; the data are those of bench_filters.py, so that every share is had on any vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench_data import Float32Array
from bench_filters import SHARES, SPREADS, FilterData, Spread, conditions, filter_data
from bench_ours import EngineSubject, ServerSubject
from bench_report import Case, Ratio, Result
from bench_session import Session
from bench_subject import Asked, Condition, Subject, ask, in_turns

SLOWER_AT_MOST = {"random": 3.0, "cluster": 6.0}
"""How many times the p50 without a filter one with it may take."""

RECALL_AT_LEAST = 0.99

_SHARE_OF_SECONDS = 1 / 3
"""Of the seconds of a case of queries: there are many cases."""

_TURNS = 3


def query_filtered(session: Session) -> Result:
    """Query with filters of every kind and share, through the RPC or on the engine alone."""
    data = filter_data(session.dataset, seed=session.settings.seed)
    cases: list[Case] = []
    ratios: list[Ratio] = []
    with _loaded(session, data) as subject:
        short = 0
        for spread in SPREADS:
            measured, missing = _measure(session, subject, data, spread)
            cases += measured
            short += missing
            filtered = [case for case in measured if case.ratio is not None]
            words = {"random": "matches at random", "cluster": "matches opposite the query"}[spread]
            ratios += [
                Ratio(
                    f"p50 to p50 without a filter, slowest with {words}",
                    max(case.ratio or 0.0 for case in filtered),
                    at_most=SLOWER_AT_MOST[spread],
                ),
                Ratio(
                    f"recall@10, lowest with {words}",
                    min(case.recall_at_10 or 0.0 for case in filtered),
                    at_least=RECALL_AT_LEAST if session.has_recall_floor else None,
                ),
            ]
    ratios.append(Ratio("answers with fewer than 10 though more match", short, at_most=0))
    return Result("query_filtered", cases, ratios)


def _measure(
    session: Session, subject: Subject, data: FilterData, spread: Spread
) -> tuple[list[Case], int]:
    """Return the cases of one spread, and how many answers were too short."""
    dataset = data.dataset
    queries = dataset.queries if spread == "random" else data.opposite
    plain, cases, short = Asked(), [], 0
    for level in SHARES:
        filters = conditions(level, spread, len(dataset.keys))
        # One of them says for all three who is wanted: they have the same matches.
        wanted = session.wanted(filters["text"].fits, queries=queries, dataset=dataset)
        with session.working(f"query_filtered: {spread}, share {level}"):
            beside, *answers = in_turns(
                [partial(_ask, subject, queries, one) for one in (None, *filters.values())],
                seconds=session.settings.seconds * _SHARE_OF_SECONDS,
                turns=_TURNS,
            )
        plain.add(beside)
        for kind, asked in zip(filters, answers, strict=True):
            short += asked.short(wanted)
            name = f"{spread}, {kind}, share {level}"
            cases.append(asked.case(name, wanted, ratio=asked.p50_ms() / beside.p50_ms()))
    everywhere = session.wanted(queries=queries, dataset=dataset)
    return [plain.case(f"{spread}, no filter", everywhere), *cases], short


def _ask(
    subject: Subject,
    queries: Float32Array,
    condition: Condition | None,
    seconds: float,
    first: int,
) -> Asked:
    """Take one turn of one caller."""
    return ask(subject, queries, condition, seconds=seconds, first=first)


@contextmanager
def _loaded(session: Session, data: FilterData) -> Iterator[Subject]:
    """Yield the engine or a server, with the data stored and indexed."""
    if session.settings.in_process:
        engine = EngineSubject(data.dataset.dimension)
        try:
            _load(session, engine, data)
            yield engine
        finally:
            engine.close()
        return
    with session.server() as process:
        server = ServerSubject(process)
        try:
            _load(session, server, data)
            yield server
        finally:
            server.close()


def _load(session: Session, subject: Subject, data: FilterData) -> None:
    """Store everything and wait until it is indexed."""
    dataset = data.dataset
    with session.working(f"query_filtered: loading the {subject.name}"):
        subject.store(dataset.keys, dataset.data, dataset.metadata)
        subject.finish()
