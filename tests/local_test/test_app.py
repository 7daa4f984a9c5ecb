"""The HTTP front, with unmodified boto3 clients where they reach it and httpx where they do not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from mme_local.errors import ApiError, LocalError
from mme_local.service.runtime import LARGEST_BODY
from support.local_api import LocalApi, Server

NOWHERE = "http://127.0.0.1:9"  # the front itself asks nothing of AWS
CREDENTIALS = {"aws_access_key_id": "AKIAHOUSES", "aws_secret_access_key": "secret"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<title>local SageMaker</title>")
    (tmp_path / "page.js").write_text("//")
    return tmp_path


@pytest.fixture
def api(server: Server, page: Path) -> Iterator[LocalApi]:
    with server.serving(NOWHERE, page=page) as served:
        yield served


def client(service: str, url: str, **options: Any) -> Any:
    session = boto3.session.Session(**CREDENTIALS, region_name="us-east-1")
    return session.client(service, endpoint_url=url, config=Config(**options))


@pytest.fixture(scope="module")
def shared(server: Server) -> dict[str, Any]:
    return {name: client(name, server.url) for name in ("sagemaker", "sagemaker-runtime")}


@pytest.fixture
def runtime(api: LocalApi, shared: dict[str, Any]) -> Any:
    return shared["sagemaker-runtime"]


@pytest.fixture
def sagemaker(api: LocalApi, shared: dict[str, Any]) -> Any:
    return shared["sagemaker"]


def test_an_invocation_goes_through_whole(api: LocalApi, runtime: Any) -> None:
    api.invoker.headers = {"x-amzn-sagemaker-custom-attributes": "seen"}
    body = bytes(range(256)) * 16
    answer = runtime.invoke_endpoint(
        EndpointName="houses",
        Body=body,
        ContentType="text/csv",
        Accept="application/json",
        TargetModel="Chicago_IL.tar.gz",
        TargetVariant="B",
        CustomAttributes="trace=1",
    )
    assert answer["Body"].read() == body
    assert answer["ContentType"] == "text/csv"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "seen"
    (seen,) = api.invoker.seen
    assert (seen.endpoint, seen.target_model) == ("houses", "Chicago_IL.tar.gz")
    assert (seen.target_variant, seen.caller_access_key) == ("B", "AKIAHOUSES")
    assert seen.headers["content-type"] == "text/csv"
    assert seen.headers["accept"] == "application/json"
    assert seen.headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"


def test_curl_needs_no_signature(api: LocalApi) -> None:
    answer = httpx.post(f"{api.url}/endpoints/houses/invocations", content=b"1,2")
    assert (answer.status_code, answer.content) == (200, b"1,2")
    assert api.invoker.seen[0].caller_access_key is None


def test_an_address_may_be_signed_instead(api: LocalApi) -> None:
    query = {"X-Amz-Credential": "AKIAOTHER/20260101/us-east-1/sagemaker/aws4_request"}
    httpx.post(f"{api.url}/endpoints/houses/invocations", content=b"", params=query)
    assert api.invoker.seen[0].caller_access_key == "AKIAOTHER"


def test_a_model_error_is_boto3s_own(api: LocalApi, runtime: Any) -> None:
    api.invoker.error = ApiError(
        "ModelError",
        'Received client error (400) from primary with message "bad".',
        OriginalStatusCode=400,
        OriginalMessage="bad",
        LogStreamArn="arn:aws:logs:us-east-1:123456789012:log-group:x",
    )
    with pytest.raises(runtime.exceptions.ModelError) as raised:
        runtime.invoke_endpoint(EndpointName="houses", Body=b"")
    response = raised.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 400
    assert response["OriginalMessage"] == "bad"
    assert response["LogStreamArn"].startswith("arn:aws:logs:")
    assert response["Error"]["Message"].startswith("Received client error (400) from primary")


@pytest.mark.parametrize(
    ("code", "name", "status"),
    [
        ("ModelNotReadyException", "ModelNotReadyException", 429),
        ("ValidationException", "ValidationError", 400),
        ("ValidationError", "ValidationError", 400),
    ],
)
def test_other_errors_are_boto3s_own(
    api: LocalApi, server: Server, code: str, name: str, status: int
) -> None:
    api.invoker.error = ApiError(code, "No.")
    once = client("sagemaker-runtime", server.url, retries={"total_max_attempts": 1})
    with pytest.raises(getattr(once.exceptions, name)) as raised:
        once.invoke_endpoint(EndpointName="houses", Body=b"")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert raised.value.response["Error"]["Message"] == "No."


def test_boto3s_legacy_mode_tries_a_model_that_is_not_ready_again(
    api: LocalApi, server: Server
) -> None:
    api.invoker.error = ApiError("ModelNotReadyException", "Wait.")
    retries = {"mode": "legacy", "total_max_attempts": 2}
    patient = client("sagemaker-runtime", server.url, retries=retries)
    with pytest.raises(patient.exceptions.ModelNotReadyException):
        patient.invoke_endpoint(EndpointName="houses", Body=b"")
    assert len(api.invoker.seen) == 2


def test_a_name_that_cannot_be_one_reaches_nobody(api: LocalApi, runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ValidationError, match="at 'endpointName' failed"):
        runtime.invoke_endpoint(EndpointName="a_b", Body=b"")
    assert api.invoker.seen == []


def test_bodies_are_taken_up_to_25_mb(api: LocalApi, runtime: Any) -> None:
    largest = b"x" * LARGEST_BODY
    answer = runtime.invoke_endpoint(EndpointName="houses", Body=largest)
    assert len(answer["Body"].read()) == LARGEST_BODY == 26_214_400
    with pytest.raises(ClientError, match="HTTP content length exceeded 26214400 bytes") as raised:
        runtime.invoke_endpoint(EndpointName="houses", Body=largest + b"x")
    assert raised.value.response["Error"]["Code"] == "413"
    assert len(api.invoker.seen) == 1
    runtime.invoke_endpoint(EndpointName="houses", Body=b"next")


def test_what_multi_model_endpoints_do_not_have_says_so(runtime: Any) -> None:
    with pytest.raises(ClientError, match="does not have InvokeEndpointAsync"):
        runtime.invoke_endpoint_async(EndpointName="houses", InputLocation="s3://a/b")
    with pytest.raises(ClientError, match="not have InvokeEndpointWithResponseStream"):
        runtime.invoke_endpoint_with_response_stream(EndpointName="houses", Body=b"")


def test_an_operation_that_is_not_built_is_named_with_those_that_are(sagemaker: Any) -> None:
    with pytest.raises(ClientError) as raised:
        sagemaker.list_transform_jobs()
    error = raised.value.response["Error"]
    assert error["Code"] == "NotImplemented"
    assert error["Message"].startswith(
        "The local SageMaker does not have ListTransformJobs. It has AddTags, CreateEndpoint, "
    )
    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_another_service_is_told_where_it_is(api: LocalApi) -> None:
    logs = client("logs", api.url)
    with pytest.raises(ClientError, match="Other services of AWS are at another address"):
        logs.describe_log_groups()


def test_a_request_is_checked_before_it_is_done(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match="at 'endpointName' failed to satisfy"):
        sagemaker.describe_endpoint(EndpointName="a_b")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RuntimeError("secret"), "InternalFailure", "The local SageMaker has failed"),
        (LocalError("No engine."), "ValidationError", "No engine."),
    ],
)
def test_an_error_that_nobody_expected_says_nothing_of_itself(
    api: LocalApi, caplog: pytest.LogCaptureFixture, error: Exception, code: str, message: str
) -> None:
    api.invoker.error = error
    answer = httpx.post(f"{api.url}/endpoints/houses/invocations", content=b"")
    assert answer.headers["x-amzn-errortype"] == code
    assert answer.json()["Message"].startswith(message)
    assert "secret" not in answer.text
    assert ("secret" in caplog.text) == (code == "InternalFailure")


def test_an_answer_that_aws_would_not_give_is_an_internal_failure(api: LocalApi) -> None:
    async def broken(_request: Any) -> dict[str, Any]:
        return {"Models": [{"ModelName": 1}]}

    api.plane.operations = {**api.plane.operations, "ListModels": broken}
    headers = {"x-amz-target": "SageMaker.ListModels"}
    answer = httpx.post(api.url, headers=headers, content=b"{}")
    assert (answer.status_code, answer.json()["__type"]) == (500, "InternalFailure")


def test_the_page(api: LocalApi) -> None:
    assert "local SageMaker" in httpx.get(f"{api.url}/").text
    assert httpx.get(f"{api.url}/page.js").status_code == 200
    assert httpx.get(f"{api.url}/none.js").status_code == 404


def test_without_a_page_there_is_still_an_api(server: Server) -> None:
    with server.serving(NOWHERE) as api:
        assert httpx.get(f"{api.url}/").status_code == 405
        headers = {"x-amz-target": "SageMaker.ListModels"}
        assert httpx.post(api.url, headers=headers, content=b"{}").status_code == 200


def test_pages_of_elsewhere_do_not_get_in_by_another_name(api: LocalApi) -> None:
    answer = httpx.get(f"{api.url}/page.js", headers={"host": "evil.example"})
    assert answer.status_code == 400
    port = api.url.rpartition(":")[2]
    assert httpx.get(f"http://localhost:{port}/page.js").status_code == 200


def test_a_client_that_goes_away_does_no_harm(api: LocalApi) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /endpoints/houses/invocations HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            b"content-length: 100\r\n\r\nhalf"
        )
    assert httpx.get(f"{api.url}/page.js").status_code == 200
    assert api.invoker.seen == []
