from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from botocore.parsers import JSONParser
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_local.service.model import SAGEMAKER, operation
from mme_local.service.shape import ShapeError, shaped

OPERATIONS = (
    "DescribeModel",
    "DescribeEndpointConfig",
    "DescribeEndpoint",
    "DescribeTrainingJob",
    "ListTrainingJobs",
    "ListTags",
)
TIMES = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)


def output(name: str) -> Any:
    return operation(SAGEMAKER, name).output_shape


def values(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Anything that an answer of this shape may be; deeper optional members are left out."""
    if shape.type_name == "structure":
        required = {name: values(shape.members[name], depth + 1) for name in shape.required_members}
        optional = {
            name: values(member, depth + 1)
            for name, member in shape.members.items()
            if name not in required and depth < 2
        }
        return st.fixed_dictionaries(required, optional=optional)
    if shape.type_name == "list":
        return st.lists(values(shape.member, depth + 1), max_size=2)
    if shape.type_name == "map":
        return st.dictionaries(st.text(max_size=5), values(shape.value, depth + 1), max_size=2)
    scalars: dict[str, st.SearchStrategy[Any]] = {
        "string": st.text(max_size=8),
        "boolean": st.booleans(),
        "integer": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "timestamp": TIMES,
    }
    return scalars[shape.type_name]


def read_back(shape: Any, value: Any) -> Any:
    """What botocore makes of an answer, times in seconds again."""
    response = {"body": orjson.dumps(value), "headers": {}, "status_code": 200}
    parsed = JSONParser().parse(response, shape)
    del parsed["ResponseMetadata"]
    return _plain(parsed)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return round(value.timestamp(), 3) if isinstance(value, datetime) else value


@settings(max_examples=100)
@given(data=st.data())
def test_botocore_reads_back_what_was_answered(data: st.DataObject) -> None:
    shape = output(data.draw(st.sampled_from(OPERATIONS)))
    value = data.draw(values(shape))
    assert read_back(shape, shaped(shape, value)) == value


def described(**members: Any) -> dict[str, Any]:
    return {"ModelName": "m", "ModelArn": "arn", "CreationTime": 1.0, **members}


def test_members_that_aws_does_not_know_and_those_without_a_value_are_left_out() -> None:
    answer = shaped(output("DescribeModel"), described(Colour="red", VpcConfig=None))
    assert answer == {"ModelName": "m", "CreationTime": 1.0, "ModelArn": "arn"}


def test_times_are_seconds_with_milliseconds() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(microseconds=123_456)
    for time in (moment, moment.timestamp()):
        answer = shaped(output("DescribeModel"), described(CreationTime=time))
        assert answer["CreationTime"] == 1767312000.123


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (described(ModelArn=None), "answer lacks ModelArn"),
        (described(ModelName=1), r"answer\.ModelName must be a string: 1"),
        (described(EnableNetworkIsolation="no"), "must be a boolean"),
        (described(CreationTime="now"), "must be a time"),
        (described(CreationTime=True), "must be a time"),
        (described(Containers={}), r"answer\.Containers must be a list"),
        (described(Containers=[{"Image": 1}]), r"answer\.Containers\[0\]\.Image must be a string"),
        (described(PrimaryContainer=[]), r"answer\.PrimaryContainer must be a mapping"),
        (described(PrimaryContainer={"Environment": {"A": 1}}), r"Environment\.A must be a string"),
        (None, "answer must be a mapping"),
    ],
)
def test_an_answer_that_aws_would_not_give_is_a_mistake(answer: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        shaped(output("DescribeModel"), answer)


def test_a_number_is_not_a_boolean() -> None:
    summary = {"VariantName": "v", "DesiredInstanceCount": True}
    endpoint = {
        "EndpointName": "e",
        "EndpointArn": "arn",
        "EndpointStatus": "InService",
        "CreationTime": 1,
        "LastModifiedTime": 1,
        "ProductionVariants": [summary],
    }
    with pytest.raises(ShapeError, match="must be a integer"):
        shaped(output("DescribeEndpoint"), endpoint)


def test_an_operation_may_answer_with_nothing() -> None:
    assert shaped(None, None) == {}
