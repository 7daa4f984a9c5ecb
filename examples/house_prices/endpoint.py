"""One server and its client: what SageMaker does around a multi-model container, in small.

Knows the server's command, its HTTP interface, and where SageMaker unpacks an archive. Must not
know what the models predict.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

_ADDRESS: Final = "127.0.0.1"
_PORT: Final = 8080
_START_WITHIN: Final = 60.0  # seconds
_STOP_WITHIN: Final = 30.0  # seconds; then SageMaker sends SIGKILL
_READY: Final = re.compile(r"^mme ready on port (\d+): .*metrics on port (\d+)", re.MULTILINE)


class DemoError(Exception):
    """Something is not as it should be; the message says what."""


class Endpoint:
    """A server that runs as long as the ``with`` block does.

    Args:
        models: the directory below which models may be loaded.
        log: file that takes the server's output.
    """

    def __init__(self, models: Path, log: Path) -> None:
        self._models = models
        self._log = log
        self._client = httpx.Client(timeout=60, trust_env=False)  # no proxy on the way to 127.0.0.1

    def __enter__(self) -> Endpoint:
        self.port = _free_port()
        command = [_program(), "serve", "--port", str(self.port), "--models", str(self._models)]
        # On metrics port 0 the server takes any free one and says which.
        settings = {"MME_ADDRESS": _ADDRESS, "MME_METRICS_PORT": "0", "MME_LOG_FORMAT": "text"}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **settings, "SAGEMAKER_MULTI_MODEL": "true"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
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
            with contextlib.suppress(DemoError):
                self.stop()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def stop(self) -> int:
        """Send SIGTERM, as SageMaker does, and return the exit status.

        Raises:
            DemoError: the server had to be killed.
        """
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DemoError(f"the server did not stop within {_STOP_WITHIN:.0f} s") from None

    def load(self, model_id: str, directory: Path) -> None:
        """Load the archive unpacked at `directory`."""
        model = {"model_name": model_id, "url": str(directory)}
        _expect(200, self._client.post(self._url("/models"), json=model))

    def unload(self, model_id: str) -> None:
        """Unload one model."""
        _expect(200, self._client.delete(self._url(f"/models/{model_id}")))

    def models(self) -> set[str]:
        """Ids of the models that the server lists."""
        answer = _expect(200, self._client.get(self._url("/models")))
        return {model["modelName"] for model in answer.json()["models"]}

    def invoke(self, model_id: str, target: str, body: str, expect: int = 200) -> str:
        """Send rows of CSV to a model and return its answer in CSV.

        `target` is the archive's name, which SageMaker passes on from the caller's request.

        Raises:
            DemoError: the status is not the one to `expect`.
        """
        headers = {
            "Content-Type": "text/csv",
            "Accept": "text/csv",
            "X-Amzn-SageMaker-Target-Model": target,
        }
        url = self._url(f"/models/{model_id}/invoke")
        return _expect(expect, self._client.post(url, content=body, headers=headers)).text

    def memory(self) -> dict[str, float]:
        """Bytes that the server reckons for each model."""
        url = f"http://{_ADDRESS}:{self.metrics_port}/metrics"
        text = _expect(200, self._client.get(url)).text
        return {
            sample.labels["model"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "mme_model_memory_bytes"
        }

    def _url(self, path: str) -> str:
        return f"http://{_ADDRESS}:{self.port}{path}"

    def _wait_until_ready(self) -> int:
        """Wait for the line that says so, and return the metrics port that it names."""
        end = time.monotonic() + _START_WITHIN
        while time.monotonic() < end:
            if ready := _READY.search(self._log.read_text(errors="replace")):
                _expect(200, self._client.get(self._url("/ping")))
                return int(ready[2])
            if self._process.poll() is not None:
                raise DemoError(f"the server ended at once, with status {self._process.returncode}")
            time.sleep(0.05)
        raise DemoError(f"the server was not ready within {_START_WITHIN:.0f} s")


def identify(archive: str) -> str:
    """A model's id: 64 hex digits that stand for the archive's name, as on SageMaker."""
    return hashlib.sha256(archive.encode()).hexdigest()


def _expect(status: int, answer: httpx.Response) -> httpx.Response:
    if answer.status_code != status:
        request = answer.request
        raise DemoError(
            f"{request.method} {request.url.path} was answered with {answer.status_code} where "
            f"{status} is right: {' '.join(answer.text.split())[:500]}"
        )
    return answer


def _program() -> str:
    program = Path(sys.executable).with_name("mme")
    if not program.exists():
        raise DemoError(f"{program} is missing: run `make demo`, which installs it")
    return str(program)


def _free_port() -> int:
    # MMS refuses ports from 32,767 up, and from 32,768 on Linux hands them out to clients.
    others = random.sample(range(20_000, 32_000), 50)
    for port in (_PORT, *others):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_ADDRESS, port))
            return port
    raise DemoError("no free port below 32,767 was found")
