"""The environment in which a client finds the local SageMaker and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import botocore.session
import pytest

from mme_local.aws.address import Address
from mme_local.aws.environment import ACCESS_KEY, client_environment

ADDRESS = Address(
    pid=1,
    sagemaker="http://127.0.0.1:1111",
    aws="http://127.0.0.1:2222",
    region="us-east-1",
    role="arn:aws:iam::123456789012:role/SageMakerRole",
    bucket="sagemaker-us-east-1-123456789012",
    runtime="embedded",
    version="0",
)


def made(tmp_path: Path, **base: str) -> dict[str, str]:
    return client_environment(ADDRESS, tmp_path, base)


def test_a_plain_environment(tmp_path):
    found = made(tmp_path, PATH="/bin")
    assert found["PATH"] == "/bin"
    assert found["AWS_ENDPOINT_URL"] == ADDRESS.aws
    assert found["AWS_ENDPOINT_URL_SAGEMAKER"] == ADDRESS.sagemaker
    assert found["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == ADDRESS.sagemaker
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "us-east-1"
    assert found["AWS_ACCESS_KEY_ID"] == ACCESS_KEY
    assert found["AWS_SECRET_ACCESS_KEY"]
    assert found["AWS_SAGEMAKER_ROLE"] == ADDRESS.role
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,localhost"


def test_what_the_user_has_chosen_is_kept(tmp_path):
    found = made(
        tmp_path,
        AWS_ACCESS_KEY_ID="mine",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_SAGEMAKER_ROLE="arn:aws:iam::123456789012:role/mine",
        NO_PROXY="example.com,localhost",
    )
    assert found["AWS_ACCESS_KEY_ID"] == "mine"
    assert found["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert found["AWS_SAGEMAKER_ROLE"] == "arn:aws:iam::123456789012:role/mine"
    assert found["NO_PROXY"] == "example.com,localhost,127.0.0.1"


def test_the_region_is_the_one_that_there_is(tmp_path):
    """In another, metrics, logs and autoscaling would be lost without a word."""
    found = made(tmp_path, AWS_REGION="eu-west-1", AWS_DEFAULT_REGION="eu-central-1")
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "us-east-1"


def test_no_other_endpoint_is_left(tmp_path):
    found = made(
        tmp_path, AWS_ENDPOINT_URL="https://x", AWS_ENDPOINT_URL_S3="https://s3.example.com"
    )
    assert {name for name in found if name.startswith("AWS_ENDPOINT_URL")} == {
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SAGEMAKER",
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME",
    }


def test_the_sdk_is_told_its_bucket_and_to_report_nothing(tmp_path):
    found = made(tmp_path)
    written = json.loads(Path(found["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text())
    modules = written["SageMaker"]["PythonSDK"]["Modules"]
    assert modules == {
        "Session": {"DefaultS3Bucket": "sagemaker-us-east-1-123456789012"},
        "TelemetryOptOut": True,
    }
    assert "SAGEMAKER_ADMIN_CONFIG_OVERRIDE" not in found


def test_a_configuration_of_the_users_is_read_over_ours(tmp_path):
    found = made(tmp_path, SAGEMAKER_USER_CONFIG_OVERRIDE="mine.yaml")
    assert found["SAGEMAKER_USER_CONFIG_OVERRIDE"] == "mine.yaml"
    assert Path(found["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"]).parent == tmp_path


@pytest.mark.parametrize(
    "hostile",
    [
        "[default]\nignore_configured_endpoint_urls = true\n",
        "[default]\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n",
        "[default]\nendpoint_url = https://aws.example.com\n",
        "[default]\nservices = x\n[services x]\ns3 =\n  endpoint_url = https://s3.example.com\n",
    ],
)
@pytest.mark.parametrize(
    ("service", "expected"),
    [("s3", "2222"), ("sagemaker", "1111"), ("sagemaker-runtime", "1111"), ("sts", "2222")],
)
def test_a_configuration_file_cannot_lead_to_aws(tmp_path, monkeypatch, hostile, service, expected):
    configuration = tmp_path / "config"
    configuration.write_text(hostile)
    base = {
        "AWS_CONFIG_FILE": str(configuration),
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
    }
    for name, value in made(tmp_path, **base).items():
        monkeypatch.setenv(name, value)
    client = botocore.session.get_session().create_client(service)
    assert client.meta.endpoint_url == f"http://127.0.0.1:{expected}"
