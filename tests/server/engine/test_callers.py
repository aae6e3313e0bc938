"""The other side of the seam: protocols, and the least that fulfils them."""

from __future__ import annotations

import inspect

import pytest

from vectorbucket_server.engine.callers import (
    NO_DEADLINE,
    Deadline,
    NoDeadline,
    Observer,
    SilentObserver,
    WriteGuard,
)


def test_nobody_waits_longer_than_without_a_deadline() -> None:
    for deadline in (NO_DEADLINE, NoDeadline()):
        deadline.check()
        assert deadline.remaining_s() is None


def test_silent_observer_takes_everything_and_keeps_nothing() -> None:
    observer = SilentObserver()
    observer.plan_chosen("exact_scan", 1)
    observer.vectors_indexed(0, 0.0)
    observer.backend_called("search", "ok", 0.01)
    observer.background_failed("indexing", ValueError("x"))
    observer.background_recovered("indexing", 1.0)
    assert vars(observer) == {}


@pytest.mark.parametrize(
    ("implementation", "protocol"), [(SilentObserver, Observer), (NoDeadline, Deadline)]
)
def test_standard_implementations_fit_their_protocols(implementation: type, protocol: type) -> None:
    wanted = {name for name in vars(protocol) if not name.startswith("_")}
    for name in wanted:
        assert inspect.signature(getattr(implementation, name)) == inspect.signature(
            getattr(protocol, name)
        )
    assert {name for name in vars(implementation) if not name.startswith("_")} == wanted


@pytest.mark.parametrize("protocol", [Deadline, WriteGuard, Observer])
def test_protocols_are_documented_to_the_last_method(protocol: type) -> None:
    for name, method in vars(protocol).items():
        if not name.startswith("_"):
            assert inspect.getdoc(method), name
