"""A container of the image under test: started as SageMaker does, watched, and always removed."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from docker import DockerClient
from docker.errors import APIError

from mme_local.conformance.models import Models, Payload
from mme_local.conformance.registry import Seen, Unasked
from mme_local.conformance.server import Server

ENVIRONMENT: Final[Mapping[str, str]] = {
    "SAGEMAKER_MULTI_MODEL": "true",
    "SAGEMAKER_SAFE_PORT_RANGE": "25000-25999",
}
"""What a multi-model endpoint sets."""
HOSTNAME: Final = "model.aws.local"
PREFIX: Final = "mme-conformance-"
"""Names of containers and networks begin so; the id of the process that made them follows."""
MIB: Final = 1 << 20
STOP_WITHIN: Final = 30
"""Seconds between SIGTERM and SIGKILL."""


_EVERY_STAT: Final = (
    'for file in /proc/[0-9]*/stat; do read -r line < "$file" && echo "$line"; done 2>/dev/null'
)
"""Of the shell's own commands: many images have no ps."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container takes: bytes without what can be taken back, and processes and threads."""

    memory: int
    tasks: int


class Container:
    """A running container, and the server in it; `close` removes it whatever state it is in.

    Args:
        engine: the Docker engine.
        image: name of the image.
        models: what it is given as /opt/ml/models, not writable.
        payload: what to send them.
        environment: besides what SageMaker sets.
        port: port that the server is to listen on.
        offline: without a way out; the host reaches it by its own address then.
        start_within: seconds until it must be healthy.
        options: more of `docker.models.containers.ContainerCollection.create`.

    Raises:
        Seen: it does not become healthy; the message has the end of its log.
    """

    def __init__(
        self,
        engine: DockerClient,
        image: str,
        models: Models,
        payload: Payload,
        *,
        environment: Mapping[str, str],
        port: int = 8080,
        offline: bool = False,
        start_within: float,
        **options: Any,
    ) -> None:
        self._engine = engine
        self._stack = ExitStack()
        name = new_name()
        if offline:
            options["network"] = name
        else:
            options["ports"] = {f"{port}/tcp": ("127.0.0.1", None)}
        try:
            self._network = self._make_network(name) if offline else None
            self._docker = engine.containers.create(
                image,
                ["serve"],
                name=name,
                hostname=HOSTNAME,
                environment={**ENVIRONMENT, **environment},
                volumes={str(models.root): {"bind": models.seen_at, "mode": "ro"}},
                **options,
            )
            self._stack.callback(self._docker.remove, force=True, v=True)
            self.started = time.time()
            self._docker.start()
            self._docker.reload()
            self.server = Server(self._url(port), models, payload)
            self._stack.callback(self.server.close)
            self.start_seconds = self._wait_healthy(start_within)
        except APIError as error:
            self.close()
            raise Seen(f"the engine does not start it: {error.explanation}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the container and its network."""
        self._stack.close()

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- What it is and does ---------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """The engine's State of it, fresh."""
        self._docker.reload()
        return dict(self._docker.attrs["State"])

    def usage(self) -> Usage:
        """What it takes now."""
        stats = self._docker.stats(stream=False)
        memory = stats["memory_stats"]
        details = memory.get("stats", {})
        inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
        return Usage(memory.get("usage", 0) - inactive, stats["pids_stats"].get("current", 0))

    def zombies(self) -> list[str]:
        """Names of processes in it that have ended, and that nobody waits for.

        The engine's own list of processes has none of them: it is the control group's.

        Raises:
            Unasked: there is no shell in the image to look with.
        """
        found = re.findall(r"^\d+ \((.*)\) Z ", self._shell(_EVERY_STAT), re.MULTILINE)
        return sorted(found)

    def oom_kills(self) -> int:
        """How often the kernel ended one of its processes for memory."""
        events = self._engine.events(
            since=int(self.started) - 1,
            until=int(time.time()) + 1,
            filters={"container": self._docker.id, "event": "oom"},
            decode=True,
        )
        return len(list(events))

    def make_orphan(self) -> None:
        """Leave a process in it without its parent, which ends soon.

        Raises:
            Unasked: there is no shell in the image to make it with.
        """
        self._shell("(sleep 0.2 &)")

    def _shell(self, script: str) -> str:
        try:
            status, output = self._docker.exec_run(["/bin/sh", "-c", script])
        except APIError as error:
            raise Seen(f"the engine runs nothing in it: {error.explanation}") from error
        if status in (126, 127):
            raise Unasked("the image has no /bin/sh, by which to look for zombies")
        return str(output.decode(errors="replace"))

    def stop(self) -> int:
        """What SageMaker does: SIGTERM, SIGKILL later. Return the exit status; 137 is SIGKILL."""
        self._docker.stop(timeout=STOP_WITHIN)
        return int(self._docker.wait(timeout=10)["StatusCode"])

    def log(self, characters: int = 300) -> str:
        """The end of what it has written, in one line."""
        with suppress(APIError):
            text = self._docker.logs(tail=20).decode(errors="replace")
            return " ".join(text.split())[-characters:]
        return ""

    # -- Starting --------------------------------------------------------------------------------

    def _make_network(self, name: str) -> Any:
        network = self._engine.networks.create(name, driver="bridge", internal=True)
        self._stack.callback(network.remove)
        return network

    def _url(self, port: int) -> str:
        settings = self._docker.attrs["NetworkSettings"]
        if self._network is not None:
            return f"http://{settings['Networks'][self._network.name]['IPAddress']}:{port}"
        bound = (settings["Ports"].get(f"{port}/tcp") or [{"HostPort": port}])[0]["HostPort"]
        return f"http://127.0.0.1:{bound}"

    def _wait_healthy(self, within: float) -> float:
        """Seconds until ``/ping`` and ``/models`` were 200."""
        started = time.monotonic()
        while not self.server.healthy():
            seconds = time.monotonic() - started
            state = self.state
            if not state["Running"]:
                status = state["ExitCode"]
                raise Seen(f"ended with status {status} after {seconds:.0f} s: {self.log()}")
            if seconds > within:
                raise Seen(f"/ping and /models not 200 within {within:.0f} s: {self.log()}")
            time.sleep(0.1)
        return time.monotonic() - started


def new_name() -> str:
    """A name for a container or a network that nobody else has."""
    return f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
