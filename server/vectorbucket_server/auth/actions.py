"""Which OSS action each RPC is, and what kind of thing the action is done to.

Rules of this file: one table; an RPC without a row is nobody's, and asking for it is a bug of this
program (a test goes through the contract). What operators do has lists of its own: OSS has no
actions for it, so that no policy can allow or deny it.

Source: oss-vectors-api, section 8.
"""

from __future__ import annotations

from collections.abc import Mapping

LIST_BUCKETS = "oss:ListVectorBuckets"
"""The one action that is done to an account."""

BUCKET_ACTIONS = (
    "oss:PutVectorBucket",
    "oss:GetVectorBucket",
    "oss:DeleteVectorBucket",
    "oss:PutBucketPolicy",
    "oss:GetBucketPolicy",
    "oss:DeleteBucketPolicy",
    "oss:PutBucketLogging",
    "oss:GetBucketLogging",
    "oss:DeleteBucketLogging",
    "oss:ListVectorIndexes",
)
"""Actions that are done to a bucket."""

INDEX_ACTIONS = ("oss:PutVectorIndex", "oss:GetVectorIndex", "oss:DeleteVectorIndex")
"""Actions that are done to an index as a whole."""

VECTOR_ACTIONS = (
    "oss:PutVectors",
    "oss:GetVectors",
    "oss:ListVectors",
    "oss:DeleteVectors",
    "oss:QueryVectors",
)
"""Actions that are done to the vectors of an index."""

ACTIONS: Mapping[str, str] = {
    action.partition(":")[2]: action
    for action in (LIST_BUCKETS, *BUCKET_ACTIONS, *INDEX_ACTIONS, *VECTOR_ACTIONS)
} | {
    "PutVectorsBatch": "oss:PutVectors",
    "QueryVectorsBatch": "oss:QueryVectors",
    "ScanVectors": "oss:ListVectors",
}
"""Action by the name of the RPC. What OSS has no RPC for is the action whose work it does."""

OPERATOR_RPCS = (
    "GetServerStatistics",
    "GetMetrics",
    "PutBackup",
    "ListBackups",
    "DeleteBackup",
)
"""What is done to the server as a whole: for operators."""

OPERATED_RPCS = ("RebuildVectorIndex", "LoadVectorIndex", "UnloadVectorIndex")
"""What is done to the place of an index in the server: for operators, and for the owner of the
index."""


def action_of(rpc: str) -> str:
    """Return the action of an RPC, as ``oss:PutVectors`` of ``PutVectorsBatch``.

    Raises:
        KeyError: There is no such RPC.
    """
    return ACTIONS[rpc]
