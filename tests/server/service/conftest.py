"""Fixtures of the gRPC floor's tests."""

from __future__ import annotations

import pytest

from rpc import Stubs


@pytest.fixture
def with_index(stubs: Stubs) -> Stubs:
    """Stubs of a server that has a bucket and an index, with two non-filterable fields."""
    stubs.make_index(non_filterable=["blob", "note"])
    return stubs
