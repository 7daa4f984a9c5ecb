"""A real server and its client: what SageMaker does around a multi-model container, in small.

Runs the program ``mme serve`` and talks HTTP to it; knows nothing of how it works.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from mme_training.errors import TrainingError

_ADDRESS: Final = "127.0.0.1"
_START_WITHIN: Final = 60.0  # seconds
_STOP_WITHIN: Final = 30.0  # seconds; then SageMaker sends SIGKILL
_REASON_WITHIN: Final = 2.0  # seconds
_PR_SET_PDEATHSIG: Final = 1
_READY: Final = re.compile(r"^mme ready on port (\d+): .*metrics on port (\d+)", re.MULTILINE)

_libc = ctypes.CDLL(None)


class ServerError(TrainingError):
    """The server did not start, or answered otherwise than was to be expected."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """An ``mme serve`` that runs as long as the ``with`` block does, and the thread that is in it.

    Args:
        models: the directory below which models may be loaded.
        log: file that takes the server's output, a JSON object a line.
        port: port to serve on, at most 32,766; by default a free one.
        settings: environment variables besides those of this process.

    Raises:
        ServerError: the port is taken, or the server does not start.
    """

    def __init__(
        self,
        models: Path,
        log: Path,
        port: int | None = None,
        settings: Mapping[str, str] = {},
    ) -> None:
        if port and not is_free(port):
            raise ServerError(f"port {port} is taken: give another, or none for a free one")
        self.port = port or _free_port()
        self._models = models
        self._log = log
        self._settings = settings
        # No proxy on the way to 127.0.0.1.
        self._client = httpx.Client(
            base_url=f"http://{_ADDRESS}:{self.port}", timeout=120, trust_env=False
        )

    def __enter__(self) -> Server:
        command = [_program(), "serve", "--port", str(self.port), "--models", str(self._models)]
        # On metrics port 0 the server takes any free one and says which.
        own = {
            "MME_ADDRESS": _ADDRESS,
            "MME_METRICS_PORT": "0",
            "MME_LOG_FORMAT": "json",
            "SAGEMAKER_MULTI_MODEL": "true",
        }
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **own, **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent,
            )
        try:
            self.metrics_port = self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()
        if self._process.poll() is None:
            with contextlib.suppress(ServerError):
                self.stop()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def stop(self) -> int:
        """Send SIGTERM, as SageMaker does, and return the exit status.

        Raises:
            ServerError: the server had to be killed.
        """
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ServerError(f"the server did not stop within {_STOP_WITHIN:.0f} s") from None

    def load(self, model_id: str, directory: Path) -> None:
        """Load the archive unpacked at `directory`.

        Raises:
            ServerError: it is refused; with the reason, if the server's log has it.
        """
        answer = self._send("POST", "/models", json={"model_name": model_id, "url": str(directory)})
        if answer.status_code != 200:
            reason = self._reason(model_id) or _summary(answer)
            raise ServerError(reason, answer.status_code)

    def unload(self, model_id: str) -> None:
        """Unload one model."""
        _expect(200, self._send("DELETE", f"/models/{model_id}"))

    def models(self) -> set[str]:
        """Ids of the models that the server lists; of many, those of the first page."""
        answer = _expect(200, self._send("GET", "/models"))
        return {model["modelName"] for model in answer.json()["models"]}

    def invoke(
        self,
        model_id: str,
        body: bytes | str,
        *,
        content_type: str = "text/csv",
        accept: str | None = None,
        headers: Mapping[str, str] = {},
        expect: int = 200,
    ) -> httpx.Response:
        """Send a request to a model.

        Raises:
            ServerError: the status is not the one to `expect`.
        """
        sent = {"Content-Type": content_type, "Accept": accept or "*/*", **headers}
        path = f"/models/{model_id}/invoke"
        return _expect(expect, self._send("POST", path, content=body, headers=sent))

    def memory(self) -> dict[str, float]:
        """Bytes that the server reckons for each model, by its id."""
        url = f"http://{_ADDRESS}:{self.metrics_port}/metrics"
        text = _expect(200, self._send("GET", url)).text
        return {
            sample.labels["model"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "mme_model_memory_bytes"
        }

    def log_lines(self) -> list[dict[str, Any]]:
        """What the server has logged until now; lines that are no JSON are left out."""
        lines = []
        for text in self._log.read_text(errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                line = json.loads(text)
                if isinstance(line, dict):
                    lines.append(line)
        return lines

    def _send(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **rest)
        except httpx.HTTPError as error:
            raise ServerError(f"{method} {path} got no answer: {error}") from None

    def _reason(self, model_id: str) -> str | None:
        """Why a model was not loaded: MMS does not pass it on, so the log has it."""
        end = time.monotonic() + _REASON_WITHIN
        while time.monotonic() < end:
            for line in reversed(self.log_lines()):
                if line.get("event") == "load failed" and line.get("model") == model_id:
                    return str(line["reason"])
            time.sleep(0.02)
        return None

    def _wait_until_ready(self) -> int:
        """Wait for the line that says so, and return the metrics port that it names."""
        end = time.monotonic() + _START_WITHIN
        while time.monotonic() < end:
            text = self._log.read_text(errors="replace")
            if ready := _READY.search(text):
                _expect(200, self._send("GET", "/ping"))
                return int(ready[2])
            if self._process.poll() is not None:
                last = text.strip().splitlines()[-1:] or ["it said nothing"]
                raise ServerError(f"the server ended at once: {last[0]}")
            time.sleep(0.05)
        raise ServerError(f"the server was not ready within {_START_WITHIN:.0f} s")


def identify(archive: str) -> str:
    """A model's id: 64 hex digits that stand for the archive's name, as on SageMaker."""
    return hashlib.sha256(archive.encode()).hexdigest()


def _expect(status: int, answer: httpx.Response) -> httpx.Response:
    if answer.status_code != status:
        raise ServerError(_summary(answer), answer.status_code)
    return answer


def _summary(answer: httpx.Response) -> str:
    """What the server says, in one line."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return f"{answer.status_code}: {answer.json()['message']}"
    return f"{answer.status_code}: {' '.join(answer.text.split())[:500]}"


def _program() -> str:
    beside = Path(sys.executable).with_name("mme")
    program = str(beside) if beside.exists() else shutil.which("mme")
    if program is None:
        raise ServerError("the program mme is not on the path: install xgboost-mme")
    return program


def _end_with_parent() -> None:
    """Whoever kills this process leaves no server behind; called in the server's own, before it."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _free_port() -> int:
    # MMS refuses ports from 32,767 up, and from 32,768 on Linux hands them out to clients.
    for port in random.sample(range(20_000, 32_000), 50):
        if is_free(port):
            return port
    raise ServerError("no free port below 32,767 was found")


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of this machine's loopback."""
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((_ADDRESS, port))
        return True
    return False
