"""The seam as a page: complete, documented, free of logic and of whoever stands above or beside it.

What the promises mean is tested in tests/engines, over every engine.
"""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from house import ROOT
from vectorbucket import errors
from vectorbucket_server.engine import base, callers
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.engine.milvus.engine import MilvusEngine

METHODS = sorted(Engine.__abstractmethods__)
ON_AN_INDEX = [
    name
    for name in METHODS
    if callable(getattr(Engine, name))
    and "index" in inspect.signature(getattr(Engine, name)).parameters
]
ENGINES = (MemoryEngine, EmbeddedEngine, MilvusEngine)
PAGE = (ROOT / "server/vectorbucket_server/engine/base.py").read_text(encoding="utf-8")


def documentation(method: str) -> str:
    """Return the manual's entry of a method."""
    return inspect.getdoc(getattr(Engine, method)) or ""


def named_errors(text: str) -> set[str]:
    """Return the names of errors under ``Raises:``."""
    _, _, raises = text.partition("Raises:")
    return set(re.findall(r"^ {4}(\w+): ", raises, re.MULTILINE))


# --- The manual -----------------------------------------------------------------------------------


def test_every_public_method_of_an_engine_is_abstract() -> None:
    public = {name for name in vars(Engine) if not name.startswith("_")}
    assert public == set(METHODS)
    with pytest.raises(TypeError, match="abstract"):
        Engine()  # type: ignore[abstract]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_an_entry_in_the_manual(method: str) -> None:
    assert documentation(method).rstrip().endswith(".")


@pytest.mark.parametrize("method", METHODS)
def test_every_error_that_the_manual_names_is_one_of_the_contract(method: str) -> None:
    for name in named_errors(documentation(method)):
        leaf = getattr(errors, name)
        assert issubclass(leaf, errors.VectorBucketError)
        assert leaf in errors.TABLE, f"{name} is a kind of error, not an error"


@pytest.mark.parametrize("method", ON_AN_INDEX)
def test_every_call_on_an_index_says_what_comes_of_one_that_is_gone(method: str) -> None:
    expected = "NoSuchBucket" if method == "put_index" else "NoSuchVectorIndex"
    assert expected in named_errors(documentation(method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_take_what_the_seam_says(engine: type[Engine], method: str) -> None:
    ours, theirs = getattr(engine, method), getattr(Engine, method)
    assert ours is not theirs
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        return
    assert inspect.signature(ours) == inspect.signature(theirs)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_add_no_public_method_of_their_own(engine: type[Engine]) -> None:
    assert {name for name in vars(engine) if not name.startswith("_")} == set(METHODS)


def test_page_holds_no_logic() -> None:
    tree = ast.parse(PAGE)
    logic = ast.If | ast.For | ast.While | ast.Try | ast.With | ast.IfExp | ast.comprehension
    assert [node for node in ast.walk(tree) if isinstance(node, logic)] == []


def test_page_imports_only_what_stands_below_it() -> None:
    imported = {
        node.module.partition(".")[0] if "server" not in node.module else node.module
        for node in ast.walk(ast.parse(PAGE))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert imported == {
        *("__future__", "abc", "collections", "pathlib"),
        "vectorbucket_server.engine.callers",
        "vectorbucket_server.engine.capabilities",
        "vectorbucket_server.model",
    }


# --- What callers and engines hand each other -----------------------------------------------------


def test_page_is_the_face_of_what_callers_give() -> None:
    given = {name for name, value in vars(callers).items() if not name.startswith("_")}
    given -= {"annotations", "Protocol"}
    assert given < set(base.__all__)
    for name in given:
        assert getattr(base, name) is getattr(callers, name)


def test_module_says_everything_it_exports() -> None:
    for name, value in vars(base).items():
        if inspect.isclass(value) and value.__module__ == base.__name__:
            assert inspect.getdoc(value), name
