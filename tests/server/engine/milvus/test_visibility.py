"""Writers that wait for probes: whom one helps, how many there are, and what a failure does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from rooms import WITHIN_S, GivenUp, eventually, refused, together
from vectorbucket.errors import RequestTimeout, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE, NoDeadline
from vectorbucket_server.engine.milvus.visibility import PROBES_MAX, Visibility


class Probes:
    """A probe each of whose runs waits until the test ends it, well or badly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Future[None]] = []

    def __call__(self) -> None:
        end = Future[None]()
        with self._lock:
            self._ends.append(end)
        end.result(WITHIN_S)

    @property
    def begun(self) -> int:
        """How many have begun."""
        return len(self._ends)

    def reached(self, number: int) -> None:
        """Return once so many have begun."""
        eventually(lambda: self.begun >= number, f"{number} probes have begun")

    def end(self, number: int, error: BaseException | None = None) -> None:
        """End the one of a number, from 1."""
        self.reached(number)
        if error is None:
            self._ends[number - 1].set_result(None)
        else:
            self._ends[number - 1].set_exception(error)


class Looks(NoDeadline):
    """No deadline, and it tells when it is looked at: then its writer waits."""

    def __init__(self) -> None:
        self.looked = threading.Event()

    def check(self) -> None:
        self.looked.set()


class Writers:
    """Threads that wait until what they wrote is seen."""

    def __init__(self, visibility: Visibility, pool: ThreadPoolExecutor) -> None:
        self._visibility = visibility
        self._pool = pool

    def add(self, count: int) -> list[Future[None]]:
        """Let some wait; return when they do."""
        looks = [Looks() for _ in range(count)]
        writers = [self._pool.submit(self._visibility.wait, one) for one in looks]
        for one in looks:
            assert one.looked.wait(WITHIN_S)
        return writers


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def visibility(probes: Probes) -> Visibility:
    return Visibility(probes)


@pytest.fixture
def busy(probes: Probes, visibility: Visibility, pool: ThreadPoolExecutor) -> list[Future[None]]:
    """Writers each of whom runs a probe, so that no further one may begin."""
    running = []
    for number in range(1, PROBES_MAX + 1):
        running.append(pool.submit(visibility.wait, NO_DEADLINE))
        probes.reached(number)
    return running


@pytest.fixture
def writers(visibility: Visibility, pool: ThreadPoolExecutor) -> Writers:
    return Writers(visibility, pool)


def test_writer_alone_probes_each_time() -> None:
    probed = list[int]()
    visibility = Visibility(lambda: probed.append(len(probed)))
    for _ in range(3):
        visibility.wait(NO_DEADLINE)
    assert probed == [0, 1, 2]


