"""What AWS says now and then, said for it: a client's request is answered before it is sent."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse


class _Body(io.BytesIO):
    def stream(self, **_: Any) -> list[bytes]:
        return [self.read()]


class Refusals:
    """Refuses the first call, or the first few, of each operation of clients.

    Args:
        refusals: by operation, the code and the message.
        times: how often each is refused.
    """

    def __init__(self, refusals: dict[str, tuple[str, str]], times: int = 1) -> None:
        self._refusals = refusals
        self._times = times
        self.refused: Counter[str] = Counter()

    def install(self, *clients: Any) -> None:
        """Refuse calls of these clients from now on."""
        for client in clients:
            client.meta.events.register("before-send", self._answer)

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        if operation not in self._refusals or self.refused[operation] >= self._times:
            return None
        self.refused[operation] += 1
        code, message = self._refusals[operation]
        body = json.dumps({"__type": code, "message": message}).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, 400, headers, _Body(body))
