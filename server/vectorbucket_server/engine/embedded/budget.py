"""The memory that loaded indexes may take, all together.

Whoever is about to take memory asks first. If it would be too much, indexes that were not used for
the longest time leave until it fits; one that is in use just now is asked again a moment later. If
that is not enough, the caller is refused, rather than the process killed.

Rules of this file:

- It counts what rooms say of themselves; nothing is measured.
- It is asked without any lock of an index held, because it takes those of others.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from vectorbucket.errors import MemoryBudgetExceeded
from vectorbucket_server.model import Index

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_SHARE = 0.75
"""The share of the machine's memory that indexes may take if nothing is said."""

_PATIENCE_S = 2.0
"""How long, in seconds, to wait for indexes that are in use just now."""

_LOOK_AGAIN_S = 0.02
"""How soon to ask them again."""


class Tenant(Protocol):
    """An index, as far as memory goes."""

    index: Index
    used_s: float
    """When it was last used, on a monotonic clock."""

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes now; 0 if it is not loaded."""

    def unload(self) -> bool:
        """Let it leave; return False if it is in use or not there."""


def machine_bytes() -> int:
    """Return the memory that this process may use: the machine's, or its control group's."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:  # no control group, or an older kind
        return whole
    return min(whole, int(limit)) if limit.isdecimal() else whole


TenantT = TypeVar("TenantT", bound=Tenant)


class MemoryBudget(Generic[TenantT]):
    """A bound, and what is taken of it."""

    def __init__(
        self,
        limit_bytes: int,
        tenants: Callable[[], Sequence[TenantT]],
        before_leaving: Callable[[TenantT], None],
    ) -> None:
        """Make a budget of which nothing is taken.

        Args:
            limit_bytes: The bound; 0 means three quarters of the machine's memory.
            tenants: Returns the indexes that might leave.
            before_leaving: Called before an index is asked to leave, to save what is dear.
        """
        self.limit_bytes = limit_bytes or int(machine_bytes() * _SHARE)
        self._tenants = tenants
        self._before_leaving = before_leaving
        self._lock = threading.Condition()
        self._taken: dict[int, int] = {}
        self._reserved: dict[int, int] = {}

    @property
    def taken_bytes(self) -> int:
        """What is taken or reserved now."""
        with self._lock:
            return self._sum()

    def _sum(self) -> int:
        return sum(self._taken.values()) + sum(self._reserved.values())

    def admit(self, tenant: Tenant, needed_bytes: int) -> None:
        """Return when the index may take so much in all; others may have left for it.

        Raises:
            MemoryBudgetExceeded: It does not fit beside those that are in use.
        """
        self._take(self._taken, tenant, needed_bytes)

    def reserve(self, tenant: Tenant, extra_bytes: int) -> None:
        """Return when the index may take so much more for a while, until ``release``.

        Raises:
            MemoryBudgetExceeded: It does not fit beside those that are in use.
        """
        self._take(self._reserved, tenant, extra_bytes)

    def release(self, tenant: Tenant) -> None:
        """Give back what was reserved."""
        with self._lock:
            self._reserved.pop(tenant.index.index_id, None)
            self._lock.notify_all()

    def note(self, tenant: Tenant) -> None:
        """Count what the index takes now; what it was admitted for and has not taken yet stays."""
        with self._lock:
            # Looked at in the hold, so that what is counted last is what is true last.
            size_bytes = tenant.size_bytes
            if size_bytes:
                self._taken[tenant.index.index_id] = size_bytes
                self._lock.notify_all()

    def left(self, tenant: Tenant) -> None:
        """Count nothing for the index any more: it left, or did not come."""
        with self._lock:
            self._taken.pop(tenant.index.index_id, None)
            self._lock.notify_all()

    def holds(self, tenant: Tenant) -> bool:
        """Return whether the index was admitted and has not left since."""
        with self._lock:
            return tenant.index.index_id in self._taken

    def _take(self, account: dict[int, int], tenant: Tenant, wanted_bytes: int) -> None:
        """Write what is wanted into the account as soon as it fits."""
        until = time.monotonic() + _PATIENCE_S
        while not self._fits(account, tenant, wanted_bytes):
            # What would not fit alone must not make the others leave for nothing.
            fits_alone = self._fits_alone(account, tenant, wanted_bytes)
            if fits_alone and self._make_room(tenant):
                continue
            left_s = until - time.monotonic()
            if left_s <= 0 or not fits_alone:
                raise MemoryBudgetExceeded.of(tenant.index.name, wanted_bytes, self.limit_bytes)
            with self._lock:
                self._lock.wait(min(left_s, _LOOK_AGAIN_S))

    def _fits(self, account: dict[int, int], tenant: Tenant, wanted_bytes: int) -> bool:
        """Write what is wanted into the account, or return False if there is no room for it."""
        index_id = tenant.index.index_id
        with self._lock:
            before = account.get(index_id, 0)
            if wanted_bytes <= before or self._sum() - before + wanted_bytes <= self.limit_bytes:
                account[index_id] = wanted_bytes
                return True
        return False

    def _fits_alone(self, account: dict[int, int], tenant: Tenant, wanted_bytes: int) -> bool:
        """Return whether what is wanted would fit if every other index left."""
        index_id = tenant.index.index_id
        with self._lock:
            others = (other for other in (self._taken, self._reserved) if other is not account)
            own = sum(other.get(index_id, 0) for other in others)
        return own + wanted_bytes <= self.limit_bytes

    def _make_room(self, tenant: Tenant) -> bool:
        """Let the index leave that was not used for the longest time; return whether one left."""
        for other in sorted(self._tenants(), key=lambda one: one.used_s):
            if other.index.index_id == tenant.index.index_id or not other.size_bytes:
                continue
            self._before_leaving(other)
            if other.unload():
                return True
        return False
