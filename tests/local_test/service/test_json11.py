from __future__ import annotations

import orjson
import pytest
from botocore.parsers import JSONParser

from mme_local.errors import ApiError
from mme_local.service import json11
from mme_local.service.model import SAGEMAKER, service

BUILT = ("CreateModel", "AddTags")


def test_an_operation_that_is_built_is_found() -> None:
    assert json11.operation_name("SageMaker.CreateModel", BUILT) == "CreateModel"


@pytest.mark.parametrize(
    ("target", "code", "status", "message"),
    [
        (
            "SageMaker.CreateTransformJob",
            "NotImplemented",
            501,
            "The local SageMaker does not have CreateTransformJob. It has AddTags, CreateModel.",
        ),
        (
            "SageMaker.MakeCoffee",
            "UnknownOperationException",
            404,
            "SageMaker has no operation 'SageMaker.MakeCoffee'; the local SageMaker has AddTags, "
            "CreateModel. Other services of AWS are at another address: see mme local status.",
        ),
        ("Logs_20140328.CreateModel", "UnknownOperationException", 404, "Logs_20140328"),
        ("CreateModel", "UnknownOperationException", 404, "'CreateModel'"),
        ("", "UnknownOperationException", 404, "has no operation ''"),
    ],
)
def test_other_operations_are_refused_by_name(
    target: str, code: str, status: int, message: str
) -> None:
    with pytest.raises(ApiError) as raised:
        json11.operation_name(target, BUILT)
    assert (raised.value.code, raised.value.status) == (code, status)
    assert message in raised.value.message


@pytest.mark.parametrize("body", [b"{", b"\xff", b"no"])
def test_a_body_that_is_not_json(body: bytes) -> None:
    with pytest.raises(ApiError, match="The body is not JSON") as raised:
        json11.read("ListModels", body)
    assert raised.value.code == "SerializationException"


def test_an_empty_body_is_an_empty_request() -> None:
    assert json11.read("ListModels", b"") == {}


def test_an_answer() -> None:
    reply = json11.reply("ListModels", {"Models": [], "NextToken": None})
    assert (reply.status, orjson.loads(reply.body)) == (200, {"Models": []})
    assert reply.headers["content-type"] == "application/x-amz-json-1.1"
    assert len(reply.headers["x-amzn-requestid"]) == 36
    assert json11.reply("DeleteModel", None).body == b""


@pytest.mark.parametrize("code", ["ValidationException", "ResourceInUse", "NotImplemented"])
def test_botocore_reads_an_error(code: str) -> None:
    reply = json11.error_reply(ApiError(code, "No.", 400))
    response = {"body": reply.body, "headers": reply.headers, "status_code": reply.status}
    shape = service(SAGEMAKER).operation_model("CreateTrainingJob").output_shape
    parsed = JSONParser().parse(response, shape)
    assert parsed["Error"] == {"Code": code, "Message": "No."}
