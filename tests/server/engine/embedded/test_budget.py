"""Who must leave for whom, who is refused, and what is counted meanwhile.

Method: tenants that are numbers, so that each order of events is one that the test chose; patience
is set to nothing where it would only be waited for. Two real indexes: test_budget_two_indexes.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rooms import eventually, make_index, nothing, refused, running, together
from vectorbucket.errors import MemoryBudgetExceeded
from vectorbucket_server.engine.embedded import budget as module
from vectorbucket_server.engine.embedded.budget import MemoryBudget, machine_bytes


class Number:
    """An index that is only its size."""

    def __init__(self, number: int, size_bytes: int = 0) -> None:
        self.index = make_index(name=f"i{number}", index_id=number)
        self.used_s = float(number)
        self.size_bytes = size_bytes
        self.in_use = False
        self.asked = 0
        self.budget: MemoryBudget[Number] | None = None

    def unload(self) -> bool:
        """Leave, unless it is in use."""
        self.asked += 1
        if self.in_use or not self.size_bytes:
            return False
        self.size_bytes = 0
        assert self.budget is not None
        self.budget.left(self)
        return True


class House:
    """A budget of 100 bytes, and its tenants."""

    def __init__(self, *sizes: int) -> None:
        self.left: list[str] = []
        self.tenants = [Number(number, size) for number, size in enumerate(sizes, 1)]
        self.budget = MemoryBudget(100, lambda: self.tenants, self._before_leaving)
        for tenant in self.tenants:
            tenant.budget = self.budget
            self.budget.note(tenant)

    def _before_leaving(self, tenant: Number) -> None:
        assert tenant.size_bytes, "it is still here"
        self.left.append(tenant.index.name)

    def come(self, tenant: Number, size_bytes: int) -> None:
        """Let a tenant take memory as an index does: admitted first, noted when it is there."""
        self.budget.admit(tenant, size_bytes)
        tenant.size_bytes = size_bytes
        self.budget.note(tenant)


@pytest.fixture(name="impatient")
def fixture_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for what is in use."""
    monkeypatch.setattr(module, "_PATIENCE_S", 0.0)


# --- The bound ------------------------------------------------------------------------------------


def test_bound_that_is_not_said_is_three_quarters_of_the_machine() -> None:
    budget: MemoryBudget[Number] = MemoryBudget(0, list, nothing)
    assert budget.limit_bytes == int(machine_bytes() * 0.75) > 2**28
    assert MemoryBudget[Number](7, list, nothing).limit_bytes == 7


@pytest.mark.parametrize(
    ("text", "expected"), [("1000000\n", 1_000_000), ("max\n", None), (f"{2**62}\n", None)]
)
def test_machine_is_as_large_as_its_control_group_lets_it_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None
) -> None:
    monkeypatch.setattr(module, "_CGROUP_LIMIT", tmp_path / "missing")
    whole = machine_bytes()
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(module, "_CGROUP_LIMIT", tmp_path / "memory.max")
    assert machine_bytes() == (expected or whole)


# --- Who leaves -----------------------------------------------------------------------------------


def test_nobody_leaves_while_there_is_room() -> None:
    house = House(30, 30, 0)
    house.come(house.tenants[2], 40)
    assert house.left == []
    assert house.budget.taken_bytes == 100


def test_least_recently_used_leave_first_and_no_more_than_must() -> None:
    house = House(20, 20, 20, 20, 0)
    house.tenants[0].used_s = 100.0
    house.come(house.tenants[4], 50)
    assert house.left == ["i2", "i3"]
    assert [tenant.size_bytes for tenant in house.tenants] == [20, 0, 0, 20, 50]
    assert house.budget.taken_bytes == 90


def test_index_that_grows_does_not_leave_for_itself() -> None:
    house = House(60, 40)
    house.tenants[0].used_s = -1.0
    house.come(house.tenants[0], 100)
    assert house.left == ["i2"]
    assert house.tenants[0].asked == 0


def test_index_is_told_of_before_it_is_asked_to_leave() -> None:
    house = House(60, 0)
    house.come(house.tenants[1], 60)
    assert (house.left, house.tenants[0].asked) == (["i1"], 1)


def test_what_an_index_has_already_counts_once() -> None:
    house = House(60, 0)
    for size_bytes in (60, 90, 100, 40, 100):
        house.come(house.tenants[0], size_bytes)
        assert house.budget.taken_bytes == size_bytes
    assert house.left == []


def test_index_in_use_stays_and_the_next_one_leaves() -> None:
    house = House(50, 50, 0)
    house.tenants[0].in_use = True
    house.come(house.tenants[2], 50)
    assert [tenant.size_bytes for tenant in house.tenants] == [50, 0, 50]


def test_index_that_is_used_for_a_moment_is_asked_again_until_it_leaves() -> None:
    house = House(100, 0)
    tenant = house.tenants[0]
    tenant.in_use = True
    with running(lambda: house.come(house.tenants[1], 100)):
        eventually(lambda: tenant.asked > 1, "it was asked twice")
        tenant.in_use = False
    assert [tenant.size_bytes for tenant in house.tenants] == [0, 100]


