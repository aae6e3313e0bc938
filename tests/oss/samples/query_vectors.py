"""Query an index for what is near a vector and of none of two types.

Rules of this file: a sample of the SDK, as the cloud's are: it stands alone, takes credentials from
the environment and all else from its arguments, and does not know where it runs.
"""

from __future__ import annotations

import argparse

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors

parser = argparse.ArgumentParser(description="query vectors")
parser.add_argument("--region", required=True, help="region of the bucket, as cn-hangzhou")
parser.add_argument("--bucket", required=True, help="name of the bucket")
parser.add_argument("--endpoint", help="where the service is, if not at the region's own")
parser.add_argument("--index_name", required=True, help="name of the index")
parser.add_argument("--account_id", required=True, help="account that owns the bucket")


def main() -> None:
    """Run the sample."""
    args = parser.parse_args()
    cfg = oss.config.load_default()
    cfg.credentials_provider = oss.credentials.EnvironmentVariableCredentialsProvider()
    cfg.region = args.region
    cfg.account_id = args.account_id
    if args.endpoint is not None:
        cfg.endpoint = args.endpoint
    client = oss_vectors.Client(cfg)

    result = client.query_vectors(
        oss_vectors.models.QueryVectorsRequest(
            bucket=args.bucket,
            index_name=args.index_name,
            filter={"$and": [{"type": {"$nin": ["comedy", "documentary"]}}]},
            query_vector={"float32": [0.1] * 128},
            return_distance=True,
            return_metadata=True,
            top_k=10,
        )
    )
    print(f"status code: {result.status_code}, request id: {result.request_id}")  # noqa: T201
    for vector in result.vectors:
        found = f"{vector['key']}, {vector['distance']:.4f}, {vector['metadata']}"
        print(f"vector: {found}")  # noqa: T201


if __name__ == "__main__":
    main()
