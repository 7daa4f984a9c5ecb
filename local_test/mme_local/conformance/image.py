"""What an image says about itself and what is in it: nothing is run."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, Final, cast

from docker.errors import APIError

from mme_local.conformance import clauses
from mme_local.conformance.container import MIB, new_name
from mme_local.conformance.registry import Doubtful, Seen, Unasked, check, expect
from mme_local.conformance.target import Target

CAPABILITIES: Final = "com.amazonaws.sagemaker.capabilities"
DOCKER_V2: Final = "application/vnd.docker.distribution.manifest.v2+json"

_DRIVER: Final = ("libcuda.so", "libnvidia-ml.so", "libnvidia-ptxjitcompiler.so", "nvidia.ko")
_NOT_A_DRIVER: Final = {"stubs", "compat"}  # directories of CUDA: to link with, to bridge versions


def _config(target: Target) -> dict[str, Any]:
    return dict(target.image()["Config"])


def _expect_label(target: Target, name: str) -> str:
    label = f"{CAPABILITIES}.{name}"
    labels = _config(target).get("Labels") or {}
    expect(labels.get(label) == "true", f"{label} is {labels.get(label, 'not there')!s}")
    return f"{label}=true"


@check("image.label-multi-models", clauses.LABEL, "the label multi-models=true")
def label_multi_models(target: Target) -> str:
    """CreateModel looks for it."""
    return _expect_label(target, "multi-models")


@check(
    "image.label-bind-to-port",
    clauses.BIND_TO_PORT,
    "the label accept-bind-to-port=true, without which it is refused in inference pipelines",
    advisory=True,
)
def label_bind_to_port(target: Target) -> str:
    """An inference pipeline needs it."""
    return _expect_label(target, "accept-bind-to-port")


@check("image.manifest", clauses.MANIFEST, f"the registry's manifest is {DOCKER_V2}")
def manifest(target: Target) -> str:
    """What `docker push` left in the registry; the engine asks with its own credentials."""
    target.image()
    if not target.registry:
        raise Unasked("push the image, and say where to with --registry HOST/REPOSITORY:TAG")
    try:
        found = target.engine.images.get_registry_data(target.registry)
    except APIError as error:
        raise Unasked(f"the engine cannot ask {target.registry}: {error.explanation}") from error
    kind = str(found.attrs["Descriptor"]["mediaType"])
    expect(kind == DOCKER_V2, f"{target.registry} is {kind}")
    return kind


@check("image.entrypoint", clauses.ENTRYPOINT, "an ENTRYPOINT in exec form, not tini's")
def entrypoint(target: Target) -> str:
    """Only then do signals reach the server."""
    words = _config(target).get("Entrypoint") or []
    if not words:
        return "no ENTRYPOINT: `serve` itself is the program"
    first = PurePosixPath(words[0]).name
    shell = first in {"sh", "bash", "dash", "ash"} and words[1:2] == ["-c"]
    expect(not shell, f"shell form: {words}")
    expect(first != "tini", f"tini is the entry point: {words}")
    return f"ENTRYPOINT {words}"


@check("image.port", clauses.PORT, "EXPOSE 8080", advisory=True)
def exposed_port(target: Target) -> str:
    """A declaration only: what listens is seen by starting it."""
    ports = sorted(_config(target).get("ExposedPorts") or {})
    expect("8080/tcp" in ports, f"exposed: {', '.join(ports) or 'nothing'}")
    return ", ".join(ports)


@check("image.user", clauses.ROOT, "the image's USER is root")
def user(target: Target) -> str:
    """Permissions of /opt/ml are made for root."""
    name = _config(target).get("User") or "root"
    expect(name.split(":")[0] in ("root", "0"), f"USER {name}")
    return f"USER {name}"


@check("image.no-driver", clauses.DRIVERS, "no file of an NVIDIA driver")
def no_driver(target: Target) -> str:
    """The driver comes from the host."""
    target.image()
    container = target.engine.containers.create(target.name, ["serve"], name=new_name())
    try:
        names = (member.name for member in _members(container.export(chunk_size=MIB)))
        found = [name for name in names if _is_driver(name)]
    finally:
        container.remove(force=True)
    expect(not found, f"/{', /'.join(found[:3])}")
    return "none"


@check("image.size", clauses.SIZE, "is told")
def size(target: Target) -> str:
    """Above 2 GB a new instance is late."""
    taken = target.image()["Size"]
    text = f"{taken / 1e6:,.0f} MB unpacked"
    if taken > 10e9:
        raise Doubtful(text)
    return text


def _is_driver(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name.startswith(_DRIVER) and not _NOT_A_DRIVER & set(path.parts)


def _members(chunks: Iterator[bytes]) -> Iterator[tarfile.TarInfo]:
    """The members of a tar that comes in pieces, without keeping their contents."""
    try:
        with tarfile.open(fileobj=cast(IO[bytes], _Stream(chunks)), mode="r|") as tar:
            yield from tar
    except tarfile.TarError as error:
        raise Seen(f"the engine's export of it cannot be read: {error}") from error


class _Stream:
    """As much of a file as tarfile reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, count: int) -> bytes:
        """Exactly so many bytes, or what is left."""
        parts, length = [self._rest], len(self._rest)
        while length < count and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            length += len(chunk)
        data = b"".join(parts)
        self._rest = data[count:]
        return data[:count]
