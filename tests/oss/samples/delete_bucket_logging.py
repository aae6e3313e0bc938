"""Switch off the log of a bucket.

Rules of this file: a sample of the SDK, as the cloud's are: it stands alone, takes credentials from
the environment and all else from its arguments, and does not know where it runs.
"""

from __future__ import annotations

import argparse

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors

parser = argparse.ArgumentParser(description="delete bucket logging")
parser.add_argument("--region", required=True, help="region of the bucket, as cn-hangzhou")
parser.add_argument("--bucket", required=True, help="name of the bucket")
parser.add_argument("--endpoint", help="where the service is, if not at the region's own")
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

    result = client.delete_bucket_logging(
        oss_vectors.models.DeleteBucketLoggingRequest(
            bucket=args.bucket,
        )
    )
    print(f"status code: {result.status_code}, request id: {result.request_id}")  # noqa: T201


if __name__ == "__main__":
    main()
