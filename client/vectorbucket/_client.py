"""The client: every operation of the contract as a method.

Rules of this file: it only joins the halves that stand beside it; an operation has its method
there.
"""

from __future__ import annotations

from vectorbucket._bucket_settings import BucketSettings
from vectorbucket._control_plane import ControlPlane
from vectorbucket._operations import Operations
from vectorbucket._queries import Queries
from vectorbucket._reads import Reads
from vectorbucket._writes import Writes


class Client(ControlPlane, BucketSettings, Writes, Reads, Queries, Operations):
    """A client of one vectorbucket server; safe to use from many threads.

    For example::

        with Client("127.0.0.1:50051") as client:
            client.put_vector_bucket("photos")
            client.put_vector_index("photos", "faces", dimension=3, distance_metric="cosine")
            client.put_vectors("photos", "faces", [("ann", [0.1, 0.2, 0.3], {"year": 1999})])
            hits = client.query_vectors("photos", "faces", [0.1, 0.2, 0.3], top_k=5)

    Each operation is a method, named as in the contract (proto/vectorbucket/v1). Errors are the
    classes of ``vectorbucket.errors``, the same that the server raises. A call is repeated only if
    the server was not there or asked for it.

    Args:
        target: ``host:port`` of the server, or any other name that gRPC knows.
        timeout_s: Seconds for a call and its retries, where the call does not say otherwise.
        answer_timeout_s: Seconds that the server may take for each answer of a stream; a stream as
            a whole has no time limit. A server that is behind with indexing answers slowly.
        resume_timeout_s: Seconds for which a broken stream is resumed without any progress.
        retry: How patiently calls are repeated and streams resumed.
        api_key: The key that the server's operator gave you, sent with every call; None for a
            server without credentials. Without TLS it is not encrypted on its way, as nothing is:
            beyond this machine, use it so only where you trust the network.
        tls: Whether to speak TLS: True, or a ``Tls`` that says whom to trust and what to show; None
            or False for a server without it. A server's certificate must be for the host of the
            target.
    """
