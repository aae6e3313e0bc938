"""Signed requests and the credentials that they are of.

Rules of this file: a request is signed as the wire reference says, in words of its own, so that a
test which passes here has two readers of the same page.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

from oss.dialect import ACCOUNT_ID, BUCKET, BUCKET_HOST, REGION
from vectorbucket_server.rest.oss.messages import HttpRequest

ACCESS_KEY = "test-ak"
SECRET = "test-sk"  # noqa: S105 - of the reference, section 7.5
TRANSLATOR_KEY = "vbk_translator"

CREDENTIALS = f"""
[[credential]]
name = "owner"
account_id = "{ACCOUNT_ID}"
access_key_id = "{ACCESS_KEY}"
access_key_secret = "{SECRET}"
owner = true

[[credential]]
name = "translator"
account_id = "1"
api_keys = ["sha256:{hashlib.sha256(TRANSLATOR_KEY.encode()).hexdigest()}"]
impersonate = true
"""

SIGNATURE_A = (
    "OSS4-HMAC-SHA256 Credential=test-ak/20231216/cn-hangzhou/oss/aliyun_v4_request,"
    "Signature=067f6b71d06ea21a61a50ac30a45d9307caa3eeae64c0448f404075d1cf62cc0"
)

VECTOR_A = HttpRequest(
    "POST",
    "/?putVectors=",
    (
        ("host", BUCKET_HOST),
        ("content-md5", "OkfjGBKbKXiID/mciTrbog=="),
        ("content-type", "application/json"),
        ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-oss-date", "20231216T162057Z"),
        ("authorization", SIGNATURE_A),
    ),
    b'{"indexName": "idx1", "vectors": [{"key": "k1", "data": {"float32": [0.1, 0.2, 0.3]}, '
    b'"metadata": {"type": "comedy"}}]}',
)
"""The first test vector of the reference, section 7.5."""


def signed(
    method: str,
    flag: str,
    *,
    bucket: str = BUCKET,
    host: str = BUCKET_HOST,
    secret: str = SECRET,
    at: str = "20231216T162057Z",
) -> HttpRequest:
    """Return a request, signed as section 7.2 says."""
    account_id = ACCOUNT_ID if bucket else ""
    arn = quote(f"/acs:ossvector:{REGION}:{account_id}:{bucket}/", safe="/-._~")
    headers = f"x-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:{at}\n"
    asked = f"{method}\n{arn}\n{flag}\n{headers}\n\nUNSIGNED-PAYLOAD"
    scope = f"{at[:8]}/{REGION}/oss/aliyun_v4_request"
    digest = hashlib.sha256(asked.encode()).hexdigest()
    text = f"OSS4-HMAC-SHA256\n{at}\n{scope}\n{digest}"
    key = f"aliyun_v4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return HttpRequest(
        method,
        f"/?{flag}",
        (
            ("host", host),
            ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-oss-date", at),
            (
                "authorization",
                f"OSS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},Signature={key.hex()}",
            ),
        ),
    )
