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

from engines.recipes import (  # noqa: E402 - only now are asserts rewritten
    MILVUS,
    RECIPES,
    Recipe,
    opened,
    recipe_on_milvus,
)
from engines.subject import Subject  # noqa: E402
from milvus_server import MilvusServer  # noqa: E402


@pytest.fixture(name="recipe", params=[*RECIPES, pytest.param(MILVUS, marks=pytest.mark.milvus)])
def fixture_recipe(request: pytest.FixtureRequest) -> Recipe:
    """Return each recipe; what it makes is empty at first."""
    if request.param == MILVUS:
        on_milvus: Recipe = request.getfixturevalue("milvus_recipe")
        return on_milvus
    return RECIPES[request.param]


@pytest.fixture(name="milvus_recipe")
def fixture_milvus_recipe(milvus_server: MilvusServer, milvus_database: str) -> Recipe:
    """Return the recipe of the engine on Milvus, over an empty database."""
    return recipe_on_milvus(milvus_server.uri, milvus_database)


@pytest.fixture(name="subject")
def fixture_subject(recipe: Recipe, tmp_path: Path) -> Iterator[Subject]:
    """Yield an engine of each recipe, empty and open."""
    with opened(recipe, tmp_path) as (subject, _):
        yield subject
