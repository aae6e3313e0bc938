"""What is remembered: how long, from when on, and who asks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from rooms import WITHIN_S, eventually, running, together
from vectorbucket_server.engine.milvus import remembered as module
from vectorbucket_server.engine.milvus.remembered import Remembered


class Source:
    """Answers questions, counts them, and has a clock that tests set."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.answers: dict[str, str] = {}
        self.asked: list[str] = []
        self.before: Callable[[], object] = lambda: None
        self.remembered = Remembered(self, 10.0, lambda: self.now_s)

    def __call__(self, name: str) -> str | None:
        """Answer."""
        self.asked.append(name)
        answer = self.answers.get(name)
        self.before()
        return answer


@pytest.fixture(name="source")
def fixture_source() -> Source:
    """Return a source that knows one name."""
    source = Source()
    source.answers["a"] = "one"
    return source


def test_answer_is_believed_until_its_time_has_passed(source: Source) -> None:
    assert source.remembered.get("a") == "one"
    source.answers["a"] = "two"
    source.now_s += 9.9
    assert source.remembered.get("a") == "one"
    source.now_s += 0.1
    assert source.remembered.get("a") == "two"
    assert source.asked == ["a", "a"]


def test_time_counts_from_before_the_question(source: Source) -> None:
    def take_long() -> None:
        source.now_s += 9.0

    source.before = take_long
    assert source.remembered.get("a") == "one"
    source.now_s += 1.0
    assert source.remembered.get("a") == "one"
    assert len(source.asked) == 2


def test_absence_is_never_remembered(source: Source) -> None:
    assert source.remembered.get("b") is None
    source.answers["b"] = "new"
    assert source.remembered.get("b") == "new"
    del source.answers["b"]
    assert source.remembered.ask("b") is None
    assert source.remembered.believed("b", 10.0) is None


def test_who_asks_gets_the_truth_and_all_remember_it(source: Source) -> None:
    source.remembered.get("a")
    source.answers["a"] = "two"
    assert source.remembered.ask("a") == "two"
    assert source.remembered.get("a") == "two"
    assert len(source.asked) == 2


def test_what_is_forgotten_is_asked_for(source: Source) -> None:
    source.remembered.get("a")
    source.remembered.forget("a")
    source.remembered.forget("never")
    assert source.remembered.get("a") == "one"
    assert len(source.asked) == 2


def test_old_answers_serve_those_who_take_them(source: Source) -> None:
    assert source.remembered.believed("a", 1_000.0) is None
    source.remembered.get("a")
    source.now_s += 500.0
    assert source.remembered.believed("a", 1_000.0) == "one"
    assert source.remembered.believed("a", 500.0) is None


def test_answer_to_an_older_question_does_not_replace_a_newer_one(source: Source) -> None:
    def be_overtaken() -> None:
        source.before = lambda: None
        source.answers["a"] = "two"
        source.now_s += 1.0
        assert source.remembered.ask("a") == "two"

    source.before = be_overtaken
    assert source.remembered.ask("a") == "one"
    assert source.remembered.get("a") == "two"


def test_of_many_who_ask_at_once_one_does(source: Source) -> None:
    open_gate = threading.Event()
    source.before = lambda: open_gate.wait(WITHIN_S)
    with running(lambda: source.remembered.get("a"), times=8):
        eventually(lambda: source.asked, "somebody asks")
        open_gate.set()
    assert source.asked == ["a"]


def test_nobody_takes_somebody_elses_word_that_there_is_nothing(source: Source) -> None:
    outcomes = together([lambda: source.remembered.get("b")] * 8)
    assert outcomes == [None] * 8
    assert source.asked == ["b"] * 8


def test_what_nobody_believes_any_more_leaves_memory(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_MAX", 2)
    source.answers |= {"b": "two", "c": "three"}
    for name in ("a", "b"):
        source.remembered.get(name)
    source.now_s += 10.0
    source.remembered.get("c")
    found = [source.remembered.believed(name, 1_000.0) for name in ("a", "b", "c")]
    assert found == [None, None, "three"]


def test_who_waits_too_long_for_somebody_elses_answer_asks_himself(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN_S", 0.05)
    open_gate = threading.Event()
    source.before = lambda: open_gate.wait(WITHIN_S)
    with running(lambda: source.remembered.get("a"), times=3):
        eventually(lambda: len(source.asked) == 3, "all ask, though none was answered")
        open_gate.set()
    assert source.remembered.get("a") == "one"
    assert source.asked == ["a"] * 3
