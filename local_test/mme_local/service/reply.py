"""What goes back to a client over HTTP, whatever the protocol."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

REQUEST_ID = "x-amzn-requestid"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request_id() -> str:
    """A new identifier of a request, which clients show as ``ResponseMetadata.RequestId``."""
    return str(uuid.uuid4())
