from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import boto3
import pytest

from mme_hosting.errors import HostingError
from mme_hosting.images import target
from mme_hosting.images.registry import Login
from support.aws import ACCOUNT, REGION, aws, reset


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws() as url:
        yield url


@pytest.fixture
def client(endpoint: str):
    reset(endpoint)
    return boto3.client("ecr")


def repositories(client) -> list[str]:
    return [each["repositoryName"] for each in client.describe_repositories()["repositories"]]


def test_in_ecr_a_repository_is_created_when_that_is_said_and_not_before(client) -> None:
    found = target.in_ecr("xgboost-mme")
    assert str(found) == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/xgboost-mme"
    assert (found.is_new, found.immutable) == (True, False)
    assert repositories(client) == []

    found.create()
    found.create()  # as where somebody else was sooner

    assert repositories(client) == ["xgboost-mme"]
    again = target.in_ecr("xgboost-mme")
    assert (again.is_new, again.immutable) == (False, True)
    again.create()


def test_another_registry_makes_its_repositories_itself(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    found = target.in_registry("127.0.0.1:5000", "team/xgboost-mme")
    assert str(found) == "127.0.0.1:5000/team/xgboost-mme"
    assert (found.is_new, found.immutable) == (False, False)
    found.create()


def test_what_docker_login_has_left_is_used(tmp_path, monkeypatch) -> None:
    given = base64.b64encode(b"me:secret").decode()
    content = {"auths": {"127.0.0.1:5000": {"auth": given}}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert target.in_registry("127.0.0.1:5000", "a").registry.login == Login("me", "secret")
    assert target.in_registry("127.0.0.1:5001", "a").registry.login is None


@pytest.mark.filterwarnings("ignore:docker-credential-no-such not installed")
def test_a_helper_for_logins_that_fails(tmp_path, monkeypatch) -> None:
    (tmp_path / "config.json").write_text('{"credHelpers": {"127.0.0.1:5000": "no-such"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(HostingError, match=r"docker login keeps for 127\.0\.0\.1:5000 cannot be"):
        target.in_registry("127.0.0.1:5000", "a")


@pytest.mark.parametrize("name", ["a", "xgboost-mme", "team/x_y.z/a--b", "a__b"])
def test_names_of_repositories(name) -> None:
    assert target.in_registry("127.0.0.1:5000", name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "a/", "/a", "a:1", "a b", "a..b", "1.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme"],
)
def test_what_is_no_name_of_a_repository(name, client) -> None:
    for place in (target.in_ecr, lambda each: target.in_registry("127.0.0.1:5000", each)):
        with pytest.raises(HostingError, match="cannot be the name of a repository"):
            place(name)
