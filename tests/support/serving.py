"""A real `mme serve`: its process tree, its HTTP, its log and its metrics."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from support.models import Model

T = TypeVar("T")

_START_WITHIN = 60.0


def until(probe: Callable[[], T], within: float = 10.0, what: str = "the condition") -> T:
    """Call `probe` until it returns something true, and return that."""
    end = time.monotonic() + within
    while True:
        if result := probe():
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on, which MMS accepts: it takes no number above 32,766."""
    while True:
        port = random.randrange(15_000, 32_767)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


class Server:
    """One `mme serve` process tree.

    Args:
        directory: where its standard output and error go.
        args: further arguments of `mme serve`; `port` of None passes no ``--port``.
        env: further environment variables; None removes one.
    """

    def __init__(
        self,
        directory: Path,
        *args: str,
        port: int | None = 0,
        env: Mapping[str, str | None] | None = None,
        ready: bool = True,
    ) -> None:
        self.port = free_port() if port == 0 else port
        given = {"MME_METRICS_PORT": "0", "MME_ADDRESS": "127.0.0.1", **(env or {})}
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MME_", "SAGEMAKER_"))
        }
        environment.update({name: value for name, value in given.items() if value is not None})
        if self.port is None:
            self.port = int(environment["SAGEMAKER_BIND_TO_PORT"])
            port_args = []
        else:
            port_args = ["--port", str(self.port)]
        directory.mkdir(parents=True, exist_ok=True)
        self.stdout_path = directory / "stdout"
        self.log_path = directory / "stderr"
        self.run_directory = Path(tempfile.gettempdir()) / f"mme-{os.getuid()}-{self.port}"
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.ready_line = ""
        self.metrics_port = 0
        self._family: dict[int, psutil.Process] = {}
        with self.stdout_path.open("wb") as output, self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("mme")), "serve", *port_args, *args],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        if ready:
            try:
                self.wait_ready()
            except BaseException:
                self.close()
                raise

    def wait_ready(self) -> None:
        """Wait for the ready line and read the metrics port from it."""

        def line() -> str | None:
            text = self.stdout_path.read_text()
            if text.endswith("\n") and "mme ready" in text:
                return text.strip()
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.log_text()}")
            return None

        self.ready_line = until(line, _START_WITHIN, "the ready line") or ""
        self.metrics_port = int(self.ready_line.partition("metrics on port ")[2].split(",")[0])

    # -- HTTP ------------------------------------------------------------------------------------

    def load_response(self, name: str, path: Path | str, timeout: float = 60) -> httpx.Response:
        """POST /models, as SageMaker sends it."""
        body = {"model_name": name, "url": str(path)}
        return self.client.post("/models", json=body, timeout=timeout)

    def load(self, name: str, path: Path | str, timeout: float = 60) -> tuple[int, float]:
        """Load a model; return the status and the seconds it took."""
        started = time.perf_counter()
        response = self.load_response(name, path, timeout)
        return response.status_code, time.perf_counter() - started

    def add(self, model: Model) -> Model:
        """Load a model that must load."""
        response = self.load_response(model.name, model.path)
        assert response.status_code == 200, (response.text, self.log_text()[-4000:])
        return model

    def invoke(
        self,
        name: str,
        body: bytes | str,
        content_type: str | None = "text/csv",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> httpx.Response:
        """POST /models/{name}/invoke."""
        sent = {} if content_type is None else {"content-type": content_type}
        url = f"/models/{quote(name, safe='')}/invoke"
        sent.update(headers or {})
        return self.client.post(url, content=body, headers=sent, timeout=timeout)

    def unload(self, name: str) -> httpx.Response:
        """DELETE /models/{name}."""
        return self.client.delete(f"/models/{quote(name, safe='')}")

    def get(self, name: str) -> httpx.Response:
        """GET /models/{name}."""
        return self.client.get(f"/models/{quote(name, safe='')}")

    def pages(self, limit: int | None = None) -> Iterator[list[dict[str, Any]]]:
        """GET /models, page after page; each is its list of models."""
        params: dict[str, Any] = {} if limit is None else {"limit": limit}
        while True:
            page = self.client.get("/models", params=params).raise_for_status().json()
            yield page["models"]
            if not page.get("nextPageToken"):
                return
            params["next_page_token"] = page["nextPageToken"]

    def names(self) -> set[str]:
        """The names of all models that MMS knows."""
        return {model["modelName"] for page in self.pages() for model in page}

    def unload_all(self) -> None:
        """Unload every model."""
        for name in self.names():
            self.unload(name)

    # -- Metrics ---------------------------------------------------------------------------------

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Every sample by name, with its labels."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text
        samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        return samples

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 when there is none."""
        return sum(
            value
            for sample_labels, value in self.metrics().get(name, [])
            if labels.items() <= sample_labels.items()
        )

    # -- Log -------------------------------------------------------------------------------------

    def log_text(self) -> str:
        """All of standard error until now."""
        return self.log_path.read_text(errors="replace")

    def logs(self, **fields: Any) -> list[dict[str, Any]]:
        """The JSON lines that have these fields."""
        lines = []
        for text in self.log_text().splitlines():
            with suppress(json.JSONDecodeError):
                line = json.loads(text)
                if isinstance(line, dict) and fields.items() <= line.items():
                    lines.append(line)
        return lines

    def wait_log(self, within: float = 5, **fields: Any) -> dict[str, Any]:
        """The last JSON line that has these fields, once there is one."""
        return until(lambda: self.logs(**fields), within, f"a log line with {fields}")[-1]

    # -- Processes -------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id of `mme serve` itself."""
        return self.process.pid

    def pids(self) -> dict[str, list[int]]:
        """Process ids by role: server, java, zygote, hosts, isolated, launchers, other.

        All that is forked from the zygote has its command line. The zygote leads a session; an
        isolated worker leads a process group; a host neither.
        """
        roles: dict[str, list[int]] = {
            role: []
            for role in ("server", "java", "zygote", "hosts", "isolated", "launchers", "other")
        }
        roles["server"].append(self.pid)
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    self._family[process.pid] = process
                    roles[_role(process)].append(process.pid)
        return roles

    def census(self) -> dict[str, int]:
        """How many processes, threads and descriptors there are by role, and files of a run."""
        counts: dict[str, int] = {}
        for role, pids in self.pids().items():
            counts[f"{role} processes"] = len(pids)
            for kind, entries in (("threads", "task"), ("descriptors", "fd")):
                counts[f"{role} {kind}"] = sum(_count(Path(f"/proc/{p}/{entries}")) for p in pids)
        counts["files"] = sum(1 for _ in self.run_directory.rglob("*"))
        return counts

    def pss(self) -> int:
        """Bytes that the whole tree takes; what n processes share counts 1/n in each."""
        total = 0
        for pid in (pid for pids in self.pids().values() for pid in pids):
            with suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += next(
                    int(line.split()[1]) << 10
                    for line in text.splitlines()
                    if line.startswith("Pss:")
                )
        return total

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to `mme serve`."""
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, within: float = 20) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.pids()
            self.process.send_signal(number)
        return self.process.wait(within)

    def close(self) -> None:
        """End every process of the tree, and remove what it had in the temporary directory."""
        self.client.close()
        self.pids()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        # A process id alone may be another process's by now; psutil compares its start time too.
        for process in self._family.values():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(AssertionError):
            until(lambda: not any(map(_runs, self._family.values())), 5)
        shutil.rmtree(self.run_directory, ignore_errors=True)
        self.run_directory.with_suffix(".lock").unlink(missing_ok=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _count(directory: Path) -> int:
    try:
        return sum(1 for _ in directory.iterdir())
    except OSError:
        return 0


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    if "com.amazonaws.ml.mms.ModelServer" in words:
        return "java"
    if any(word.endswith("model_service_worker.py") for word in words):
        return "launchers"
    if "mme_handler.workers.zygote" not in words:
        return "other"
    if os.getsid(process.pid) == process.pid:
        return "zygote"
    return "isolated" if os.getpgid(process.pid) == process.pid else "hosts"
