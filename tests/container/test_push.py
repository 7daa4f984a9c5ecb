"""Pushing with a real engine to a real registry, and the way back."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from typer.testing import CliRunner, Result

from mme_cli.main import app
from mme_hosting.images.checks import MULTI_MODELS
from mme_hosting.images.ecr import ADDRESS_VARIABLE
from mme_hosting.images.registry import DOCKER_MANIFEST
from support.aws import ACCOUNT, aws, reset
from support.container import Container
from support.images import LABELS
from support.registries import ECR_LOGIN, OCI_INDEX, docker_registry, put_oci_index
from support.trees import make_tree

pytestmark = pytest.mark.container

NAME = f"mme-push-test-{secrets.token_hex(4)}"


def push(*arguments: str) -> Result:
    given = ("push", *arguments, "--json")
    return CliRunner().invoke(app, given, env={"NO_COLOR": "1", "TERM": "dumb"})


def pushed(result: Result) -> dict:
    """What was said of the one image; it went well."""
    assert result.exit_code == 0, result.stderr
    (image,) = json.loads(result.stdout)["images"]
    return image


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def tiny(engine) -> Iterator[dict[str, str]]:
    """Images of one small file: one that could be pushed, and one without SageMaker's label."""
    names = {"good": f"{NAME}:good", "unlabelled": f"{NAME}:unlabelled"}
    for name, image in names.items():
        labels = {
            key: value for key, value in LABELS.items() if name == "good" or key != MULTI_MODELS
        }
        changes = [f'LABEL {key}="{value}"' for key, value in labels.items()]
        engine.api.import_image_from_data(
            archive(), repository=NAME, tag=image.partition(":")[2], changes=changes
        )
    yield names
    for image in names.values():
        engine.images.remove(image, force=True)


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch) -> Path:
    """Not in the tree of this project, whose state is no matter of these tests."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def untag(engine, registry) -> Iterator[None]:
    """Remove what a push has left in the engine."""
    yield
    for image in engine.images.list():
        for tag in image.tags:
            if tag.startswith("127.0.0.1:") and f"/{NAME}:" in tag:
                engine.images.remove(tag)


def manifest(registry: str, reference: str) -> httpx.Response:
    url = f"http://{registry}/v2/{NAME}/manifests/{reference}"
    types = f"{DOCKER_MANIFEST}, {OCI_INDEX}"
    return httpx.get(url, headers={"Accept": types}, trust_env=False).raise_for_status()


@pytest.mark.slow
def test_the_image_is_pushed_and_pulled_again_and_serves(engine, image, registry, make_model):
    result = push("--registry", registry, "--repository", NAME, "--image", image, "--allow-dirty")
    found = pushed(result)
    assert found["uri"].startswith(f"{registry}/{NAME}:")
    assert found["uri"].endswith("-cpu")
    there = manifest(registry, found["uri"].rpartition(":")[2])
    assert there.headers["Content-Type"] == DOCKER_MANIFEST
    assert there.headers["Docker-Content-Digest"] == found["digest"]
    # The engine need not fetch layers that another image has too: look at each here.
    built = engine.images.get(image)
    assert list(layers(registry, there.json())) == built.attrs["RootFS"]["Layers"]

    engine.images.remove(found["uri"])
    pulled = engine.images.pull(found["fixed_uri"])
    assert pulled.id == built.id
    other = f"127.0.0.1:0/{NAME}:pulled"
    assert pulled.tag(other)
    engine.images.remove(found["fixed_uri"])
    with Container(
        engine,
        other,
        "serve",
        models=make_model.root,
        environment={"SAGEMAKER_MULTI_MODEL": "true"},
    ) as container:
        container.wait_ready()
        assert container.send("GET", "/ping").status_code == 200


def layers(registry: str, image: dict) -> Iterator[str]:
    """The digest of each layer's archive, from what the registry holds of it."""
    for layer in image["layers"]:
        url = f"http://{registry}/v2/{NAME}/blobs/{layer['digest']}"
        blob = httpx.get(url, trust_env=False, timeout=60).raise_for_status().content
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == layer["digest"]
        yield f"sha256:{hashlib.sha256(gzip.decompress(blob)).hexdigest()}"


def test_what_is_there_is_not_pushed_again(registry, tiny):
    arguments = ("--registry", registry, "--repository", NAME, "--image", tiny["good"])
    first, again = pushed(push(*arguments)), pushed(push(*arguments))
    assert (first["status"], again["status"]) == ("pushed", "present")
    assert first["digest"] == again["digest"]
    assert first["uri"] == f"{registry}/{NAME}:1.2.3-cpu"


def test_a_dry_run_leaves_nothing(engine, registry, tiny):
    arguments = ("--registry", registry, "--repository", f"{NAME}/dry", "--image", tiny["good"])
    assert pushed(push(*arguments, "--dry-run"))["action"] == "push"
    url = f"http://{registry}/v2/{NAME}/dry/tags/list"
    assert httpx.get(url, trust_env=False).status_code == 404
    assert not [tag for image in engine.images.list() for tag in image.tags if "/dry:" in tag]


