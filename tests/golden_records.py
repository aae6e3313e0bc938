"""Golden records of the store's catalogue, written out from FORMAT.md by hand.

Rules of this file: values only, so that no change of a codec goes unseen; the tests are in
test_schema.py and test_schema_foreign.py.
"""

from __future__ import annotations

from vectorbucket.errors import Corruption
from vectorbucket_server.engine.embedded.schema import Checkpoint, CheckpointFile, Family
from vectorbucket_server.model import Bucket, BucketLogging, DistanceMetric, Index

INDEX = Index("things", "vectors", 3, DistanceMetric.COSINE, ("note", "b"), 1_700, 9)
INDEX_JSON = (
    b'{"bucket_name":"things","name":"vectors","dimension":3,"metric":"cosine",'
    b'"non_filterable_keys":["note","b"],"created_ms":1700,"index_id":9,'
    b'"graph":{"m":null,"ef_construction":null,"ef_search":null}}'
)
CHECKPOINT = Checkpoint(
    generation=2,
    name="checkpoint-5",
    seq=9,
    next_label=40,
    count=30,
    graphed=20,
    dimension=3,
    metric=DistanceMetric.COSINE,
    m=16,
    files={"keys": CheckpointFile(size_bytes=7, crc32=1)},
)
CHECKPOINTS_JSON = (
    b'[{"generation":2,"name":"checkpoint-5","seq":9,"next_label":40,"count":30,"graphed":20,'
    b'"dimension":3,"metric":"cosine","m":16,"files":{"keys":{"size_bytes":7,"crc32":1}}}]'
)
BUCKET = Bucket("things", "1234567890", 1_700)
BUCKET_JSON = (
    b'{"name":"things","account_id":"1234567890","created_ms":1700,"policy":"","logging":null}'
)
LOGGED_BUCKET = Bucket(
    "things", "1234567890", 1_700, '{"é":\t"\\u00e9"}\n', BucketLogging("logs", "ünter/", "r")
)
LOGGED_BUCKET_JSON = (
    '{"name":"things","account_id":"1234567890","created_ms":1700,'
    '"policy":"{\\"é\\":\\t\\"\\\\u00e9\\"}\\n",'
    '"logging":{"target_bucket":"logs","target_prefix":"ünter/","logging_role":"r"}}'
).encode()

PLACE = b"\x01\xfeplace"
"""A key that a decoder is told, to name it."""


def names_place(error: Corruption, family: Family, key: bytes = PLACE) -> bool:
    """Return whether an error says where it was found."""
    return f"family {family.value}, key {key.hex()}" in error.message
