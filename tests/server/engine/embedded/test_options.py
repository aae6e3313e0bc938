"""Options: each says what it is and what more or less of it does, and stays as it was set."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import os
from pathlib import Path

import pytest

from vectorbucket_server.engine.embedded import options as module
from vectorbucket_server.engine.embedded.options import MIB, EmbeddedOptions

FIELDS = [field.name for field in dataclasses.fields(EmbeddedOptions)]


def documentation() -> dict[str, str]:
    """Return the docstring that stands under each field."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef))
    return {
        ast.unparse(field.target): ast.literal_eval(text.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_says_what_it_is(name: str) -> None:
    assert len(documentation()[name].split()) >= 10


@pytest.mark.parametrize("name", sorted({*FIELDS} - {"data_dir", "sync_writes"}))
def test_every_number_says_what_more_or_less_of_it_does(name: str) -> None:
    words = documentation()[name]
    assert "More:" in words or "Fewer:" in words or "Less:" in words


def test_every_option_has_a_default_but_the_place() -> None:
    without = [
        field.name
        for field in dataclasses.fields(EmbeddedOptions)
        if field.default is dataclasses.MISSING
    ]
    assert without == ["data_dir"]
    assert EmbeddedOptions(Path("x")).sync_writes


@pytest.mark.parametrize("name", [name for name in FIELDS if name.endswith("_bytes_max")])
def test_sizes_are_given_in_bytes(name: str) -> None:
    size_bytes = getattr(EmbeddedOptions(Path("x")), name)
    assert size_bytes >= MIB or "0 means" in " ".join(documentation()[name].split())


@pytest.mark.parametrize("name", [name for name in FIELDS if "_share" in name])
def test_shares_are_between_nothing_and_all(name: str) -> None:
    assert 0 < getattr(EmbeddedOptions(Path("x")), name) < 1


def test_threads_are_as_many_as_were_asked_for() -> None:
    assert EmbeddedOptions(Path("x"), indexer_threads=3).threads() == 3


def test_threads_are_one_a_core_when_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EmbeddedOptions(Path("x")).threads() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert EmbeddedOptions(Path("x")).threads() == 1


def test_options_never_change() -> None:
    options = EmbeddedOptions(Path("x"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.m = 5  # type: ignore[misc]
    assert options == EmbeddedOptions(Path("x"))
