"""Images that the tests of pushing are about, without an engine to hold them."""

from __future__ import annotations

from typing import Any

from docker.errors import ImageNotFound

LABELS = {
    "com.amazonaws.sagemaker.capabilities.multi-models": "true",
    "com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true",
    "org.opencontainers.image.version": "1.2.3",
    "org.opencontainers.image.revision": "a" * 40,
}


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


class FakeEngine:
    """Knows images by name, and says `events` to each push."""

    def __init__(self, **images: dict[str, Any]) -> None:
        self.known = images
        self.events: list[dict[str, Any]] = []
        self.tagged: list[tuple[str, str, str]] = []
        self.credentials: Any = None
        self.images = self.api = self

    def get(self, name: str) -> Any:
        if name.replace(":", "_") not in self.known:
            raise ImageNotFound("no such image")
        attributes = self.known[name.replace(":", "_")]
        return type("Image", (), {"id": attributes["Id"], "attrs": attributes})

    def tag(self, image: str, repository: str, tag: str, force: bool) -> None:
        self.tagged.append((image, repository, tag))

    def push(self, repository: str, tag: str, auth_config: Any, **_: Any) -> list[dict[str, Any]]:
        self.credentials = auth_config
        return self.events


def attributes(letter: str = "c", *environment: str, **changes: Any) -> dict[str, Any]:
    """What an engine says of an image; `changes` are of its attributes, `Labels` of its labels."""
    labels = {**LABELS, **changes.pop("Labels", {})}
    kept = {name: value for name, value in labels.items() if value is not None}
    return {
        "Id": digest(letter),
        "Os": "linux",
        "Architecture": "amd64",
        "Size": 852_000_000,
        "Config": {"Env": ["PATH=/usr/bin", *environment], "Labels": kept},
        **changes,
    }
