from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from mme_hosting.errors import HostingError
from mme_hosting.images.ecr import ADDRESS_VARIABLE, Ecr, Repository, _explain
from support.aws import ACCOUNT, REGION, aws, reset

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws() as url:
        yield url


@pytest.fixture
def client(endpoint: str, monkeypatch):
    reset(endpoint)
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    return boto3.client("ecr")


def test_a_repository_is_created_as_it_should_be(client) -> None:
    ecr = Ecr()
    assert ecr.repository("team/xgboost-mme") is None
    assert ecr.create("team/xgboost-mme") == Repository("team/xgboost-mme", immutable=True)
    assert ecr.repository("team/xgboost-mme") == Repository("team/xgboost-mme", immutable=True)

    (made,) = client.describe_repositories()["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}


def test_one_that_is_there_is_left_as_it_is(client) -> None:
    client.create_repository(repositoryName="mine", imageTagMutability="MUTABLE")
    mine = Repository("mine", immutable=False)
    assert Ecr().repository("mine") == mine
    assert Ecr().create("mine") == mine


def test_the_region_may_be_that_of_aws_region(client, monkeypatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Ecr().registry().host == HOST.replace(REGION, "eu-west-1")
    assert Ecr("eu-west-2").registry().host == HOST.replace(REGION, "eu-west-2")


def test_the_registry_is_that_of_the_account(client) -> None:
    registry = Ecr().registry()
    assert registry.host == HOST
    assert registry.login is not None
    assert registry.login.username == "AWS"
    assert registry.login.password == f"{ACCOUNT}-auth-token"


def test_the_region_can_be_given(client) -> None:
    assert Ecr("eu-west-1").registry().host == f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"


def test_the_address_can_be_another_with_the_login_of_ecr(client, monkeypatch) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, "127.0.0.1:5000")
    registry = Ecr().registry()
    assert registry.host == "127.0.0.1:5000"
    assert registry.login is not None
    assert registry.login.username == "AWS"


def test_without_credentials(client, monkeypatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(HostingError, match="no AWS credentials were found"):
        Ecr().repository("mine")


def test_without_a_region(client, monkeypatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(HostingError, match="no AWS region is known"):
        Ecr()


def error(code: str, message: str = "said AWS") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateRepository")


@pytest.mark.parametrize(
    ("problem", "call", "text"),
    [
        (
            error("AccessDeniedException"),
            "CreateRepository",
            r"is denied: said AWS .*Allow your user or role "
            r"ecr:CreateRepository[.]",
        ),
        (
            error("AccessDeniedException"),
            "GetAuthorizationToken",
            r"ecr:GetAuthorizationToken on \*[.]",
        ),
        (error("ExpiredTokenException"), "CreateRepository", "Renew your credentials"),
        (error("UnrecognizedClientException"), "CreateRepository", "Renew your credentials"),
        (error("LimitExceededException"), "CreateRepository", "Service Quotas, Amazon ECR"),
        (error("ServerException"), "CreateRepository", r"said AWS \(ServerException\)"),
        (error("ThrottlingException"), "CreateRepository", "try later"),
        (
            EndpointConnectionError(endpoint_url="https://ecr"),
            "DescribeRepositories",
            "gets no answer .*check the network and the region",
        ),
    ],
)
def test_what_aws_refuses_is_said_with_the_next_step(problem, call, text) -> None:
    explained = _explain(problem, call, "the repository r")
    with pytest.raises(HostingError, match=f"^{call} for the repository r .*{text}"):
        raise explained


def test_an_error_of_a_call_reaches_the_caller_explained(client, monkeypatch) -> None:
    ecr = Ecr()

    def deny(**_):
        raise error("AccessDeniedException")

    monkeypatch.setattr(ecr._client, "describe_repositories", deny)
    with pytest.raises(HostingError, match="ecr:DescribeRepositories"):
        ecr.repository("mine")
