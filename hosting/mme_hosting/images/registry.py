"""A registry of images over HTTP: what a tag leads to there.

https://distribution.github.io/distribution/spec/api/
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from mme_hosting.errors import HostingError

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
"""The only media type that CreateModel is known to take."""

_ACCEPTED: Final = (
    DOCKER_MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*)(?P<port>:\d{1,5})?")
_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password for one registry."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a tag or a digest leads to."""

    digest: str
    media_type: str
    config: str | None
    """Digest of the image's configuration, where it is the manifest of one image."""


class Registry:
    """A registry.

    Args:
        address: host and port, as in the name of an image. The registry is asked by HTTPS, and on
            loopback, or where ``http://`` stands before the host, by HTTP, as Docker does it.
        login: for a registry that wants one.

    Raises:
        HostingError: `address` is none.
    """

    def __init__(self, address: str, login: Login | None = None) -> None:
        scheme, _, host = address.rpartition("://")
        match = _HOST.fullmatch(host)
        if scheme not in ("", "http", "https") or not match:
            raise HostingError(
                f"{address!r} is not the address of a registry: write its host and port alone, "
                "such as registry.example.com:5000"
            )
        if host != "localhost" and "." not in host and not match["port"]:
            raise HostingError(
                f"Docker would take {host!r} for a user of Docker Hub: add the port, as {host}:443"
            )
        self.host = host
        self.login = login
        self._local = match["name"] == "localhost" or match["name"].startswith("127.")
        self._scheme = scheme or ("http" if self._local else "https")

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """What a tag or a digest leads to; None if there is no such thing.

        Raises:
            HostingError: the registry does not answer, or does not let it be read.
        """
        response = self._get(repository, "manifests", reference)
        return _read(response) if response else None

    def configuration(self, repository: str, digest: str) -> dict[str, Any]:
        """The configuration of an image, whose digest its manifest has: labels, platform.

        https://github.com/opencontainers/image-spec/blob/main/config.md

        Raises:
            HostingError: the registry does not answer, does not have it, or has something else.
        """
        response = self._get(repository, "blobs", digest)
        try:
            if response and f"sha256:{hashlib.sha256(response.content).hexdigest()}" == digest:
                return dict(json.loads(response.content))
        except (ValueError, TypeError):
            pass
        raise HostingError(
            f"the registry {self.host} does not have the configuration {digest} of an image of "
            f"{repository}: push it again"
        )

    def _get(self, repository: str, kind: str, reference: str) -> httpx.Response | None:
        """What the registry has; None if that is nothing.

        Raises:
            HostingError: it does not answer, or does not let it be read.
        """
        url = f"{self._scheme}://{self.host}/v2/{repository}/{kind}/{reference}"
        response = self._send(url, repository, redirected=kind == "blobs")
        if response.status_code == 404:
            return None
        if response.status_code in (401, 403):
            raise HostingError(
                f"the registry {self.host} does not let {repository} be read "
                f"({response.status_code}): {self._advice()}"
            )
        if response.status_code != 200:
            raise HostingError(
                f"the registry {self.host} answers {response.status_code} for "
                f"{repository}:{reference}: try again, and then ask those who run it"
            )
        return response

    def _send(self, url: str, repository: str, redirected: bool) -> httpx.Response:
        """`redirected` follows to where ECR keeps blobs, which is S3; the login stays here."""
        try:
            with httpx.Client(
                timeout=_SECONDS, trust_env=not self._local, follow_redirects=redirected
            ) as client:
                headers = {"Accept": ", ".join(_ACCEPTED)}
                return client.get(url, headers=headers, auth=_Challenge(self.login))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HostingError(
                f"the registry {self.host} cannot be asked for {repository} "
                f"({str(error) or type(error).__name__}): check its address and the network"
            ) from None

    def _advice(self) -> str:
        if self.login and self.login.username == "AWS":
            return "allow your user or role ecr:BatchGetImage on the repository"
        return f"log in with `docker login {self.host}`"


class _Challenge(httpx.Auth):
    """Answers a registry's challenge: with name and password, or with a token got for them.

    https://distribution.github.io/distribution/spec/auth/token/
    """

    requires_response_body = True

    def __init__(self, login: Login | None) -> None:
        self._basic = httpx.BasicAuth(login.username, login.password) if login else None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code != 401:
            return
        kind, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
        if kind.lower() == "basic" and self._basic:
            yield from self._basic.auth_flow(request)
        elif kind.lower() == "bearer":
            answer = yield self._token_request(dict(re.findall(r'(\w+)="([^"]*)"', rest)))
            if token := _token(answer):
                request.headers["Authorization"] = f"Bearer {token}"
            yield request  # also without a token: what is answered last is taken for the manifest

    def _token_request(self, challenge: dict[str, str]) -> httpx.Request:
        where = challenge.pop("realm", "")
        request = httpx.Request("GET", where, params=challenge)
        return next(self._basic.auth_flow(request)) if self._basic else request


def _token(answer: httpx.Response) -> str | None:
    try:
        said: dict[str, str] = answer.json() if answer.status_code == 200 else {}
        return said.get("token") or said.get("access_token")
    except (ValueError, AttributeError):
        return None


def _read(response: httpx.Response) -> Manifest:
    digest = f"sha256:{hashlib.sha256(response.content).hexdigest()}"
    said = response.headers.get("Docker-Content-Digest", digest)
    if said != digest:
        raise HostingError(
            f"{response.url} is not what the registry says it is: its digest is {digest}, and "
            f"not {said}: push it again"
        )
    try:
        content: dict[str, Any] = json.loads(response.content)
        config = content.get("config", {}).get("digest")
    except (ValueError, AttributeError):
        raise HostingError(f"{response.url} is not the manifest of an image") from None
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return Manifest(digest, media_type, config)
