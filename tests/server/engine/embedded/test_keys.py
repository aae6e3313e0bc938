"""Keys by slot in a mapped file: what a reader was shown stays, whatever is written or refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from rooms import files_no_longer_than, running
from vectorbucket_server.engine.embedded.keys import Keys, KeyView


@pytest.fixture(name="keys")
def fixture_keys(tmp_path: Path) -> Iterator[Keys]:
    """Yield an empty list."""
    keys = Keys(tmp_path / "keys")
    yield keys
    keys.close()


def encoded(*keys: str) -> list[bytes]:
    """Return keys as they are written."""
    return [key.encode() for key in keys]


def names(count: int, start: int = 0) -> list[str]:
    """Return keys of many lengths, in more than one alphabet."""
    return [f"é{number}" + "x" * (number % 40) for number in range(start, start + count)]


def at(view: KeyView, slots: Sequence[int]) -> list[str]:
    """Return the keys at slots."""
    return view.at(np.array(slots, dtype=np.intp))


def test_keys_come_back_by_slot_in_any_order(keys: Keys) -> None:
    keys.write(0, encoded("a", "ключ", "🜁/z", "a" * 1_024))
    assert at(keys.view, [3, 0, 2, 1, 0]) == ["a" * 1_024, "a", "🜁/z", "ключ", "a"]


def test_no_slots_have_no_keys(keys: Keys) -> None:
    assert at(keys.view, []) == []
    keys.write(0, encoded("a"))
    assert at(keys.view, []) == []


def test_keys_are_placed_whatever_the_size_of_the_pieces(keys: Keys) -> None:
    first = 0
    for count in (1, 0, 500, 7, 2_000, 492):
        keys.write(first, encoded(*names(count, first)))
        first += count
    assert at(keys.view, range(3_000)) == names(3_000)


def test_file_holds_one_key_after_the_other(keys: Keys, tmp_path: Path) -> None:
    keys.write(0, encoded("one", "two", "drei"))
    assert (tmp_path / "keys").read_bytes()[:10] == b"onetwodrei"


def test_keys_that_were_staged_but_not_published_are_overwritten(keys: Keys) -> None:
    keys.write(0, encoded("a", "b"))
    seen = keys.view
    keys.write(2, encoded("long and never published", "x", "y"))
    keys.write(2, encoded("c"))
    assert at(keys.view, [0, 1, 2]) == ["a", "b", "c"]
    assert at(seen, [0, 1]) == ["a", "b"]


def test_reader_that_holds_an_old_view_keeps_its_keys(keys: Keys) -> None:
    keys.write(0, encoded(*names(10)))
    seen = keys.view
    keys.write(10, encoded(*names(20_000, 10)))
    assert keys.view.text is not seen.text
    assert keys.view.starts is not seen.starts
    assert at(seen, range(10)) == names(10)
    assert at(keys.view, [0, 9, 10, 20_009]) == [*names(1), *names(2, 9), *names(1, 20_009)]


def test_view_outlives_the_file(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    keys.write(0, encoded("a", "b"))
    seen = keys.view
    keys.close()
    keys.close()
    (tmp_path / "keys").unlink()
    assert at(seen, [0, 1]) == ["a", "b"]


def test_growth_is_rare(keys: Keys) -> None:
    texts, starts = {}, {}
    for first in range(0, 30_000, 50):
        keys.write(first, encoded(*names(50, first)))
        texts[id(keys.view.text)] = keys.view.text
        starts[id(keys.view.starts)] = keys.view.starts
    assert len(texts) < 8
    assert len(starts) < 12


def test_file_is_nobody_elses_and_not_inherited(keys: Keys, tmp_path: Path) -> None:
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(keys._file)


def test_list_goes_on_behind_the_keys_that_are_kept(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    keys.write(0, encoded(*names(100)))
    starts = keys.view.starts[:81].copy()
    keys.close()
    again = Keys(tmp_path / "keys", starts=starts)
    seen = again.view
    assert at(seen, range(80)) == names(80)
    again.write(80, encoded(*names(20_000, 500)))
    assert at(again.view, [0, 79, 80, 20_079]) == [
        *names(1),
        *names(1, 79),
        *names(1, 500),
        *names(1, 20_499),
    ]
    assert at(seen, range(80)) == names(80)
    again.close()


def test_list_of_no_keys_may_be_kept(tmp_path: Path) -> None:
    Keys(tmp_path / "keys").close()
    keys = Keys(tmp_path / "keys", starts=np.zeros(1, dtype=np.uint64))
    keys.write(0, encoded("a"))
    assert at(keys.view, [0]) == ["a"]
    keys.close()


def test_file_that_is_too_short_for_the_keys_to_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"onetw")
    with pytest.raises(ValueError, match="keys has 5 bytes, not 6"):
        Keys(tmp_path / "keys", starts=np.array([0, 3, 6], dtype=np.uint64))
    assert (tmp_path / "keys").read_bytes() == b"onetw", "it is left as it was"
    keys = Keys(tmp_path / "keys", starts=np.array([0, 3, 5], dtype=np.uint64))
    assert at(keys.view, [0, 1]) == ["one", "tw"]
    keys.close()


def test_keys_to_be_kept_need_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Keys(tmp_path / "keys", starts=np.array([0, 3], dtype=np.uint64))


def test_list_in_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Keys(tmp_path / "missing" / "keys")


@pytest.mark.parametrize("limit", [20, 70_000])
def test_full_disk_is_an_error_and_harms_no_key(keys: Keys, limit: int) -> None:
    keys.write(0, encoded("a", "b"))
    seen = keys.view
    with files_no_longer_than(limit), pytest.raises(OSError, match="large"):
        keys.write(2, encoded(*("k" * 1_000 for _ in range(200))))
    assert at(keys.view, [0, 1]) == at(seen, [0, 1]) == ["a", "b"]


def test_keys_are_right_after_a_disk_was_full(keys: Keys) -> None:
    keys.write(0, encoded("a", "b"))
    for limit in (20, 70_000):
        with files_no_longer_than(limit), pytest.raises(OSError, match="large"):
            keys.write(2, encoded(*("k" * 1_000 for _ in range(200))))
    keys.write(2, encoded(*("n" * 1_000 for _ in range(100))))
    assert at(keys.view, [0, 1, 2, 101]) == ["a", "b", "n" * 1_000, "n" * 1_000]


def test_first_keys_are_right_after_a_disk_was_full(keys: Keys) -> None:
    with files_no_longer_than(20), pytest.raises(OSError, match="large"):
        keys.write(0, encoded("a", "b"))
    keys.write(0, encoded("c"))
    assert at(keys.view, [0]) == ["c"]


def test_disk_that_takes_less_than_it_was_given_is_asked_again(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, text, offset: write(file, text[:3], offset))
    keys.write(0, encoded("abcdefgh", "ijkl"))
    assert at(keys.view, [0, 1]) == ["abcdefgh", "ijkl"]


def test_size_is_that_of_the_places_and_not_of_the_keys(keys: Keys) -> None:
    keys.write(0, encoded("k" * 1_000_000))
    assert keys.size_bytes == keys.view.starts.nbytes < 100_000


def test_reader_sees_its_keys_beside_the_writer(keys: Keys) -> None:
    published: list[tuple[int, KeyView]] = [(0, keys.view)]
    done = threading.Event()
    wrong: list[int] = []
    expected = names(20_000)

    def read() -> None:
        rng = np.random.default_rng(1)
        while not done.is_set():
            count, view = published[-1]
            slots = rng.integers(count, size=5).tolist() if count else []
            wrong.extend(slot for slot in slots if at(view, [slot]) != [expected[slot]])

    with running(read, times=2):
        for first in range(0, 20_000, 100):
            keys.write(first, encoded("never published", "nor this"))
            keys.write(first, encoded(*expected[first : first + 100]))
            published.append((first + 100, keys.view))
        done.set()
    assert wrong == []
