"""What is asked of an image: a good one passes, and a bad one fails, each check for itself."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator

import docker
import pytest
import uvicorn
from docker import DockerClient
from docker.errors import ImageNotFound
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mme_local.conformance.container import PREFIX
from mme_local.conformance.image import DOCKER_V2
from mme_local.conformance.models import Payload
from mme_local.conformance.registry import Result, Status
from mme_local.conformance.run import run, select
from mme_local.conformance.target import ImageTarget
from support.serving import free_port, until

pytestmark = pytest.mark.container

IMAGE = os.environ.get("MME_TEST_IMAGE", "xgboost-mme:cpu")
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
WRONG = f"""
FROM {IMAGE}
LABEL com.amazonaws.sagemaker.capabilities.multi-models=false
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=no
RUN touch /usr/lib/libcuda.so.550.54.15
USER 1000
ENTRYPOINT mme serve --port 8080
"""
# Its process 1 waits for nobody, and takes SIGTERM for nothing.
DEAF = f"""
FROM {IMAGE}
ENTRYPOINT ["python3", "-c", "import signal, subprocess, time; \\
    signal.signal(15, signal.SIG_IGN); subprocess.Popen(['mme', 'serve']); \\
    [time.sleep(1) for _ in iter(int, 1)]"]
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerClient]:
    client = docker.from_env(timeout=300)
    try:
        client.images.get(IMAGE)
    except ImageNotFound:
        pytest.fail(f"the engine has no image {IMAGE}: build it, or name it in MME_TEST_IMAGE")
    yield client
    assert left_over(client) == set()
    client.close()


def left_over(engine: DockerClient) -> set[str]:
    """What this process has started and not removed."""
    things = [*engine.containers.list(all=True), *engine.networks.list()]
    return {thing.name for thing in things if thing.name.startswith(f"{PREFIX}{os.getpid()}-")}


@pytest.fixture
def build(engine: DockerClient) -> Iterator:
    """Build an image from the text of a Dockerfile, and remove it in the end."""
    built = []

    def make(dockerfile: str) -> str:
        image, _ = engine.images.build(fileobj=io.BytesIO(dockerfile.encode()), rm=True)
        built.append(image.id)
        return image.id

    yield make
    for image in built:
        engine.images.remove(image, force=True)


def results_of(image: str, *checks: str, **options) -> dict[str, Result]:
    given = {"environment": {}, "memory": 1 << 30, "start_within": 60, **options}
    with ImageTarget(image, [], Payload(), **given) as target:
        return {result.check.id: result for result in run(target, select(checks))}


def bad(results: dict[str, Result], *statuses: str) -> dict[str, str]:
    return {id: each.seen for id, each in results.items() if each.status in statuses}


def test_what_an_image_says(engine):
    results = results_of(IMAGE, "image")
    assert bad(results, "fail", "warn") == {}
    assert set(bad(results, "skipped")) == {"image.manifest"}


def test_an_image_that_says_the_wrong_things(build):
    results = results_of(build(WRONG), "image")
    assert set(bad(results, "fail")) == {
        "image.label-multi-models",
        "image.entrypoint",
        "image.user",
        "image.no-driver",
    }
    assert set(bad(results, "warn")) == {"image.label-bind-to-port"}
    assert results["image.no-driver"].seen == "/usr/lib/libcuda.so.550.54.15"
    assert "/bin/sh" in results["image.entrypoint"].seen


def test_an_image_that_takes_no_other_port(build):
    script = "import os, sys; os.execvp('mme', ['mme', sys.argv[1], '--port', '8080'])"
    image = build(f'FROM {IMAGE}\nENTRYPOINT ["python3", "-c", "{script}"]\n')
    results = results_of(image, "start.healthy", "start.bind-to-port", start_within=15)
    assert results["start.healthy"].status is Status.PASS, results["start.healthy"].seen
    assert results["start.bind-to-port"].status is Status.FAIL
    assert "not 200 within 15 s" in results["start.bind-to-port"].seen


def test_one_start_that_fails_is_waited_for_once(build):
    image = build(f'FROM {IMAGE}\nENTRYPOINT ["sh", "-c", "echo no luck; exit 3"]\n')
    results = results_of(image, "start", "management.load", "memory", "signals")
    assert "ended with status 3" in results["start.healthy"].seen
    assert "no luck" in results["start.healthy"].seen
    del results["start.healthy"]
    assert {result.status for result in results.values()} == {Status.SKIPPED}
    assert all("see start.healthy" in result.seen for result in results.values())


@pytest.mark.slow
def test_a_first_process_that_is_deaf_and_waits_for_nobody(build):
    results = results_of(build(DEAF), "signals")
    assert set(bad(results, "fail")) == {"signals.sigterm", "signals.reap"}
    assert "had to be killed" in results["signals.sigterm"].seen
    assert "zombies" in results["signals.reap"].seen


@pytest.mark.slow
def test_a_container_in_every_confinement(engine):
    assert bad(results_of(IMAGE, "start"), "fail", "warn", "skipped") == {}


def test_signals(engine):
    assert bad(results_of(IMAGE, "signals"), "fail", "warn", "skipped") == {}


@pytest.mark.slow
def test_everything_but_a_full_memory(engine):
    environment = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "25"}
    checks = ("management", "invocation", "concurrency")
    results = results_of(IMAGE, *checks, environment=environment)
    assert bad(results, "fail", "warn", "skipped") == {}


@pytest.mark.slow
def test_a_full_memory(engine):
    assert bad(results_of(IMAGE, "memory"), "fail", "warn", "skipped") == {}


@pytest.mark.parametrize(("media_type", "status"), [(DOCKER_V2, "pass"), (OCI_INDEX, "fail")])
def test_the_manifest_in_a_registry(engine, media_type, status):
    """The engine asks it over HTTP, as it may on this machine."""
    with Registry(media_type) as host:
        result = results_of(IMAGE, "image.manifest", registry=f"{host}/models:1")["image.manifest"]
    assert result.status == status, result.seen
    assert media_type in result.seen


def test_a_registry_that_is_not_there(engine):
    results = results_of(IMAGE, "image.manifest", registry="127.0.0.1:9/models:1")
    assert results["image.manifest"].status is Status.SKIPPED
    assert "cannot ask 127.0.0.1:9/models:1" in results["image.manifest"].seen


class Registry:
    """A registry that has one manifest, of this type; `with` gives its host and port."""

    def __init__(self, media_type: str) -> None:
        body = b'{"schemaVersion": 2, "mediaType": "%s"}' % media_type.encode()
        headers = {"Docker-Content-Digest": f"sha256:{hashlib.sha256(body).hexdigest()}"}

        async def manifest(_: Request) -> Response:
            return Response(body, media_type=media_type, headers=headers)

        async def base(_: Request) -> Response:
            return Response(b"{}", headers={"Docker-Distribution-Api-Version": "registry/2.0"})

        self.port = free_port()
        routes = [Route("/v2/", base), Route("/v2/models/manifests/{reference}", manifest)]
        config = uvicorn.Config(Starlette(routes=routes), port=self.port, log_level="warning")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> str:
        self.thread.start()
        until(lambda: self.server.started)
        return f"127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)
