"""Bytes that come in parts."""

from __future__ import annotations

import tracemalloc

import pytest

from vectorbucket_server.rest.parts import Parts

LARGE = b"x" * 100_000


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"one"],
        [b"one", b"", b"two"],
        [LARGE],
        [LARGE, b"a", b"b", LARGE, LARGE, b"c"],
        [b"a", LARGE, b"b"],
        [bytes([number % 256]) for number in range(200_000)],
    ],
    ids=["none", "empty", "one", "three", "large", "mixed", "small_first", "tiny"],
)
def test_bytes_come_out_as_they_went_in(parts: list[bytes]) -> None:
    held = Parts()
    for part in parts:
        held.add(part)
    assert held.size_bytes == sum(len(part) for part in parts)
    assert held.take() == b"".join(parts)


def test_what_was_taken_is_not_held_any_more() -> None:
    held = Parts()
    held.add(b"one")
    assert held.take() == b"one"
    assert (held.size_bytes, held.take()) == (0, b"")
    held.add(b"two")
    assert held.take() == b"two"


def test_one_part_is_not_copied() -> None:
    held = Parts()
    held.add(LARGE)
    assert held.take() is LARGE


def test_part_that_was_added_stays_as_it_was() -> None:
    held = Parts()
    part = b"one"
    held.add(part)
    held.add(b"two")
    assert part == b"one"


def test_tiny_parts_take_little_more_memory_than_they_have() -> None:
    size_bytes = 200_000
    held = Parts()
    tracemalloc.start()
    try:
        for number in range(size_bytes // 2):
            held.add(number.to_bytes(4)[2:])
        now_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held.size_bytes == size_bytes
    assert now_bytes < 1.5 * size_bytes
