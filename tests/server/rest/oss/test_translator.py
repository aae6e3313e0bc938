"""The translator: the order in which a request is looked at, and what it tells the server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
import pytest

from conftest import StartServer
from oss.dialect import (
    ACCOUNT_ID,
    BUCKET,
    BUCKET_HOST,
    DATE,
    DOOR,
    NOW_S,
    REGION,
    SERVICE_HOST,
    Answer,
    Dialect,
    check_form,
    dialect_before,
    request_ids,
    vector,
)
from vectorbucket.errors import EntityTooLarge, ServiceUnavailable
from vectorbucket_server.auth.credentials import Credentials, parse_credentials
from vectorbucket_server.auth.entries import (
    ACCOUNT_ID as ACCOUNT_ID_ENTRY,
)
from vectorbucket_server.auth.entries import AUTHORIZATION, FAULT, PRINCIPAL, REQUEST_ID, decode_fault
from vectorbucket_server.rest.oss.messages import HttpRequest
from vectorbucket_server.rest.oss.translator import OFFLOAD_BYTES, Door, Stubs, Translator
