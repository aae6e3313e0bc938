"""Lines that cannot be written are lost and counted, and nobody's call ends with them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from rooms import files_no_longer_than, restless, together
from vectorbucket_server.observability.log_stream import LogStream
from vectorbucket_server.observability.logs import make_logger


def test_lines_are_there_when_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as file:
        stream = LogStream(file)
        assert stream.write("eins\n") == 5
        stream.flush()
        assert path.read_text("utf-8") == "eins\n"
        assert stream.lost_count == 0


def test_logger_on_a_full_disk_fails_nobody_and_says_later_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    # As standard error is: what was refused is not kept to be tried again at every line.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with io.TextIOWrapper(
        os.fdopen(descriptor, "wb", buffering=0), encoding="utf-8", write_through=True
    ) as file:
        log = make_logger("json", "info", file)
        log.info("before")
        with files_no_longer_than(path.stat().st_size):
            for _ in range(3):
                log.info("meanwhile")
        log.info("after")
        log.info("and on")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["before", "log lines were lost", "after", "and on"]
    assert lines[1] == {"event": "log lines were lost", "count": 3, "level": "warning"}


def test_lines_of_many_threads_stay_whole() -> None:
    written = io.StringIO()
    stream = LogStream(written)

    def write(name: int) -> None:
        for _ in range(200):
            stream.write(f"{name}" * 50 + "\n")

    with restless():
        together([lambda name=name: write(name) for name in range(4)])  # type: ignore[misc]
    lines = written.getvalue().splitlines()
    assert len(lines) == 800
    assert {len(set(line)) for line in lines} == {1}
