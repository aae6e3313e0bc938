"""The server as a whole, with an engine that needs a package and a service which are not there."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys

import pytest

from rpc import WAIT_S
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.app import Server, running_server
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import EngineStatistics
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings


def test_milvus_is_asked_where_the_settings_say() -> None:
    pytest.importorskip("pymilvus")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings = Settings(
        engine="milvus",
        milvus_uri=uri,
        milvus_token="me:secret",  # noqa: S106 - nobody's
        grpc_address="127.0.0.1:0",
    )
    server = Server(settings)
    assert type(server.engine).__name__ == "MilvusEngine"
    with pytest.raises(ServiceUnavailable) as caught:
        server.start()
    assert f"Milvus at {uri} cannot be used" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_package_that_the_engine_on_milvus_needs_is_named_where_it_is_missing() -> None:
    program = (
        "import runpy, sys\n"
        "sys.modules['pymilvus'] = None\n"
        "runpy.run_module('vectorbucket_server', run_name='__main__')\n"
    )
    flags = ["serve", "--engine", "milvus", "--grpc-address", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, "-c", program, *flags],
        capture_output=True, text=True, check=False, timeout=WAIT_S * 3,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the engine milvus needs the package pymilvus, which is not installed" in done.stderr
    assert "pip install 'vectorbucket[server,milvus]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_metrics_do_not_wait_for_what_is_away() -> None:
    class AwayEngine(MemoryEngine):
        """Would wait for long."""

        asked = 0

        def check(self) -> None:
            raise ServiceUnavailable("Milvus does not answer")

        def statistics(self) -> EngineStatistics:
            self.asked += 1
            return super().statistics()

    engine = AwayEngine()
    text = Server(Settings(engine="memory", log_level="error"), engine=engine).metrics.text()
    assert "vectorbucket_scrape_errors_total 1.0" in text
    assert "\nvectorbucket_vectors " not in text
    assert engine.asked == 0


def test_log_says_which_milvus_it_is_and_no_token() -> None:
    settings = Settings(
        engine="milvus",
        milvus_uri="http://milvus.example:19530",
        milvus_token="me:secret",  # noqa: S106 - nobody's
        milvus_database="shops",
        grpc_address="127.0.0.1:0",
    )
    log = io.StringIO()
    with running_server(settings, engine=MemoryEngine(), log=make_logger("json", "info", log)):
        pass
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (serving,) = [line for line in lines if line["event"] == "serving"]
    assert serving["milvus_uri"] == "http://milvus.example:19530"
    assert serving["milvus_database"] == "shops"
    assert "secret" not in log.getvalue()
