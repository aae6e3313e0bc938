"""The suite, run over every engine of recipes.py.

The classes are collected from here by being subclassed, so that suite.py itself stays free of
pytest's naming rules and reads as the manual does.
"""

from __future__ import annotations

import re

from engines.subject import Promise
from engines.suite import (
    PROMISES,
    Atomic,
    Complete,
    Durable,
    Faithful,
    Honest,
    Idempotent,
    Isolated,
    Ordered,
    Visible,
)
from engines.suite_listings import Pages, Segments, Statistics
from engines.suite_methods import ControlPlane, Deadlines, Guards
from engines.suite_operation import Operation
from vectorbucket_server.engine.base import Engine

CONCERNS = (ControlPlane, Deadlines, Guards, Operation, Pages, Segments, Statistics)


class TestDurable(Durable): ...


class TestAtomic(Atomic): ...


class TestVisible(Visible): ...


class TestIdempotent(Idempotent): ...


class TestOrdered(Ordered): ...


class TestComplete(Complete): ...


class TestFaithful(Faithful): ...


class TestHonest(Honest): ...


class TestIsolated(Isolated): ...


class TestControlPlane(ControlPlane): ...


class TestPages(Pages): ...


class TestSegments(Segments): ...


class TestStatistics(Statistics): ...


class TestDeadlines(Deadlines): ...


class TestGuards(Guards): ...


class TestOperation(Operation): ...


def test_every_promise_of_the_seam_has_a_class_and_every_class_a_promise() -> None:
    promised = re.findall(r"^ {4}([a-z]+) {2,}\S", Engine.__doc__ or "", re.MULTILINE)
    assert [promise.__name__.lower() for promise in PROMISES] == promised
    assert set(Promise.__subclasses__()) == set(PROMISES)


def test_every_class_of_the_suite_is_run_and_holds_tests() -> None:
    run = {
        base
        for name, each in globals().items()
        if name.startswith("Test")
        for base in each.__bases__
    }
    assert run == {*PROMISES, *CONCERNS}
    for concern in run:
        assert any(name.startswith("test_") for name in vars(concern)), concern
