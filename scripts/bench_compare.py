"""Peers beside us: the same data and questions, and what of ours is how many times theirs.

Rules of this file: a peer in this process is compared with our engine in this process, a server
with our server; peers and ours are measured one after the other, not in turns; a speed is asked to
be ahead only where our recall is not better by more than 0.02, and recall is always asked for; a
peer that cannot be had does not keep the others from being compared; which peers there are is
bench_peers.py's to say, and nothing of a peer is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

from bench_ours import EngineSubject, ServerSubject
from bench_peer_base import PeerUnavailable
from bench_report import Ratio, Result
from bench_session import Session
from bench_subject import MEMORY, Subject, measure_subject

_RECALL_ROUNDING = 0.0005
"""Recall that differs by less is the same."""

_RECALL_MUCH = 0.02
"""Recall that is better by more than this is bought with time."""


def compare_peers(
    session: Session,
    makers: Mapping[str, Callable[[], Subject]],
    tell: Callable[[PeerUnavailable], None],
) -> Iterator[Result]:
    """Measure peers and what of ours is their match; yield all figures, then the ratios.

    Args:
        session: The run.
        makers: How to make each peer, by name.
        tell: Gets why a peer cannot be had; the others are measured all the same.
    """
    theirs: list[tuple[bool, Result]] = []
    for make in makers.values():
        try:
            with closing(make()) as peer:
                theirs.append((peer.in_process, measure_subject(session, peer)))
        except PeerUnavailable as missing:
            tell(missing)
            continue
        yield theirs[-1][1]
    ours = {}
    for in_process in {in_process: None for in_process, _ in theirs}:
        ours[in_process] = _measure_ours(session, in_process=in_process)
        yield ours[in_process]
    for in_process, result in theirs:
        yield compared(ours[in_process], result)


def compared(ours: Result, theirs: Result) -> Result:
    """Return what of ours is how many times theirs, case by case; each is to be ahead."""
    ratios = []
    mine = {case.name: case for case in ours.cases}
    for case in theirs.cases:
        own = mine[case.name]
        if case.name == MEMORY:
            if not own.count:
                continue  # so little that it cannot be seen
            ratios.append(Ratio("memory, theirs to ours", case.count / own.count, at_least=1.0))
            continue
        more = None
        if own.recall_at_10 is not None and case.recall_at_10 is not None:
            more = own.recall_at_10 - case.recall_at_10
        if own.per_second is not None and case.per_second is not None:
            speed = own.per_second / case.per_second
            # Who finds less may be quicker: that is no speed to be ahead of.
            asked = 1.0 if more is None or more <= _RECALL_MUCH else None
            ratios.append(Ratio(f"{case.name}, per second", speed, at_least=asked))
        if more is not None:
            name = f"{case.name}, recall@10 above theirs"
            ratios.append(Ratio(name, more, at_least=-_RECALL_ROUNDING))
    return Result(f"{ours.workload} to {theirs.workload}", (), ratios)


def _measure_ours(session: Session, *, in_process: bool) -> Result:
    """Measure our engine, or our server."""
    if in_process:
        with closing(EngineSubject(session.dataset.dimension)) as engine:
            return measure_subject(session, engine)
    with session.server() as process, closing(ServerSubject(process)) as server:
        return measure_subject(session, server)
