"""A multi-model server as SageMaker speaks to it: load, list, get, invoke, unload, ping."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from mme_local.conformance.models import Model, Models, Payload
from mme_local.conformance.registry import Seen, expect

LOAD_WITHIN: Final = 360.0
"""Seconds that SageMaker lets a load take."""
ANSWER_WITHIN: Final = 60.0
"""Seconds that SageMaker lets an invocation take."""
PING_WITHIN: Final = 2.0
"""Seconds that SageMaker lets a ping take."""
CONNECT_WITHIN: Final = 0.25
"""Seconds that SageMaker lets a connection take."""

_SHOWN: Final = 160  # characters of a body
_PAGES: Final = 1000


class Server:
    """A server at a URL. It unloads only what it was made to load.

    All its methods may be called on any thread.

    Args:
        url: where it listens, as ``http://127.0.0.1:8080``.
        models: what can be loaded.
        payload: what to send them.
    """

    def __init__(self, url: str, models: Models, payload: Payload) -> None:
        self.url = url.rstrip("/")
        self.models = models
        self.payload = payload
        self._loaded: set[str] = set()
        limits = httpx.Limits(keepalive_expiry=1)  # before any server ends an idle connection
        self._client = httpx.Client(base_url=self.url, trust_env=False, limits=limits)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(self, method: str, path: str, within: float = ANSWER_WITHIN, **more: Any) -> Answer:
        """Send a request.

        Raises:
            Seen: no answer came in time.
        """
        started = time.monotonic()
        try:
            response = self._client.request(method, path, timeout=within, **more)
        except httpx.TransportError as error:
            seconds = time.monotonic() - started
            reason = str(error) or type(error).__name__
            raise NoAnswer(f"{method} {shown(path)}: {reason} after {seconds:.1f} s") from error
        return Answer(response, time.monotonic() - started)

    # -- Health ----------------------------------------------------------------------------------

    def ping(self) -> Answer:
        """GET /ping, as patiently as SageMaker."""
        return self.send("GET", "/ping", PING_WITHIN)

    def healthy(self) -> bool:
        """Whether ``/ping`` and ``/models`` are both 200 now."""
        with suppress(NoAnswer):
            models = self.send("GET", "/models", PING_WITHIN)
            return self.ping().status == models.status == 200
        return False

    # -- Models ----------------------------------------------------------------------------------

    def load(self, model: Model, within: float = LOAD_WITHIN) -> Answer:
        """POST /models."""
        self._loaded.add(model.name)
        body = {"model_name": model.name, "url": model.url}
        return self.send("POST", "/models", within, json=body)

    def add(self, large: bool = False) -> Model:
        """Load a model that must load.

        Raises:
            Seen: it does not.
        """
        model = self.models.fresh(large)
        answer = self.load(model)
        expect(answer.status == 200, f"POST /models of a good model: {answer}")
        return model

    def unload(self, model: Model) -> Answer:
        """DELETE /models/{name}."""
        answer = self.send("DELETE", f"/models/{model.name}")
        if answer.status in (200, 404):
            self._loaded.discard(model.name)
        return answer

    def get(self, model: Model) -> Answer:
        """GET /models/{name}."""
        return self.send("GET", f"/models/{model.name}")

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """GET /models, page after page; each is its list of models.

        Raises:
            Seen: a page is none, or there is no end of them.
        """
        query: dict[str, str] = {}
        for _ in range(_PAGES):
            answer = self.send("GET", f"/models?{urlencode(query)}" if query else "/models")
            expect(answer.status == 200, f"GET /models: {answer}")
            body = answer.json()
            listed = body.get("models") if isinstance(body, dict) else None
            expect(isinstance(listed, list), f"GET /models has no list of models: {answer}")
            yield [each for each in listed or [] if isinstance(each, dict)]
            if not body.get("nextPageToken"):
                return
            query = {"next_page_token": str(body["nextPageToken"])}
        raise Seen(f"GET /models: more than {_PAGES} pages, and still a nextPageToken")

    def listed(self) -> dict[str, str]:
        """The models that the server knows: URL by name."""
        return {
            str(each.get("modelName")): str(each.get("modelUrl"))
            for page in self.pages()
            for each in page
        }

    def invoke(
        self,
        model: Model,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        within: float = ANSWER_WITHIN,
    ) -> Answer:
        """POST /models/{name}/invoke, with the payload unless there is a `body`."""
        sent = {
            "Content-Type": self.payload.content_type,
            "Accept": self.payload.accept,
            "X-Amzn-SageMaker-Target-Model": f"{model.name[:8]}.tar.gz",
            **(headers or {}),
        }
        content = self.payload.body if body is None else body
        path = f"/models/{model.name}/invoke"
        return self.send("POST", path, within, content=content, headers=sent)

    def expect_answers(self, model: Model, when: str) -> Answer:
        """Invoke a model that must answer.

        Raises:
            Seen: it does not.
        """
        answer = self.invoke(model)
        expect(answer.status == 200, f"{when}, invoke: {answer}")
        return answer

    def clear(self) -> None:
        """Unload all that was loaded through this, and whatever is left of what was tried.

        Raises:
            Seen: something of it stays.
        """
        for name in list(self._loaded):
            answer = self.unload(Model(name, ""))
            expect(answer.status in (200, 404), f"DELETE /models/{shown(name)}: {answer}")


class NoAnswer(Seen):
    """The server did not answer, or not in time."""


class Answer:
    """An answer, as a report tells of it."""

    def __init__(self, response: httpx.Response, seconds: float) -> None:
        self.status = response.status_code
        self.content = response.content
        self.content_type = response.headers.get("content-type", "")
        self.seconds = seconds
        self._response = response

    def json(self) -> Any:
        """The body, or None if it is no JSON."""
        try:
            return self._response.json()
        except ValueError:
            return None

    def __str__(self) -> str:
        """Status, and the message or the beginning of the body."""
        body = self.json()
        message = body.get("message") if isinstance(body, dict) else None
        text = message or self.content[:1000].decode(errors="replace")
        return f"{self.status} {shown(' '.join(str(text).split()), _SHOWN)}".rstrip()


def shown(text: str, length: int = 60) -> str:
    """The text, or its beginning."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def unknown_name() -> str:
    """A name that no model has."""
    return secrets.token_hex(32)
