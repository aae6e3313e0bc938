"""The engine under test.

Rules of this file: what is shared by the tests of this folder and needs pytest's fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "engines.pair",
    "engines.suite_listings",
    "engines.suite_methods",
    "engines.suite_operation",
    "engines.suite_reads",
    "engines.suite_writes",
)

from engines.recipes import RECIPES, opened  # noqa: E402 - only now are asserts rewritten
from engines.subject import Subject  # noqa: E402


@pytest.fixture(name="subject", params=list(RECIPES))
def fixture_subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Yield an engine of each recipe, empty and open."""
    with opened(RECIPES[request.param], tmp_path) as (subject, _):
        yield subject
