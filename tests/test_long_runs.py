"""Tests of long_runs.py: the short form is the default, and the sizes stand in their order."""

from __future__ import annotations

import pytest

from long_runs import Rounds, choose


def test_short_size_is_used_without_the_option() -> None:
    assert choose(long=False, short_size=3, long_size=30) == 3


def test_long_size_is_used_with_the_option() -> None:
    assert choose(long=True, short_size=3, long_size=30) == 30


@pytest.mark.parametrize(("short_size", "long_size"), [(0, 5), (6, 5), (-1, -1)])
def test_sizes_out_of_order_are_refused(short_size: int, long_size: int) -> None:
    with pytest.raises(ValueError, match="are not a short and a long form"):
        choose(long=False, short_size=short_size, long_size=long_size)


def test_fixture_follows_the_option(rounds: Rounds, pytestconfig: pytest.Config) -> None:
    assert rounds(2, 7) == (7 if pytestconfig.getoption("long") else 2)
