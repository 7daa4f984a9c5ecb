"""What the checks are put to: containers of an image, or a server that runs already."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

import docker
from docker import DockerClient

from mme_local.conformance.container import Container
from mme_local.conformance.models import Models, Payload, copied
from mme_local.conformance.registry import Seen, Unasked, expect
from mme_local.conformance.server import Server

T = TypeVar("T")

ML_MODELS: Final = "/opt/ml/models"


class Target(ABC):
    """A target. Checks may keep things with it by `once`, and share servers.

    Args:
        payload: what the models are sent.
    """

    name: str
    """What a report calls it."""
    memory: int = 0
    """Bytes for a container whose memory is to be filled."""
    registry: str | None = None
    """Where the image was pushed to, as ``host/repository:tag``."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self._kept: dict[str, Any] = {}

    @abstractmethod
    def server(self) -> Server:
        """A server with none of the suite's models loaded."""

    def container(self) -> Container:
        """The same, as the container that it runs in.

        Raises:
            Unasked: it is not known which.
        """
        raise Unasked(f"{self.name} is a URL: this is asked of --image")

    def start(self, **options: Any) -> AbstractContextManager[Container]:
        """A container for this check alone; `options` as of `Container`.

        Raises:
            Unasked: there is no image.
        """
        raise Unasked(f"{self.name} is a URL: this is asked of --image")

    def image(self) -> dict[str, Any]:
        """What the engine says of the image.

        Raises:
            Unasked: there is no image.
        """
        raise Unasked(f"{self.name} is a URL: this is asked of --image")

    @property
    def engine(self) -> DockerClient:
        """The Docker engine.

        Raises:
            Unasked: none is needed for this target.
        """
        raise Unasked(f"{self.name} is a URL: this is asked of --image")

    @abstractmethod
    def first_start(self) -> float:
        """Seconds that it took to become healthy, without a model.

        Raises:
            Seen: it does not.
        """

    def once(self, what: str, make: Callable[[Target], T]) -> T:
        """What `make` returns, or raises: made for the first check that asks, kept for others."""
        if what not in self._kept:
            try:
                self._kept[what] = make(self)
            except Seen as error:
                self._kept[what] = error
        kept = self._kept[what]
        if isinstance(kept, Seen):
            raise type(kept)(*kept.args)
        return kept  # type: ignore[no-any-return]

    @abstractmethod
    def close(self) -> None:
        """Stop and remove what was started and written."""

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class UrlTarget(Target):
    """A server at a URL.

    Args:
        url: as ``http://127.0.0.1:8080``.
        given: models that it can load, as it sees them; without, the suite writes its own to a
            temporary directory, which a server on this machine can see.
        payload: what the models are sent.
    """

    def __init__(self, url: str, given: list[Path], payload: Payload) -> None:
        super().__init__(payload)
        self.name = url
        self._root = None if given else _scratch()
        self._server = Server(url, Models(str(self._root or ""), self._root, given), payload)

    def server(self) -> Server:
        """The server, after what was left of the last check was unloaded."""
        self._server.clear()
        return self._server

    def first_start(self) -> float:
        """It runs already: nothing to wait for."""
        for path in ("/ping", "/models"):
            answer = self._server.send("GET", path)
            expect(answer.status == 200, f"GET {path}: {answer}")
        return 0.0

    def close(self) -> None:
        """Leave the server as it was found."""
        with contextlib.suppress(Seen):
            self._server.clear()
        self._server.close()
        if self._root:
            shutil.rmtree(self._root, ignore_errors=True)


class ImageTarget(Target):
    """Containers of an image.

    Args:
        name: name of the image, which the engine has.
        given: models, as directories or archives on this machine; without, the suite's own.
        payload: what the models are sent.
        environment: for every container, besides what SageMaker sets.
        memory: bytes for a container whose memory is to be filled.
        start_within: seconds until a container must be healthy.
        registry: where the image was pushed to.

    Raises:
        docker.errors.DockerException: there is no engine, or it has no such image.
        mme_training.archives.pack.ArchiveError: a given archive is none, or unsafe.
    """

    def __init__(
        self,
        name: str,
        given: list[Path],
        payload: Payload,
        *,
        environment: Mapping[str, str],
        memory: int,
        start_within: float,
        registry: str | None = None,
    ) -> None:
        super().__init__(payload)
        self.name, self.memory, self.registry = name, memory, registry
        self._environment = environment
        self._start_within = start_within
        self._engine = docker.from_env(timeout=600)
        self._shared: Container | None = None
        self._root = _scratch()
        try:
            self._image = dict(self._engine.images.get(name).attrs)
            artifacts = copied(given, self._root / ".given")
        except BaseException:
            self.close()
            raise
        self.models = Models(ML_MODELS, self._root, artifacts)

    @property
    def engine(self) -> DockerClient:
        """The Docker engine."""
        return self._engine

    def image(self) -> dict[str, Any]:
        """What the engine says of the image."""
        return self._image

    def server(self) -> Server:
        """The server in the shared container."""
        return self.container().server

    def first_start(self) -> float:
        """Start the first container, which is shared then."""

        def start(target: Target) -> float:
            self._shared = self._make()
            return self._shared.start_seconds

        return self.once("first start", start)

    def container(self) -> Container:
        """The shared container, or another one if that has ended or keeps what was unloaded."""
        self._require_start()
        if self._shared and not self._usable(self._shared):
            self._shared.close()
            self._shared = None
        if self._shared is None:
            self._shared = self._make()
        return self._shared

    @contextlib.contextmanager
    def start(self, **options: Any) -> Iterator[Container]:
        """A container for this check alone."""
        self._require_start()
        with self._make(**options) as container:
            yield container

    def close(self) -> None:
        """Remove the shared container and all that was written."""
        if self._shared:
            self._shared.close()
        self._engine.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def _make(self, **options: Any) -> Container:
        environment = {**self._environment, **options.pop("environment", {})}
        return Container(
            self._engine,
            self.name,
            self.models,
            self.payload,
            environment=environment,
            start_within=self._start_within,
            **options,
        )

    def _require_start(self) -> None:
        """Not to wait again and again for what has not started once."""
        try:
            self.first_start()
        except Seen as error:
            raise Unasked("no container of it becomes healthy: see start.healthy") from error

    def _usable(self, container: Container) -> bool:
        try:
            container.server.clear()
            return container.server.healthy() and not container.server.listed()
        except Seen:
            return False


def _scratch() -> Path:
    """A directory that a server of any user can read."""
    directory = Path(tempfile.mkdtemp(prefix="mme-conformance-"))
    directory.chmod(0o755)
    return directory
