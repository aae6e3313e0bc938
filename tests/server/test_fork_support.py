"""gRPC's handlers of forks are off wherever the server is imported, before gRPC could read it."""

from __future__ import annotations

import os

from rooms import in_child

BEFORE_GRPC = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_ENABLE_FORK_SUPPORT"))
            sys.meta_path.remove(self)
sys.meta_path.insert(0, Watch())
import vectorbucket_server.app
"""

SET_BY_SOMEBODY = """
import os
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "1"
import vectorbucket_server
print(os.environ["GRPC_ENABLE_FORK_SUPPORT"])
"""

SAVED_UNDER_CALLS = """
import threading
from tempfile import TemporaryDirectory

import numpy as np

from vectorbucket_server.app import running_server
from vectorbucket_server.settings import Settings
from vectorbucket_server.engine.embedded.forked import Child
from vectorbucket import Client

with TemporaryDirectory() as folder, running_server(
    Settings(engine="memory", grpc_address="127.0.0.1:0")
) as server, Client(server.address) as client:
    client.put_vector_bucket("things")
    client.put_vector_index("things", "vectors", dimension=4, distance_metric="euclidean")
    client.put_vectors("things", "vectors", keys=["a"], data=np.ones((1, 4), np.float32))
    over = threading.Event()

    def call():
        while not over.is_set():
            client.query_vectors("things", "vectors", [1, 1, 1, 1], top_k=1)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for number in range(30):
        assert Child(lambda: b"done").wait(20) == b"done"
    over.set()
    for caller in callers:
        caller.join()
    print("done")
"""


def test_variable_is_set_before_grpc_is_imported() -> None:
    assert in_child(BEFORE_GRPC).splitlines()[0] == "0"
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "0", "in this process, too"


def test_what_somebody_has_set_stays() -> None:
    assert in_child(SET_BY_SOMEBODY) == "1"


def test_children_end_beside_calls_under_way_which_go_on() -> None:
    assert in_child(SAVED_UNDER_CALLS) == "done"
