"""What was written, what was acknowledged, and what may therefore be found after a crash.

A writer's operations are applied in order, each whole. After a crash the acknowledged ones are
there, and of those that were begun some first ones may be: so there are as many legal states as
operations under way, and one more. Anything else is a loss, a half or a ghost.

Rules of this file: vectors are made from their key and version alone, so that bytes can be compared
without being kept.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from oracles import Float32Array, Metadata

State: TypeAlias = dict[str, int]
"""The version of each key that exists."""

Content: TypeAlias = Mapping[str, tuple[bytes, Mapping[str, object]]]
"""What a store holds: by key the bytes of the data, and the metadata."""


def data_of(key: str, version: int, dimension: int) -> Float32Array:
    """Return the numbers of a version of a key: float32, shape (dimension,)."""
    rng = np.random.default_rng([zlib.crc32(key.encode()), version])
    return rng.standard_normal(dimension, np.float32)


def metadata_of(key: str, version: int) -> Metadata:
    """Return the metadata of a version of a key; now and then none."""
    if version % 7 == 0:
        return {}
    return {
        "key": key,
        "version": float(version),
        "even": version % 2 == 0,
        "tags": [key[:2], float(version)] * (version % 3),
    }


@dataclass(frozen=True, slots=True)
class Operation:
    """A batch of puts, or of deletes."""

    keys: tuple[str, ...]
    version: int
    """Of all keys of a put; 0 for a delete."""

    @property
    def deletes(self) -> bool:
        """Whether the keys are deleted."""
        return self.version == 0

    def rows(self, dimension: int) -> Float32Array:
        """Return the data of a put: float32, shape (len(keys), dimension)."""
        return np.stack([data_of(key, self.version, dimension) for key in self.keys])

    def metadata(self) -> tuple[Metadata, ...]:
        """Return the metadata of a put."""
        return tuple(metadata_of(key, self.version) for key in self.keys)

    def applied_to(self, state: State) -> State:
        """Return the state after this operation."""
        if self.deletes:
            return {key: version for key, version in state.items() if key not in self.keys}
        return {**state, **dict.fromkeys(self.keys, self.version)}


def random_operations(
    seed: int, prefix: str, *, keys: int, batch_max: int, delete_share: float
) -> Iterator[Operation]:
    """Yield operations on the keys of a prefix for ever.

    Args:
        seed: Where randomness starts.
        prefix: Sets these keys apart from those of other writers.
        keys: How many different keys there are; the fewer, the more overwrites.
        batch_max: Most keys of an operation.
        delete_share: Which share of the operations deletes.
    """
    rng = np.random.default_rng(seed)
    for version in itertools.count(1 + seed * 1_000_000):
        count = int(rng.integers(1, batch_max + 1))
        chosen = rng.choice(keys, size=min(count, keys), replace=False)
        names = tuple(f"{prefix}{number:05d}" for number in chosen)
        yield Operation(names, 0 if rng.random() < delete_share else version)


@dataclass(slots=True)
class Ledger:
    """The book of one writer."""

    dimension: int
    settled: State = field(default_factory=dict)
    """What must be there."""
    under_way: list[Operation] = field(default_factory=list)
    """What was begun since, in order, and not acknowledged."""
    acknowledged: int = 0
    """Operations that were acknowledged."""

    def begun(self, operation: Operation) -> None:
        """Note that an operation is about to be sent."""
        self.under_way.append(operation)

    def answered(self) -> None:
        """Note that the oldest operation under way was acknowledged."""
        self.settled = self.under_way.pop(0).applied_to(self.settled)
        self.acknowledged += 1

    def settle(self, content: Content) -> int:
        """Check what was found after a crash, adopt it, and return how many begun ones were in it.

        Raises:
            AssertionError: It is none of the states that may be found.
        """
        state = self.settled
        complaints = [_difference(state, content, self.dimension)]
        for applied, operation in enumerate(self.under_way):
            if complaints[-1] is None:
                return self._adopt(state, applied)
            state = operation.applied_to(state)
            complaints.append(_difference(state, content, self.dimension))
        assert complaints[-1] is None, f"none of {len(complaints)} legal states: {complaints}"
        return self._adopt(state, len(self.under_way))

    def _adopt(self, state: State, applied: int) -> int:
        """Go on from a state."""
        self.settled = state
        self.under_way.clear()
        return applied


def _difference(state: State, content: Content, dimension: int) -> str | None:
    """Return in which way content is not a state, or None if it is."""
    if missing := state.keys() - content.keys():
        return f"{len(missing)} keys are missing, {min(missing)} among them"
    if ghosts := content.keys() - state.keys():
        return f"{len(ghosts)} keys should not be there, {min(ghosts)} among them"
    for key, version in state.items():
        data, metadata = content[key]
        if data != data_of(key, version, dimension).tobytes():
            return f"the data of {key} are not those of version {version}"
        if metadata != metadata_of(key, version):
            return f"the metadata of {key} are not those of version {version}"
    return None


def part_of(content: Content, prefix: str) -> Content:
    """Return what content holds of a writer's keys."""
    return {key: value for key, value in content.items() if key.startswith(prefix)}


def self_queries(
    state: State, dimension: int, count: int, seed: int
) -> tuple[Sequence[str], Float32Array]:
    """Return some keys that exist, and their data: float32, shape (n, dimension)."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(sorted(state), size=min(count, len(state)), replace=False).tolist()
    return chosen, np.stack([data_of(key, state[key], dimension) for key in chosen])