def test_writer_is_not_helped_by_a_probe_that_began_before_it_came(
    probes: Probes, visibility: Visibility, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(visibility.wait, NO_DEADLINE)
    probes.reached(1)
    second = pool.submit(visibility.wait, NO_DEADLINE)
    probes.reached(2)
    probes.end(1)
    first.result(WITHIN_S)
    assert not second.done()
    probes.end(2)
    second.result(WITHIN_S)
    assert probes.begun == 2


def test_writers_beyond_the_bound_share_the_next_probe(
    probes: Probes, busy: list[Future[None]], writers: Writers
) -> None:
    waiting = writers.add(8)
    assert probes.begun == PROBES_MAX
    probes.end(2)
    busy[1].result(WITHIN_S)
    # One of them begins the next; it began after all of them had come.
    probes.end(PROBES_MAX + 1)
    for one in waiting:
        one.result(WITHIN_S)
    assert probes.begun == PROBES_MAX + 1
    assert not any(busy[number].done() for number in (0, 2, 3))
    for number in (1, 3, 4):
        probes.end(number)
    for one in busy:
        one.result(WITHIN_S)


def test_later_probe_helps_whoever_waits_for_an_earlier_one(
    probes: Probes,
    busy: list[Future[None]],
    writers: Writers,
    visibility: Visibility,
    pool: ThreadPoolExecutor,
) -> None:
    early = writers.add(2)
    probes.end(1)
    probes.reached(PROBES_MAX + 1)
    late = pool.submit(visibility.wait, NO_DEADLINE)
    probes.end(2)
    probes.end(PROBES_MAX + 2)
    late.result(WITHIN_S)
    # The fifth still runs, whose runner waits for it; who shares it does not.
    eventually(lambda: sum(one.done() for one in early) == 1, "one is helped by the later probe")
    for number in (3, 4, PROBES_MAX + 1):
        probes.end(number)
    for one in [*busy, *early]:
        one.result(WITHIN_S)


def test_failure_is_told_to_all_whom_the_probe_could_have_helped(
    probes: Probes, busy: list[Future[None]], writers: Writers
) -> None:
    waiting = writers.add(8)
    probes.end(1)
    probes.end(PROBES_MAX + 1, ServiceUnavailable("Milvus does not answer"))
    errors = [one.exception(WITHIN_S) for one in waiting]
    assert [str(error) for error in errors] == ["ServiceUnavailable: Milvus does not answer"] * len(
        waiting
    )
    # Each has one of its own: whoever serves it writes into it.
    assert len({id(error) for error in errors}) == len(waiting)
    assert probes.begun == PROBES_MAX + 1
    for number in (2, 3, 4):
        probes.end(number)
    assert [one.exception(WITHIN_S) for one in busy] == [None] * PROBES_MAX


def test_failure_is_told_to_nobody_who_came_after_the_probe_began(
    probes: Probes, visibility: Visibility, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(visibility.wait, NO_DEADLINE)
    probes.end(1, ServiceUnavailable("gone"))
    assert isinstance(first.exception(WITHIN_S), ServiceUnavailable)
    second = pool.submit(visibility.wait, NO_DEADLINE)
    probes.end(2)
    second.result(WITHIN_S)


def test_probe_that_ends_in_no_error_of_the_contract_leaves_the_others_to_probe_themselves(
    probes: Probes, busy: list[Future[None]], writers: Writers
) -> None:
    waiting = writers.add(2)
    for number in range(1, PROBES_MAX):
        probes.end(number, KeyError("a bug"))
        assert isinstance(busy[number - 1].exception(WITHIN_S), KeyError)
    # One of those who wait has taken a place; the other waits for it.
    probes.end(PROBES_MAX, KeyError("a bug"))
    probes.end(PROBES_MAX + 1, KeyError("a bug"))
    probes.end(PROBES_MAX + 2)
    outcomes = [one.exception(WITHIN_S) for one in waiting]
    assert sorted(map(repr, outcomes)) == ["KeyError('a bug')", "None"]


def test_caller_who_has_gone_waits_no_longer_and_leaves_the_others_alone(
    probes: Probes, busy: list[Future[None]], visibility: Visibility, writers: Writers
) -> None:
    (patient,) = writers.add(1)
    with pytest.raises(RequestTimeout):
        visibility.wait(GivenUp())
    assert probes.begun == PROBES_MAX
    probes.end(1)
    probes.end(PROBES_MAX + 1)
    patient.result(WITHIN_S)
    for number in (2, 3, 4):
        probes.end(number)
    for one in busy:
        one.result(WITHIN_S)


class Sea:
    """Writes that become visible when a probe has begun after them and returned."""

    def __init__(self, *, fails_every: int = 10**9) -> None:
        self._lock = threading.Lock()
        self._written = 0
        self._seen = 0
        self._fails_every = fails_every
        self.running = 0
        self.running_max = 0
        self.probed = 0

    def write(self) -> int:
        with self._lock:
            self._written += 1
            return self._written

    def sees(self, number: int) -> bool:
        return self._seen >= number

    def probe(self) -> None:
        with self._lock:
            covered = self._written
            self.probed += 1
            self.running += 1
            self.running_max = max(self.running_max, self.running)
            fails = self.probed % self._fails_every == 0
        threading.Event().wait(0.001)
        with self._lock:
            self.running -= 1
            if not fails:
                self._seen = max(self._seen, covered)
        if fails:
            raise ServiceUnavailable("this one failed")


@pytest.mark.parametrize("fails_every", [10**9, 3], ids=["well", "with failures"])
def test_many_writers_each_see_what_they_wrote_with_few_probes(fails_every: int) -> None:
    sea = Sea(fails_every=fails_every)
    visibility = Visibility(sea.probe)
    told = list[Exception]()

    def write() -> None:
        for _ in range(20):
            number = sea.write()
            outcome = refused(lambda: visibility.wait(NO_DEADLINE))
            if isinstance(outcome, Exception):
                told.append(outcome)
            else:
                assert sea.sees(number)

    assert together([write] * 16) == [None] * 16
    assert sea.running_max <= PROBES_MAX
    assert sea.probed < 16 * 20
    assert {type(one) for one in told} == ({ServiceUnavailable} if fails_every == 3 else set())
