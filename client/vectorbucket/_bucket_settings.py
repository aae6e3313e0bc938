"""What the owner of a bucket says of it: who else may use it, and where its requests are logged.

Rules of this file: those of _control_plane.py; but everything here can be repeated without harm.
"""

from __future__ import annotations

from vectorbucket._caller import Caller
from vectorbucket._messages import logging_message, read_logging
from vectorbucket._models import BucketLogging
from vectorbucket.v1 import bucket_service_pb2 as messages


class BucketSettings(Caller):
    """The operations on a bucket's policy and on its logging.

    Each method takes ``timeout_s``, seconds for the call and its retries; None means the client's.
    """

    def put_bucket_policy(
        self, bucket: str, policy: str, *, timeout_s: float | None = None
    ) -> None:
        """Say what others may do with a bucket, in place of what was said before.

        For example, to let account 2345678901 search one index::

            client.put_bucket_policy("photos", json.dumps({
                "Version": "1",
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": ["2345678901"],
                    "Action": ["oss:QueryVectors"],
                    "Resource": ["acs:ossvector:cn-hangzhou:1234567890:photos/faces"],
                }],
            }))

        Args:
            bucket: The bucket.
            policy: A JSON document; see PutBucketPolicyRequest in the contract. It is kept as it
                stands.
            timeout_s: See the class.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket.
            MalformedJson: The policy is not JSON.
            InvalidPolicyDocument: It is JSON and no policy, or too long.
        """
        request = messages.PutBucketPolicyRequest(bucket=bucket, policy=policy)
        self._call(self._buckets.PutBucketPolicy, request, timeout_s)

    def get_bucket_policy(self, bucket: str, *, timeout_s: float | None = None) -> str:
        """Return the policy of a bucket, as it was put.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket.
            NoSuchBucketPolicy: It has none.
        """
        request = messages.GetBucketPolicyRequest(bucket=bucket)
        response: messages.GetBucketPolicyResponse = self._call(
            self._buckets.GetBucketPolicy, request, timeout_s
        )
        return response.policy

    def delete_bucket_policy(self, bucket: str, *, timeout_s: float | None = None) -> None:
        """Take back what the policy of a bucket said; one without a policy stays as it is.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket.
        """
        request = messages.DeleteBucketPolicyRequest(bucket=bucket)
        self._call(self._buckets.DeleteBucketPolicy, request, timeout_s)

    def put_bucket_logging(
        self, bucket: str, logging: BucketLogging, *, timeout_s: float | None = None
    ) -> None:
        """Have every request on a bucket logged from now on.

        Args:
            bucket: The bucket.
            logging: Where to, in place of what was said before.
            timeout_s: See the class.

        Raises:
            InvalidVectorBucketName: The name of the bucket, or of the target, is not legal.
            NoSuchBucket: There is no such bucket.
            InvalidArgument: The prefix or the role is not legal.
            AccessDenied: The target exists, and belongs to another account.
        """
        request = messages.PutBucketLoggingRequest(bucket=bucket, logging=logging_message(logging))
        self._call(self._buckets.PutBucketLogging, request, timeout_s)

    def get_bucket_logging(
        self, bucket: str, *, timeout_s: float | None = None
    ) -> BucketLogging | None:
        """Return where the requests on a bucket are logged; None if they are not.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket.
        """
        request = messages.GetBucketLoggingRequest(bucket=bucket)
        response: messages.GetBucketLoggingResponse = self._call(
            self._buckets.GetBucketLogging, request, timeout_s
        )
        return read_logging(response.logging) if response.HasField("logging") else None

    def delete_bucket_logging(self, bucket: str, *, timeout_s: float | None = None) -> None:
        """End the logging of a bucket; one that is not logged stays as it is.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket.
        """
        request = messages.DeleteBucketLoggingRequest(bucket=bucket)
        self._call(self._buckets.DeleteBucketLogging, request, timeout_s)