def test_an_image_without_the_label_is_refused(registry, tiny):
    result = push("--registry", registry, "--repository", NAME, "--image", tiny["unlabelled"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"the image {tiny['unlabelled']} does not have the label {MULTI_MODELS}" in result.stderr


def test_a_tree_with_changes_is_refused_unless_told(elsewhere, registry, tiny):
    revision = make_tree(elsewhere)
    arguments = ("--registry", registry, "--repository", NAME, "--image", tiny["good"])
    clean = push(*arguments, "--dry-run")
    (elsewhere / "container/Dockerfile").write_text("FROM other\n")
    refused, told = push(*arguments), push(*arguments, "--allow-dirty")

    assert clean.exit_code == 0
    assert f"was built from the commit aaaaaaaaaaaa, and HEAD is {revision[:12]}" in clean.stderr
    assert refused.exit_code == 2
    assert "has changes that no commit holds: container/Dockerfile" in refused.stderr
    assert pushed(told)["digest"]


def test_an_index_in_the_place_of_the_image_is_refused(registry, tiny, monkeypatch):
    """As where the engine, or somebody else at the same moment, pushes what buildx makes."""
    from mme_hosting.images import push as module

    send = module._send

    def send_and_wrap(target, step, *rest):
        send(target, step, *rest)
        return put_oci_index(registry, NAME, step.tag)

    monkeypatch.setattr(module, "_send", send_and_wrap)
    arguments = ("--registry", registry, "--repository", NAME, "--image", tiny["good"])
    result = push(*arguments, "--tag", "index")
    assert result.exit_code == 1
    assert manifest(registry, "index-cpu").headers["Content-Type"] == OCI_INDEX
    assert f"{NAME}:index-cpu has a manifest of the type {OCI_INDEX}, which" in result.stderr

    monkeypatch.undo()
    assert pushed(push(*arguments, "--tag", "index", "--allow-dirty"))["status"] == "pushed"
    assert manifest(registry, "index-cpu").headers["Content-Type"] == DOCKER_MANIFEST


def test_a_registry_that_is_not_there(registry, tiny):
    result = push("--registry", "127.0.0.1:1", "--repository", NAME, "--image", tiny["good"])
    assert result.exit_code == 2
    assert "the registry 127.0.0.1:1 cannot be asked for mme-push-test-" in result.stderr


class TestEcr:
    """The calls go to moto's ECR, and images to a registry that wants the login of ECR."""

    @pytest.fixture
    def ecr(self, tmp_path_factory, monkeypatch):
        directory = tmp_path_factory.mktemp("ecr")
        with aws() as endpoint, docker_registry(directory, ECR_LOGIN) as host:
            reset(endpoint)
            monkeypatch.setenv(ADDRESS_VARIABLE, host)
            yield host

    def test_the_repository_is_created_and_the_login_is_used(self, ecr, tiny):
        arguments = ("--repository", NAME, "--image", tiny["good"])
        planned = push(*arguments, "--dry-run")
        assert f"create the repository {ecr}/{NAME}: tags immutable" in planned.stderr
        assert boto3.client("ecr").describe_repositories()["repositories"] == []

        first, again = pushed(push(*arguments)), pushed(push(*arguments))

        assert (first["status"], again["status"]) == ("pushed", "present")
        assert first["fixed_uri"] == f"{ecr}/{NAME}@{first['digest']}"
        (made,) = boto3.client("ecr").describe_repositories()["repositories"]
        assert (made["repositoryName"], made["imageTagMutability"]) == (NAME, "IMMUTABLE")
        url = f"http://{ecr}/v2/{NAME}/manifests/1.2.3-cpu"
        assert httpx.get(url, trust_env=False).status_code == 401
        login = ("AWS", f"{ACCOUNT}-auth-token")
        there = httpx.get(url, auth=login, headers={"Accept": DOCKER_MANIFEST}, trust_env=False)
        assert there.headers["Docker-Content-Digest"] == first["digest"]

    def test_a_tag_stays_what_it_is(self, engine, ecr, tiny):
        arguments = ("--repository", NAME, "--image", tiny["good"])
        first = pushed(push(*arguments))
        other = engine.api.build(
            fileobj=io.BytesIO(f"FROM {tiny['good']}\nLABEL other=1\n".encode()),
            tag=f"{NAME}:other",
            rm=True,
            decode=True,
        )
        assert list(other)
        try:
            result = push("--repository", NAME, "--image", f"{NAME}:other")
            assert result.exit_code == 2
            assert "1.2.3-cpu exists and is another image, and the repository's" in result.stderr
            assert pushed(push(*arguments))["digest"] == first["digest"]
        finally:
            engine.images.remove(f"{NAME}:other")

    def test_no_secret_is_shown(self, ecr, tiny):
        result = push("--repository", NAME, "--image", tiny["good"])
        assert "auth-token" not in result.output
