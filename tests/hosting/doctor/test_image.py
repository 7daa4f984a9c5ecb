"""The image's checks, with moto's ECR, a real registry behind it, and its login."""

from __future__ import annotations

from typing import Any

import pytest

from mme_hosting.doctor.findings import SkipError
from mme_hosting.doctor.image import image
from mme_hosting.errors import HostingError
from mme_hosting.images.ecr import ADDRESS_VARIABLE
from support.aws import ACCOUNT, REGION
from support.doctor import one, setup
from support.images import LABELS
from support.registries import ECR_LOGIN, OCI_MANIFEST, docker_registry, put_image

LOGIN = ("AWS", f"{ACCOUNT}-auth-token")
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("registry"), ECR_LOGIN) as host:
        yield host


@pytest.fixture
def ecr(registry, monkeypatch) -> str:
    monkeypatch.setenv(ADDRESS_VARIABLE, registry)
    return registry


def configuration(**changes: Any) -> dict[str, Any]:
    found = {"os": "linux", "architecture": "amd64", "config": {"Labels": LABELS}, **changes}
    return {**found, "rootfs": {"type": "layers", "diff_ids": []}}


@pytest.mark.container
def test_an_image_that_is_pushed(ecr):
    digest = put_image(ecr, "good", "1-cpu", configuration(), LOGIN)
    for uri in (f"{HOST}/good:1-cpu", f"{HOST}/good@{digest}", f"{HOST}/good:1-cpu@{digest}"):
        assert one(image, setup(image=uri)) == (
            "ok",
            f"{uri} is pushed, and is what CreateModel takes | ",
        )


@pytest.mark.container
def test_an_image_that_is_not_pushed(ecr):
    status, text = one(image, setup())
    assert status == "failed"
    assert text.startswith(f"{HOST}/xgboost-mme:")
    assert text.endswith("-cpu is not pushed | mme push")


@pytest.mark.container
def test_an_image_without_the_label(ecr):
    put_image(ecr, "plain", "1", configuration(config={"Labels": None}), LOGIN)
    status, text = one(image, setup(image=f"{HOST}/plain:1"))
    assert status == "failed"
    assert "capabilities.multi-models=true, without which CreateModel refuses it" in text


@pytest.mark.container
def test_an_image_for_another_cpu(ecr):
    put_image(ecr, "cpu", "1", configuration(), LOGIN)
    uri = f"{HOST}/cpu:1"
    status, text = one(image, setup(image=uri, instance_type="ml.m6g.large"))
    assert status == "failed"
    assert f"{uri} is built for linux/amd64, and ml.m6g.large is linux/arm64" in text
    put_image(ecr, "cpu", "1", configuration(architecture="arm64"), LOGIN)
    assert one(image, setup(image=uri, instance_type="ml.m6g.large"))[0] == "ok"


@pytest.mark.container
def test_an_image_that_createmodel_does_not_take(ecr):
    put_image(ecr, "oci", "1", configuration(), LOGIN, OCI_MANIFEST)
    with pytest.raises(HostingError, match="which CreateModel refuses"):
        list(image(setup(image=f"{HOST}/oci:1")))


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("docker.io/me/models:1", "is not in Amazon ECR"),
        ("models:1", "is not the URI of an image"),
        (HOST.replace(REGION, "eu-west-1") + "/models:1", "is in eu-west-1, and the endpoint"),
    ],
)
def test_an_image_that_is_elsewhere(uri, text):
    status, said = one(image, setup(image=uri))
    assert status == "failed"
    assert text in said


def test_the_local_sagemaker_needs_none(monkeypatch):
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    with pytest.raises(SkipError, match="needs none pushed"):
        list(image(setup(local=True)))
