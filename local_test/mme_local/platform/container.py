"""The HTTP that SageMaker speaks to a container, as AWS documents it, and nothing more.

https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from mme_local.errors import LocalError

_PING_SECONDS: Final = 2.0  # AWS's
_CONNECT_SECONDS: Final = 2.0
_TARGET_HEADER: Final = "x-amzn-sagemaker-target-model"


class ContainerGoneError(LocalError):
    """The container does not answer: it has ended, or is about to."""


class ContainerTimeoutError(LocalError):
    """The container did not answer in time."""


@dataclass(frozen=True)
class Answer:
    """What a container answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    """Lower-case names."""

    @property
    def text(self) -> str:
        """The body, for people."""
        return self.body.decode(errors="replace")

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class ContainerClient:
    """Speaks to one container.

    Args:
        url: of its HTTP server.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )
        # Only what SageMaker sends: no user agent, and no wish for a compressed answer.
        self._client.headers.clear()

    async def healthy(self, multi_model: bool) -> bool:
        """Whether ``/ping``, and for many models ``/models``, answer 200 within two seconds."""
        paths = ["/ping", "/models"] if multi_model else ["/ping"]
        try:
            answers = [await self._send("GET", path, seconds=_PING_SECONDS) for path in paths]
        except (ContainerGoneError, ContainerTimeoutError):
            return False
        return all(answer.status == 200 for answer in answers)

    async def load(self, name: str, directory: str, target: str, seconds: float) -> Answer:
        """Load the model in a directory under a name; `target` is for the container's log."""
        body = json.dumps({"model_name": name, "url": directory}).encode()
        headers = {"content-type": "application/json", _TARGET_HEADER: target}
        return await self._send("POST", "/models", body, headers, seconds)

    async def unload(self, name: str, target: str, seconds: float) -> Answer:
        """Unload a model; `target` is for the container's log."""
        headers = {_TARGET_HEADER: target}
        return await self._send("DELETE", f"/models/{name}", headers=headers, seconds=seconds)

    async def has(self, name: str) -> bool:
        """Whether the container has a model of this name."""
        return (await self._send("GET", f"/models/{name}")).status != 404

    async def invoke(
        self, name: str | None, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Have a model predict; without `name`, the container's only one."""
        path = "/invocations" if name is None else f"/models/{name}/invoke"
        return await self._send("POST", path, body, headers, seconds)

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] = {},
        seconds: float = 60.0,
    ) -> Answer:
        timeout = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        # Bytes, as they came: a client's header may hold other letters than ASCII.
        sent = [
            (key.encode(), value.encode("latin-1", "replace")) for key, value in headers.items()
        ]
        try:
            # A limit for the whole: httpx's is for each piece, and a slow answer has many.
            async with asyncio.timeout(seconds):
                answer = await self._client.request(
                    method, path, content=body or None, headers=sent, timeout=timeout
                )
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
            raise ContainerTimeoutError(f"{method} {path}: no answer in {seconds:g} s") from None
        except httpx.TransportError as error:
            raise ContainerGoneError(f"{method} {path}: {error or type(error).__name__}") from None
        return Answer(answer.status_code, answer.content, answer.headers)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
