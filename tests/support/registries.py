"""Registries on loopback: Debian's docker-registry, and one that answers as it is told."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.serving import free_port, until

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# The password that moto's ECR gives out, as docker-registry keeps it.
ECR_LOGIN = "AWS:$2b$04$WksO5WycXM/uKoFP7UqCbOcH4vHQQN0CbjF1sxcriNlApKbX/F.kW"

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]


@contextmanager
def docker_registry(directory: Path, htpasswd: str | None = None) -> Iterator[str]:
    """Run the registry with its storage in `directory`; yield its host and port.

    Args:
        directory: for its configuration, its storage and its log.
        htpasswd: ``name:bcrypt hash`` of the one who may use it; by default anybody may.
    """
    program = shutil.which("docker-registry")
    if not program:
        pytest.fail(
            "these tests need a registry: apt-get install docker-registry, or leave them out "
            "with -m 'not container'",
            pytrace=False,
        )
    host = f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "http": {"addr": host},
    }
    if htpasswd:
        (directory / "htpasswd").write_text(f"{htpasswd}\n")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    file = directory / "config.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    with (directory / "log").open("w") as log:
        process = subprocess.Popen([program, "serve", str(file)], stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or _answers(host), 10, "an answer of the registry")
        assert process.poll() is None, (directory / "log").read_text()
        yield host
    finally:
        process.terminate()
        process.wait(10)


def _answers(host: str) -> bool:
    try:
        return httpx.get(f"http://{host}/v2/", trust_env=False).status_code in (200, 401)
    except httpx.TransportError:
        return False


@contextmanager
def fake_registry(answer: Answer) -> Iterator[str]:
    """Serve what `answer` returns to each GET: status, headers, body. Yield host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def put_oci_index(host: str, repository: str, tag: str) -> str:
    """Make an OCI index of the one image of `repository:tag` its content, as buildx would."""
    base = f"http://{host}/v2/{repository}/manifests"
    with httpx.Client(trust_env=False) as client:
        accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        image = client.get(f"{base}/{tag}", headers=accept).raise_for_status()
        entry = {
            "mediaType": image.headers["Content-Type"],
            "digest": f"sha256:{hashlib.sha256(image.content).hexdigest()}",
            "size": len(image.content),
            "platform": {"architecture": "amd64", "os": "linux"},
        }
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        answer = client.put(
            f"{base}/{tag}", content=json.dumps(index), headers={"Content-Type": OCI_INDEX}
        )
        return str(answer.raise_for_status().headers["Docker-Content-Digest"])


def put_image(
    host: str,
    repository: str,
    tag: str,
    configuration: dict[str, Any],
    login: tuple[str, str] | None = None,
    media_type: str = "application/vnd.docker.distribution.manifest.v2+json",
) -> str:
    """Push an image of no layers, without an engine; its digest."""
    base = f"http://{host}/v2/{repository}"
    config = json.dumps(configuration).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": digest,
            "size": len(config),
        },
        "layers": [],
    }
    with httpx.Client(trust_env=False, auth=login) as client:
        started = client.post(f"{base}/blobs/uploads/").raise_for_status()
        where = httpx.URL(started.headers["Location"]).copy_merge_params({"digest": digest})
        client.put(where, content=config).raise_for_status()
        answer = client.put(
            f"{base}/manifests/{tag}",
            content=json.dumps(manifest),
            headers={"Content-Type": media_type},
        )
        return str(answer.raise_for_status().headers["Docker-Content-Digest"])
