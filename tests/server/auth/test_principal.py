"""Tests of auth/principal.py: the caller of this call, and of no other."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest

from vectorbucket_server.auth.entries import Entries
from vectorbucket_server.auth.principal import Caller, Principal, begin, current_caller

ANN = Caller(Principal("ann", "111"), entries=Entries("vbk_secret"))


def test_nobody_is_the_caller_before_somebody_was_authenticated() -> None:
    with pytest.raises(LookupError, match="no caller"):
        contextvars.Context().run(current_caller)


def test_caller_is_the_one_that_this_call_began_with() -> None:
    def serve(name: str) -> str:
        begin(Caller(Principal(name, "111")))
        return current_caller().principal.name

    names = [f"user-{number}" for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        served = [pool.submit(contextvars.Context().run, serve, name) for name in names]
        assert [one.result() for one in served] == names


def test_last_one_to_begin_is_the_caller() -> None:
    def serve() -> Caller:
        begin(Caller(Principal("bob", "111")))
        begin(ANN)
        return current_caller()

    assert contextvars.Context().run(serve) is ANN


def test_repr_of_a_caller_shows_no_key() -> None:
    assert "secret" not in repr(ANN)


def test_principal_may_nothing_unless_it_is_said() -> None:
    ann = ANN.principal
    assert (ann.owner, ann.operator, ann.unrestricted) == (False, False, False)
    assert ann.statements == ()
