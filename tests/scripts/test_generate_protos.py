"""The generated code and the lock are fresh, and the generator says so when they are not.

Method: the real generator runs; where something must be stale, a copy in a temporary folder stands
in for what is checked in.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import contract_lock
import generate_protos


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the program with these arguments."""
    monkeypatch.setattr("sys.argv", ["generate_protos.py", *arguments])
    generate_protos.main()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a copy of what is checked in, which the program then takes for it."""
    for name, content in generate_protos.present().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "contract.lock").write_bytes(generate_protos.LOCK.read_bytes())
    monkeypatch.setattr(generate_protos, "GENERATED", tmp_path)
    monkeypatch.setattr(generate_protos, "LOCK", tmp_path / "contract.lock")
    return tmp_path


def test_what_is_checked_in_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--check")


def test_stale_code_is_named_and_then_replaced(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = copy / "vector_pb2.py"
    good = stale.read_bytes()
    stale.write_bytes(b"old")
    with pytest.raises(SystemExit, match=r"^stale: vector_pb2\.py; run"):
        run(monkeypatch, "--check")
    assert stale.read_bytes() == b"old"
    run(monkeypatch)
    assert stale.read_bytes() == good


def test_code_of_a_file_that_is_gone_is_removed(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "gone_pb2.py").write_bytes(b"old")
    with pytest.raises(SystemExit, match=r"^stale: gone_pb2\.py; run"):
        run(monkeypatch, "--check")
    run(monkeypatch)
    assert not (copy / "gone_pb2.py").exists()


def test_addition_is_stale_until_it_is_agreed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = copy / "contract.lock"
    whole = lock.read_text()
    lock.write_text(whole.replace("message Bucket 4 region: string\n", ""))
    with pytest.raises(SystemExit, match=r"^stale: contract\.lock; run"):
        run(monkeypatch, "--check")
    run(monkeypatch)
    assert lock.read_text() == whole


def test_break_is_refused_until_it_is_allowed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = copy / "contract.lock"
    whole = lock.read_text()
    lock.write_text(whole + "message Bucket 5 colour: string\n")
    with pytest.raises(SystemExit, match=r"lost what callers rely on.*\s+message Bucket 5 colour"):
        run(monkeypatch)
    run(monkeypatch, "--allow-break")
    assert lock.read_text() == whole


def test_generator_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_protos, "GENERATOR_VERSION", "0.0.1")
    with pytest.raises(SystemExit, match=r"the contract is generated with 0\.0\.1"):
        run(monkeypatch, "--check")


def test_lock_that_is_checked_in_is_the_listing() -> None:
    listing = contract_lock.listing(generate_protos.descriptors())
    assert generate_protos.LOCK.read_text() == contract_lock.render(listing)


def test_generator_is_pinned_low_with_the_reason_beside_it() -> None:
    lines = (generate_protos.ROOT / "pyproject.toml").read_text().splitlines()
    pin = lines.index(f'    "grpcio-tools=={generate_protos.GENERATOR_VERSION}",')
    assert lines[pin - 1].strip().startswith("# ")
