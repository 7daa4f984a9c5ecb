"""Pushes what a plan says, and reads back from the registry what has arrived there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from docker.errors import DockerException
from requests.exceptions import RequestException

from mme_hosting.errors import HostingError
from mme_hosting.images.checks import check_manifest
from mme_hosting.images.plan import Plan, Step
from mme_hosting.images.registry import Login, Manifest
from mme_hosting.images.target import Target

_TO_PUSH: Final = (
    "ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, "
    "ecr:BatchCheckLayerAvailability, ecr:PutImage and ecr:BatchGetImage"
)


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in the registry; `status` says whether it was there before."""

    image: str
    variant: str
    uri: str
    """By its tag."""
    digest: str
    status: Literal["pushed", "present"]

    @property
    def fixed_uri(self) -> str:
        """By its digest, so that it cannot lead to another image."""
        return f"{self.uri.rpartition(':')[0]}@{self.digest}"


def push(
    plan: Plan, engine: Any, on_progress: Callable[[str, int, int], None] = lambda *_: None
) -> Iterator[Pushed]:
    """Push what is not yet there; run again, it goes on.

    Args:
        plan: what to push, and where.
        engine: the Docker engine.
        on_progress: is told the tag, the bytes sent, and those to be sent as far as is known.

    Yields:
        Each image once the registry has it as SageMaker takes it.

    Raises:
        HostingError: the repository cannot be created, the engine or the registry refuses, or what
            has arrived is not of the type that SageMaker takes.
    """
    plan.target.create()
    for step in plan.steps:
        if step.action == "present" and step.found:
            yield _result(plan.target, step, step.found, "present")
        else:
            digest = _send(plan.target, step, engine, on_progress)
            yield _result(plan.target, step, read_back(plan.target, step.tag, digest), "pushed")


def read_back(target: Target, tag: str, digest: str | None = None) -> Manifest:
    """What has arrived under a tag; `digest` is what the engine says that it sent.

    Raises:
        HostingError: nothing has, or something else, or not of the type that SageMaker takes.
    """
    where = f"{target}:{tag}"
    manifest = target.registry.manifest(target.name, tag)
    if manifest is None:
        raise HostingError(f"{where} was pushed, and is not there: push it again")
    check_manifest(manifest, where)
    if digest and manifest.digest != digest:
        raise HostingError(
            f"{where} is {manifest.digest} now, and {digest} was pushed: somebody else pushes "
            "the same tag; agree on one, and push it again"
        )
    return manifest


def _result(
    target: Target, step: Step, manifest: Manifest, status: Literal["pushed", "present"]
) -> Pushed:
    uri = f"{target}:{step.tag}"
    return Pushed(step.image.name, step.image.variant, uri, manifest.digest, status)


def _send(
    target: Target, step: Step, engine: Any, on_progress: Callable[[str, int, int], None]
) -> str | None:
    """Push one image; the digest that the engine says it has there."""
    layers: dict[str, tuple[int, int]] = {}
    digest = None
    try:
        engine.api.tag(step.image.id, str(target), step.tag, force=True)
        for event in engine.api.push(
            str(target),
            step.tag,
            stream=True,
            decode=True,
            auth_config=_credentials(target.registry.login),
        ):
            if error := event.get("error"):
                raise _explain(str(error), target, step.tag)
            digest = (event.get("aux") or {}).get("Digest", digest)
            if detail := event.get("progressDetail"):
                current, total = detail.get("current", 0), detail.get("total", 0)
                layers[event.get("id", "")] = min(current, total) if total else current, total
                sent, expected = map(sum, zip(*layers.values(), strict=True))
                on_progress(step.tag, sent, expected)
    except (DockerException, RequestException) as error:
        raise _explain(str(error), target, step.tag) from None
    return digest


def _credentials(login: Login | None) -> dict[str, str] | None:
    """As the engine wants them; None leaves it to what ``docker login`` has left."""
    return {"username": login.username, "password": login.password} if login else None


def _explain(said: str, target: Target, tag: str) -> HostingError:
    what = f"pushing {target}:{tag} failed: {said.strip()}."
    lower = said.lower()
    if "immutable" in lower or "cannot be overwritten" in lower:
        return HostingError(f"{what} Raise the version and build again, or give another --tag.")
    if any(word in lower for word in ("denied", "authoriz", "authentic", "no basic auth")):
        if target.ecr:
            return HostingError(
                f"{what} Allow your user or role {_TO_PUSH} on the repository {target.name}."
            )
        return HostingError(f"{what} Log in with `docker login {target.registry.host}`.")
    if "server gave http response to https client" in lower:
        return HostingError(
            f"{what} Name the registry in the engine's insecure-registries, or give it TLS."
        )
    return HostingError(f"{what} Check the registry and the network; the same command goes on.")
