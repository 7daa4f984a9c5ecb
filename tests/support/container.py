"""A container of the image: started, asked over a published port or from inside, and removed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
from docker import DockerClient
from docker.errors import APIError, NotFound
from prometheus_client.parser import text_string_to_metric_families

from support.models import Model, csv_of
from support.serving import until

MODELS = "/opt/ml/models"
GIB = 1 << 30
_START_WITHIN = 60.0

_ASK = """
import base64, http.client, json, sys
port, method, path, headers, body = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
connection.request(method, path, base64.b64decode(body), headers)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.headers.items(), answer.read().decode()]))
"""

_PROCESSES = r"""
import json, os, pathlib
found = []
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines())
        words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        rollup = (entry / "smaps_rollup").read_text().split("\n") if {smaps} else []
    except OSError:
        continue
    pss = sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    found.append(dict(pid=int(entry.name), parent=int(status["PPid"]), state=status["State"][0],
        threads=int(status.get("Threads", 1)), command=" ".join(words), pss=pss << 10,
        rss=int(status.get("VmRSS", "0 kB").split()[0]) << 10))
print(json.dumps([each for each in found if each["pid"] != os.getpid()]))
"""


@dataclass(frozen=True)
class Process:
    """A process in the container; `pss` and `rss` are bytes, and `pss` is 0 if not asked for."""

    pid: int
    parent: int
    state: str
    threads: int
    command: str
    pss: int
    rss: int

    @property
    def role(self) -> str:
        """What it does there: server, java, zygote, workers, launchers or other."""
        if "com.amazonaws.ml.mms.ModelServer" in self.command:
            return "java"
        if "model_service_worker.py" in self.command:
            return "launchers"
        if "mme_handler.workers.zygote" in self.command:
            return "zygote and workers"
        return "server" if self.pid == 1 else "other"


class Container:
    """One container; `with` removes it, and prints its log, which pytest shows on failure.

    Args:
        engine: the Docker engine.
        image: what to run.
        command: arguments, as after ``docker run IMAGE``.
        models: directory mounted at `MODELS`, not writable.
        port: the port that the server in it listens on.
        options: as of `docker.models.containers.ContainerCollection.run`.
    """

    def __init__(
        self,
        engine: DockerClient,
        image: str,
        *command: str,
        models: Path | None = None,
        port: int = 8080,
        **options: Any,
    ) -> None:
        self.engine = engine
        self.port = port
        volumes = dict(options.pop("volumes", {}))
        if models:
            volumes[str(models)] = {"bind": MODELS, "mode": "ro"}
        published = {f"{each}/tcp": ("127.0.0.1", None) for each in (port, 8082)}
        self.inside = options.get("network_mode") == "none"
        self.started = time.time()
        self.docker = engine.containers.create(
            image,
            list(command) or None,
            volumes=volumes,
            ports={} if self.inside else published,
            labels={"mme-test": "1"},
            **options,
        )
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, for the first time or again: its published ports are others then."""
        self.docker.start()
        self.docker.reload()
        self.client = self.new_client()

    def new_client(self) -> httpx.Client:
        """A client of the server, which no other thread uses."""
        url = f"http://127.0.0.1:{self.published(self.port) or self.port}"
        return httpx.Client(base_url=url, timeout=60, trust_env=False)

    def close(self) -> None:
        """Print the log, and remove the container whatever state it is in."""
        with suppress(AttributeError):
            self.client.close()
        with suppress(APIError):
            print(f"log of {self.docker.name}:\n{self.log_text()[-4_000:]}")  # noqa: T201
        with suppress(NotFound):
            self.docker.remove(force=True, v=True)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- The container ---------------------------------------------------------------------------

    def published(self, port: int) -> int | None:
        """The port on 127.0.0.1 that leads to `port`; None if it is not published, or has ended."""
        bound = self.docker.ports.get(f"{port}/tcp")
        return int(bound[0]["HostPort"]) if bound else None

    @property
    def state(self) -> dict[str, Any]:
        """The engine's State of it, fresh."""
        self.docker.reload()
        return dict(self.docker.attrs["State"])

    def log_text(self, stdout: bool = True, stderr: bool = True) -> str:
        """What it has written until now."""
        return self.docker.logs(stdout=stdout, stderr=stderr).decode(errors="replace")

    def logs(self, **fields: Any) -> list[dict[str, Any]]:
        """The JSON lines of its log that have these fields."""
        lines = []
        for text in self.log_text(stdout=False).splitlines():
            with suppress(json.JSONDecodeError):
                line = json.loads(text)
                if isinstance(line, dict) and fields.items() <= line.items():
                    lines.append(line)
        return lines

    def wait(self, within: float = 60) -> int:
        """Wait for its end and return the exit status."""
        return int(self.docker.wait(timeout=within)["StatusCode"])

    def stop(self, within: int = 10) -> int:
        """What `docker stop` does: SIGTERM, and SIGKILL after `within` seconds."""
        self.docker.stop(timeout=within)
        return self.wait()

    def run_inside(self, *command: str, user: str = "") -> str:
        """Run a program in it that must succeed, and return its standard output."""
        status, (output, errors) = self.docker.exec_run(list(command), demux=True, user=user)
        assert status == 0, (command, (errors or b"").decode()[-2000:])
        return (output or b"").decode()

    def processes(self, pss: bool = False) -> list[Process]:
        """All processes in it but the one that looks; `pss` takes its time."""
        code = _PROCESSES.replace("{smaps}", str(pss))
        return [Process(**each) for each in json.loads(self.run_inside("python3", "-c", code))]

    def oom_kills(self) -> list[dict[str, Any]]:
        """Times that the kernel ended one of its processes for memory, by the engine's events."""
        events = self.engine.events(
            since=int(self.started) - 1,
            until=int(time.time()) + 1,
            filters={"container": self.docker.id, "event": "oom"},
            decode=True,
        )
        return list(events)

    # -- HTTP ------------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request: over the published port, or from inside if there is no network."""
        if not self.inside:
            return self.client.request(method, path, content=body, headers=dict(headers or {}))
        encoded = base64.b64encode(body.encode() if isinstance(body, str) else body).decode()
        request = json.dumps([self.port, method, path, dict(headers or {}), encoded])
        answer = json.loads(self.run_inside("python3", "-c", _ASK, request))
        sent = httpx.Request(method, f"http://127.0.0.1:{self.port}{path}")
        return httpx.Response(answer[0], headers=answer[1], text=answer[2], request=sent)

    def healthy(self) -> bool:
        """Whether ``/ping`` and ``/models`` both answer 200."""
        try:
            return all(self.send("GET", path).status_code == 200 for path in ("/ping", "/models"))
        except (httpx.TransportError, AssertionError):
            return False

    def wait_ready(self) -> Container:
        """Wait until it is healthy, and says so: it has all its processes and its metrics then."""

        def ready() -> bool:
            if self.healthy() and "mme ready" in self.log_text(stderr=False):
                return True
            state = self.state
            assert state["Running"], f"ended with {state['ExitCode']}: {self.log_text()}"
            return False

        until(ready, _START_WITHIN, "/ping and /models with 200")
        return self

    def load(self, name: str, url: str | None = None) -> httpx.Response:
        """POST /models, as SageMaker sends it."""
        body = {"model_name": name, "url": url or f"{MODELS}/{name}/model"}
        kind = {"content-type": "application/json"}
        return self.send("POST", "/models", json.dumps(body), kind)

    def add(self, model: Model) -> Model:
        """Load a model that must load."""
        response = self.load(model.name)
        assert response.status_code == 200, response.text
        return model

    def invoke(
        self,
        name: str,
        body: bytes | str,
        content_type: str = "text/csv",
        accept: str = "application/json",
    ) -> httpx.Response:
        """POST /models/{name}/invoke."""
        headers = {"content-type": content_type, "accept": accept}
        return self.send("POST", f"/models/{name}/invoke", body, headers)

    def unload(self, name: str) -> httpx.Response:
        """DELETE /models/{name}."""
        return self.send("DELETE", f"/models/{name}")

    def get(self, name: str) -> httpx.Response:
        """GET /models/{name}."""
        return self.send("GET", f"/models/{name}")

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """GET /models, page after page; each is its list of models."""
        query: dict[str, Any] = {"limit": 100}
        while True:
            page = self.send("GET", f"/models?{urlencode(query)}").raise_for_status().json()
            yield page["models"]
            if not page.get("nextPageToken"):
                return
            query["next_page_token"] = page["nextPageToken"]

    def names(self) -> set[str]:
        """The names of all models that the server knows."""
        return {model["modelName"] for page in self.pages() for model in page}

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        text = httpx.get(f"http://127.0.0.1:{self.published(8082)}/metrics", timeout=30).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def assert_answers(container: Container, model: Model, rows: np.ndarray) -> None:
    """The model answers what XGBoost itself does, to the bit."""
    response = container.invoke(model.name, csv_of(rows), accept="text/csv")
    assert response.status_code == 200, response.text
    answered = np.array([np.float32(line) for line in response.text.split()])
    assert np.array_equal(answered, model.predict(rows)), model.name
