"""What engines can do: said in full, and each promise documented."""

from __future__ import annotations

import inspect
import re
from dataclasses import FrozenInstanceError, fields

import pytest

from vectorbucket_server.engine import base
from vectorbucket_server.engine.capabilities import Capabilities
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.engine.milvus.engine import MilvusEngine

NAMES = [field.name for field in fields(Capabilities)]


def test_capabilities_are_true_or_false_and_none_is_left_unsaid() -> None:
    assert {field.type for field in fields(Capabilities)} == {"bool"}
    for name in NAMES:
        some = {other: True for other in NAMES if other != name}
        with pytest.raises(TypeError, match=name):
            Capabilities(**some)


@pytest.mark.parametrize("name", NAMES)
def test_each_capability_says_what_it_promises(name: str) -> None:
    source = inspect.getsource(Capabilities)
    assert re.search(rf'^    {name}: bool\n    """\S', source, re.MULTILINE)


@pytest.mark.parametrize("engine", [MemoryEngine, EmbeddedEngine, MilvusEngine])
def test_engine_says_them_all_and_never_changes_them(
    engine: type[MemoryEngine | EmbeddedEngine | MilvusEngine],
) -> None:
    capabilities = engine.__new__(engine).capabilities
    assert {type(getattr(capabilities, name)) for name in NAMES} == {bool}
    with pytest.raises(FrozenInstanceError):
        capabilities.persistent = True  # type: ignore[misc]
    # Sooner or later, before it is acknowledged, they show what they store.
    assert capabilities.visible_at_once is (engine is not MilvusEngine)
    assert capabilities.read_your_writes


def test_page_of_engines_shows_them() -> None:
    assert base.Capabilities is Capabilities
    assert "Capabilities" in base.__all__
