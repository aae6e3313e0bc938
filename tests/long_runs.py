"""The pytest option ``--long`` and the fixture that scales a test by it.

Rules of this file: it is a pytest plugin, loaded by ``addopts`` in pyproject.toml, so that every
test folder has the option; it knows nothing of what is tested. A test says both sizes where it is
written:

    def test_readers_never_miss_a_key(rounds: Rounds) -> None:
        for number in range(rounds(200, 5_000)): ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

Rounds: TypeAlias = Callable[[int, int], int]
"""Takes the short and the long size of a loop and returns the one to run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.addoption(
        "--long",
        action="store_true",
        help="run loops and crash tests in their long form: thousands of rounds instead of some",
    )


def choose(*, long: bool, short_size: int, long_size: int) -> int:
    """Return the size of a loop.

    Args:
        long: Whether ``--long`` was given.
        short_size: The size without it, 1 or more: a loop of nothing tests nothing.
        long_size: The size with it, at least the short one.

    Raises:
        ValueError: The sizes are not in that order.
    """
    if not 1 <= short_size <= long_size:
        raise ValueError(f"sizes {short_size} and {long_size} are not a short and a long form")
    return long_size if long else short_size


@pytest.fixture(name="rounds", scope="session")
def fixture_rounds(pytestconfig: pytest.Config) -> Rounds:
    """Return how to choose a loop's size: ``rounds(short, long)``."""
    long = bool(pytestconfig.getoption("long"))
    return lambda short_size, long_size: choose(
        long=long, short_size=short_size, long_size=long_size
    )
