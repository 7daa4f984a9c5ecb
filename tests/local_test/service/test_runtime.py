from __future__ import annotations

import orjson
import pytest

from mme_local.control.records import InvocationAnswer
from mme_local.errors import ApiError, validation_error
from mme_local.service import runtime

HEADERS = {
    "content-type": "text/csv",
    "accept": "application/json",
    "x-amzn-sagemaker-target-model": "Chicago_IL.tar.gz",
    "x-amzn-sagemaker-target-variant": "B",
    "x-amzn-sagemaker-custom-attributes": "trace=1",
    "x-amzn-sagemaker-enable-explanations": "no",
    "authorization": "AWS4-HMAC-SHA256 ...",
    "user-agent": "Boto3",
}


def test_an_invocation_has_what_the_container_may_see() -> None:
    invocation = runtime.invocation("houses", HEADERS, b"1,2", "AKIA")
    assert (invocation.endpoint, invocation.body) == ("houses", b"1,2")
    assert (invocation.target_model, invocation.target_variant) == ("Chicago_IL.tar.gz", "B")
    assert invocation.caller_access_key == "AKIA"
    assert set(HEADERS) - set(invocation.headers) == {"authorization", "user-agent"}


def test_an_invocation_may_have_nothing_but_a_name() -> None:
    invocation = runtime.invocation("houses", {}, b"", None)
    assert (invocation.target_model, invocation.target_variant) == (None, None)
    assert invocation.headers == {}


@pytest.mark.parametrize(
    ("header", "value", "where"),
    [
        ("x-amzn-sagemaker-target-model", "", "targetModel"),
        ("x-amzn-sagemaker-target-model", " a", "targetModel"),
        ("x-amzn-sagemaker-target-model", "x" * 1025, "targetModel"),
        ("x-amzn-sagemaker-target-variant", "a_b", "targetVariant"),
        ("x-amzn-sagemaker-custom-attributes", "ä", "customAttributes"),
        ("content-type", "x" * 1025, "contentType"),
    ],
)
def test_headers_are_held_against_their_shapes(header: str, value: str, where: str) -> None:
    with pytest.raises(ApiError, match=f"at '{where}' failed to satisfy constraint"):
        runtime.invocation("houses", {header: value}, b"", None)


def test_a_name_that_cannot_be_one() -> None:
    with pytest.raises(ApiError, match="at 'endpointName' failed"):
        runtime.invocation("a_b", {}, b"", None)


def test_an_answer_has_the_headers_that_sagemaker_returns() -> None:
    headers = {"x-amzn-sagemaker-custom-attributes": "trace=1", "server": "MMS", "date": "now"}
    reply = runtime.reply(InvocationAnswer(b"1.5", "text/csv", "AllTraffic", headers))
    assert (reply.status, reply.body) == (200, b"1.5")
    assert len(reply.headers.pop("x-amzn-requestid")) == 36  # type: ignore[attr-defined]
    assert reply.headers == {
        "content-type": "text/csv",
        "x-amzn-invoked-production-variant": "AllTraffic",
        "x-amzn-sagemaker-custom-attributes": "trace=1",
    }


@pytest.mark.parametrize(
    ("error", "status", "code", "body"),
    [
        (
            ApiError(
                "ModelError",
                "Received client error (400) from primary",
                OriginalStatusCode=400,
                OriginalMessage="bad",
                LogStreamArn="arn",
                Colour="red",
            ),
            424,
            "ModelError",
            {
                "OriginalStatusCode": 400,
                "OriginalMessage": "bad",
                "LogStreamArn": "arn",
                "Message": "Received client error (400) from primary",
            },
        ),
        (ApiError("ModelNotReadyException", "Wait."), 429, "ModelNotReadyException", None),
        (validation_error("No."), 400, "ValidationError", {"Message": "No."}),
        (
            ApiError("ValidationError", "No.", ErrorCode="TARGET_MODEL_HEADER_NOT_SUPPORTED"),
            400,
            "ValidationError",
            {"Message": "No.", "ErrorCode": "TARGET_MODEL_HEADER_NOT_SUPPORTED"},
        ),
        (ApiError("AccessDeniedException", "No.", 403), 403, "AccessDeniedException", None),
        (ApiError("InternalFailure", "Oh.", 500), 500, "InternalFailure", None),
        (ApiError("ServiceUnavailable", "Oh."), 503, "ServiceUnavailable", None),
        (runtime.too_large(10), 413, "413", {"Message": "HTTP content length exceeded 10 bytes."}),
    ],
)
def test_errors_have_the_status_and_the_members_of_their_shapes(
    error: ApiError, status: int, code: str, body: dict[str, object] | None
) -> None:
    reply = runtime.error_reply(error)
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (status, code)
    assert body is None or orjson.loads(reply.body) == body