def test_index_that_is_admitted_but_not_here_yet_keeps_its_room(impatient: None) -> None:  # noqa: ARG001
    house = House(0, 0)
    house.budget.admit(house.tenants[0], 60)
    with pytest.raises(MemoryBudgetExceeded):
        house.budget.admit(house.tenants[1], 60)
    assert house.tenants[0].asked == 0, "there is nothing that could leave"
    house.budget.note(house.tenants[0])
    assert house.budget.taken_bytes == 60, "it is on its way"
    house.budget.left(house.tenants[0])
    house.budget.admit(house.tenants[1], 60)


def test_room_that_is_given_back_is_taken_by_who_waits_for_it() -> None:
    house = House(0, 0)
    house.budget.admit(house.tenants[0], 60)
    outcome: list[object] = []
    with running(lambda: outcome.append(refused(partial(house.come, house.tenants[1], 60)))):
        waiters = house.budget._lock._waiters  # type: ignore[attr-defined]
        eventually(lambda: len(waiters) == 1, "the second waits")
        house.budget.left(house.tenants[0])
    assert outcome == [None]


def test_many_who_come_and_go_at_once_all_get_in_and_leave_nothing_behind() -> None:
    house = House(*[0] * 8)

    def come_and_go(tenant: Number) -> None:
        for _ in range(50):
            house.come(tenant, 30)
            tenant.unload()

    assert together([partial(come_and_go, tenant) for tenant in house.tenants]) == [None] * 8
    assert house.budget.taken_bytes == 0


# --- Who is refused -------------------------------------------------------------------------------


def test_refusal_names_the_index_what_it_needs_and_the_bound() -> None:
    house = House(0)
    with pytest.raises(
        MemoryBudgetExceeded, match=r"'i1' needs 101 bytes .* limit is 100 bytes"
    ) as e:
        house.budget.admit(house.tenants[0], 101)
    assert e.value.details == {"index_name": "i1", "needed_bytes": "101", "limit_bytes": "100"}
    assert house.budget.taken_bytes == 0


def test_nobody_leaves_for_who_does_not_fit_even_alone() -> None:
    house = House(50, 50, 0)
    with pytest.raises(MemoryBudgetExceeded):
        house.budget.admit(house.tenants[2], 101)
    with pytest.raises(MemoryBudgetExceeded):
        house.budget.reserve(house.tenants[0], 51)
    assert house.left == []
    assert house.budget.taken_bytes == 100


def test_who_does_not_fit_beside_those_in_use_is_refused(impatient: None) -> None:  # noqa: ARG001
    house = House(50, 50, 0)
    for tenant in house.tenants[:2]:
        tenant.in_use = True
    with pytest.raises(MemoryBudgetExceeded, match="'i3' needs 10 bytes"):
        house.budget.admit(house.tenants[2], 10)
    assert [tenant.size_bytes for tenant in house.tenants] == [50, 50, 0]
    assert house.budget.taken_bytes == 100


def test_index_that_is_too_large_already_may_stay_as_it_is_and_not_grow() -> None:
    house = House(120)
    house.budget.admit(house.tenants[0], 120)
    with pytest.raises(MemoryBudgetExceeded):
        house.budget.admit(house.tenants[0], 121)
    house.budget.admit(house.tenants[0], 110)


# --- Reservations ---------------------------------------------------------------------------------


def test_reservation_counts_until_it_is_released() -> None:
    house = House(40, 0)
    house.budget.reserve(house.tenants[0], 40)
    assert house.budget.taken_bytes == 80
    house.budget.release(house.tenants[0])
    house.budget.release(house.tenants[0])
    assert house.budget.taken_bytes == 40


def test_others_leave_for_a_reservation_and_it_keeps_them_out(impatient: None) -> None:  # noqa: ARG001
    house = House(40, 40)
    house.budget.reserve(house.tenants[1], 40)
    assert house.left == ["i1"]
    house.tenants[1].in_use = True
    with pytest.raises(MemoryBudgetExceeded):
        house.budget.admit(house.tenants[0], 40)
    house.budget.release(house.tenants[1])
    house.budget.admit(house.tenants[0], 40)


def test_reservation_and_size_are_counted_apart() -> None:
    house = House(30)
    tenant = house.tenants[0]
    house.budget.reserve(tenant, 30)
    tenant.size_bytes = 35
    house.budget.note(tenant)
    assert house.budget.taken_bytes == 65
    tenant.unload()
    assert house.budget.taken_bytes == 30


def test_sizes_are_noted_as_they_are(impatient: None) -> None:  # noqa: ARG001
    house = House(10, 20)
    house.tenants[0].size_bytes = 55
    house.budget.note(house.tenants[0])
    assert house.budget.taken_bytes == 75
    house.budget.left(house.tenants[0])
    house.budget.left(house.tenants[0])
    assert house.budget.taken_bytes == 20


def test_budget_knows_who_was_admitted_and_has_not_left() -> None:
    house = House(0)
    assert not house.budget.holds(house.tenants[0])
    house.come(house.tenants[0], 10)
    assert house.budget.holds(house.tenants[0])
    house.tenants[0].unload()
    assert not house.budget.holds(house.tenants[0])
