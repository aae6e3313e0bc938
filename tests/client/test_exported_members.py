"""The public surface is what ``__all__`` says, and nothing else.

Source: the idea is httpx's ``test_exported_members.py``.
"""

from __future__ import annotations

from types import ModuleType

import vectorbucket
from vectorbucket import errors
from vectorbucket._version import __version__


def test_exported_members_are_exactly_what_is_importable() -> None:
    importable = {
        name
        for name, member in vars(vectorbucket).items()
        if not name.startswith("_") and not isinstance(member, ModuleType)
    }
    assert importable | {"__version__"} == set(vectorbucket.__all__)


def test_exported_members_are_sorted_and_named_once() -> None:
    assert vectorbucket.__all__ == sorted(set(vectorbucket.__all__))


def test_every_error_is_exported() -> None:
    kinds_and_leaves = {
        name
        for name, member in vars(errors).items()
        if isinstance(member, type) and issubclass(member, errors.VectorBucketError)
    }
    assert kinds_and_leaves <= set(vectorbucket.__all__)
    assert all(getattr(vectorbucket, name) is getattr(errors, name) for name in kinds_and_leaves)


def test_version_is_the_distributions() -> None:
    assert vectorbucket.__version__ == __version__


def test_everything_exported_is_documented() -> None:
    members = [getattr(vectorbucket, name) for name in vectorbucket.__all__]
    assert [member for member in members if not member.__doc__] == []
