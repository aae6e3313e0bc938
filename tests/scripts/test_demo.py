"""The demonstration finds sensible packages for every question, twice in a row, and fails politely.

What is sensible was judged by a person, once, from the summaries: SENSIBLE holds for each text some
packages of which at least one must be among the five nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import demo
from bench_data import Dataset, exact_neighbours, load_dataset
from vectorbucket import Client, Hit
from vectorbucket_server.app import Server

SAMPLE_BYTES_MAX = 2_000_000

SENSIBLE = {
    "edit photos and images": {"fotoxx", "phototonic"},
    "play chess against the computer": {"gnome-chess", "stockfish"},
    "python library for numerical arrays": {"python3-sparse", "python3-bottleneck"},
    "send e-mail from the command line": {"mime-construct"},
    "database server with SQL": {"libhsqldb-java", "omnidb-common"},
    "compile C++ programs": {"mymake", "g++-11"},
    "scan network ports": {"masscan", "pnscan"},
    "music player for the terminal": {"sidplay", "draai"},
    "astronomy telescope control": {"astro-telescopecontrol"},
    "convert pdf to text": {"ocrmypdf", "pdfproctools"},
    "spell checker for german": {"aspell-de"},
    "monitor cpu temperature": {"cpu-x"},
    "virtual machine manager": {"lxd-tools"},
    "draw diagrams and flowcharts": {"libreoffice-draw", "libchart-strip-perl"},
    "backup files incrementally": {"ukopp", "zbackup", "backintime-common"},
    "learn typing": {"gtypist"},
    "game with tanks": {"atanks", "bzflag"},
    "font for japanese": {"fonts-sawarabi-gothic", "fonts-takao"},
    "static web site generator": {"mkdocs", "lazygal"},
    "debug memory leaks": {"leaktracer", "libtest-leaktrace-perl"},
}


@pytest.fixture(scope="module")
def sample() -> Dataset:
    """Return the sample that is checked in."""
    return load_dataset(demo.SAMPLE)


@pytest.fixture
def target(start_server: Callable[..., Server], tmp_path: Path) -> str:
    """Return the address of a running server that keeps what it gets."""
    return start_server(engine="embedded", data_dir=tmp_path / "data").address


def test_sample_is_small_enough_to_be_checked_in() -> None:
    files = [path for path in demo.SAMPLE.parent.iterdir() if path.suffix in {".npz", ".jsonl"}]
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) <= SAMPLE_BYTES_MAX


def test_sample_is_what_its_readme_says(sample: Dataset) -> None:
    assert (len(sample.keys), sample.dimension, len(sample.queries)) == (2_000, 384, 20)
    assert len(set(sample.keys)) == len(sample.keys)
    assert np.allclose(np.linalg.norm(sample.data, axis=1), 1, atol=1e-3)
    assert all({"section", "summary"} <= set(one) for one in sample.metadata)
    assert any(isinstance(one.get("tags"), list) for one in sample.metadata)


def test_every_text_of_the_sample_has_a_judgement(sample: Dataset) -> None:
    assert set(sample.query_texts) == set(SENSIBLE)
    assert {one for few in SENSIBLE.values() for one in few} <= set(sample.keys)


@pytest.mark.parametrize("text", SENSIBLE)
def test_question_finds_sensible_packages_in_the_sample(sample: Dataset, text: str) -> None:
    query = sample.queries[sample.query_texts.index(text)]
    near, _ = exact_neighbours(query[None, :], sample.data, demo.TOP_K, "cosine")
    assert SENSIBLE[text] & {sample.keys[position] for position in near[0]}


def test_questions_include_one_by_section_and_one_by_tag() -> None:
    filters = [question.filter for question in demo.QUESTIONS if question.filter]
    assert [list(one) for one in filters] == [["section"], ["tags"]]
    assert len(demo.QUESTIONS) >= 5


def test_demonstration_runs_twice_and_prints_what_it_found(target: str, sample: Dataset) -> None:
    for _ in range(2):
        console = Console(record=True, width=200)
        demo.demonstrate(target, console, everything=True)
        printed = console.export_text()
        assert "The index holds 2,000 vectors." in printed
        for text, keys in SENSIBLE.items():
            assert f"“{text}”" in printed
            assert any(key in printed for key in keys)
    with Client(target) as client:
        for question in demo.QUESTIONS:
            check_hits(question, demo.ask(client, sample, question))


def check_hits(question: demo.Question, hits: list[Hit]) -> None:
    """Check that the hits are five, ascend, and match the question's filter."""
    distances = [hit.distance or 0.0 for hit in hits]
    assert len(hits) == demo.TOP_K
    assert distances == sorted(distances)
    for hit in hits:
        about = dict(hit.metadata or {})
        if question.filter and "section" in question.filter:
            assert about["section"] == question.filter["section"]
        if question.filter and "tags" in question.filter:
            assert "use::converting" in list(about["tags"])  # type: ignore[arg-type]


def test_missing_server_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    # Port 1 of the loopback is never served.
    assert demo.main(["--target", "127.0.0.1:1"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "No server answers at 127.0.0.1:1; start one: scripts/serve\n"


def test_error_of_the_server_is_printed_and_ends_with_1(
    target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "BUCKET", "Not A Name")
    assert demo.main(["--target", target]) == 1
    assert "InvalidVectorBucketName" in capsys.readouterr().err


def test_sample_stands_beside_the_script() -> None:
    assert Path(demo.__file__).parent in demo.SAMPLE.parents
