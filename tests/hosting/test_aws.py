"""AWS's answers as this package tells them, by real clients and moto's server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mme_hosting.aws import Aws, AwsError
from mme_hosting.errors import HostingError
from support.aws import ACCOUNT, REGION, aws, reset


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture
def account(server) -> Iterator[Aws]:
    yield Aws()
    reset(server)


def test_whose_account_it_is(account) -> None:
    assert (account.region, account.account, account.partition) == (REGION, ACCOUNT, "aws")
    assert account.registry == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


def test_what_is_not_there_is_none(account) -> None:
    described = {
        ("sagemaker", "DescribeModel"): {"ModelName": "no"},
        ("s3", "HeadBucket"): {"Bucket": "not-there"},
        ("ecr", "DescribeRepositories"): {"repositoryNames": ["no"]},
        ("iam", "GetRole"): {"RoleName": "no"},
    }
    for (service, operation), request in described.items():
        assert account.find(service, operation, "it", **request) is None


def test_a_failure_names_the_call_the_resource_and_what_to_do(account) -> None:
    with pytest.raises(AwsError) as caught:
        account.call("s3", "PutObject", "s3://not-there/x", Bucket="not-there", Key="x")
    assert str(caught.value).startswith("PutObject for s3://not-there/x failed: ")
    assert "Make the bucket" in str(caught.value)
    assert (caught.value.call, caught.value.code) == ("PutObject", "NoSuchBucket")


def test_a_request_that_is_none_is_told_in_a_line(account) -> None:
    with pytest.raises(AwsError) as caught:
        account.call("sagemaker", "CreateModel", "the model x", ModelName=1)
    assert str(caught.value).startswith("CreateModel for the model x is not a valid request: ")
    assert "\n" not in str(caught.value)


def test_all_pages_come(account) -> None:
    for number in range(12):
        account.call("ecr", "CreateRepository", "it", repositoryName=f"r{number}")
    found = account.pages("ecr", "DescribeRepositories", "all", PaginationConfig={"PageSize": 5})
    assert sum(len(page["repositories"]) for page in found) == 12
    with pytest.raises(AwsError, match=r"ListObjectsV2 for it failed"):
        list(account.pages("s3", "ListObjectsV2", "it", Bucket="not-there"))


def test_no_region_and_no_credentials_are_told(server, monkeypatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(HostingError, match=r"no AWS region is known: write region: in mme\.yaml"):
        Aws()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(AwsError, match=r"no AWS credentials were found: run `aws configure`"):
        _ = Aws(REGION).account
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(HostingError, match=r"nobody"):
        Aws(REGION)


def test_a_region_that_is_none_is_told(server) -> None:
    with pytest.raises(HostingError, match=r"no AWS region, such as us-east-1: .*'us east 1'"):
        _ = Aws("us east 1").account


def test_an_answer_that_is_not_of_aws_is_told(tmp_path, monkeypatch) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Please log in<br></html>")

    other = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{other.server_port}")
    try:
        with pytest.raises(AwsError, match=r"does not answer as AWS does: check AWS_ENDPOINT_URL"):
            _ = Aws(REGION).account
    finally:
        other.shutdown()
        other.server_close()


def test_no_answer_is_told(server, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(AwsError, match=r"GetCallerIdentity for your credentials gets no answer"):
        _ = Aws().account


def test_what_is_denied_names_the_action() -> None:
    from botocore.exceptions import ClientError

    from mme_hosting.aws import _explain

    said = "User: u is not authorized to perform: sagemaker:InvokeEndpoint on resource: r"
    answer = {"Error": {"Code": "AccessDeniedException", "Message": said}}
    error = _explain(
        ClientError(answer, "InvokeEndpoint"), "InvokeEndpoint", "houses", "sagemaker-runtime"
    )
    assert error.denied
    assert str(error) == (
        f"InvokeEndpoint for houses is denied: {said} (AccessDeniedException). Allow your user or "
        "role sagemaker:InvokeEndpoint: mme iam deployer prints a policy with all that is needed"
    )
