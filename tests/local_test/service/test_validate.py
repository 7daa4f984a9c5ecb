"""Requests against shapes; botocore's own check of parameters is the judge where it has a say."""

from __future__ import annotations

import string
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_local.errors import ApiError
from mme_local.service.model import SAGEMAKER, operation
from mme_local.service.validate import checked
from support.local_requests import config, model, training_job

REQUESTS = {
    "CreateModel": model(),
    "CreateEndpointConfig": config(),
    "CreateTrainingJob": training_job(),
    "CreateEndpoint": {"EndpointName": "houses", "EndpointConfigName": "houses"},
    "ListModels": {"MaxResults": 5, "SortBy": "Name"},
    "AddTags": {
        "ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/houses",
        "Tags": [{"Key": "a", "Value": ""}],
    },
}
ONLY_BOTOCORE_MINDS = (  # what JSON can say, and AWS takes
    "Parameter validation failed:",
    "Unknown parameter in",
    "value: None",
    ".0, type: <class 'float'>",
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e6, 1e6) | st.text("ab{}'"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("aK", min_size=1), inner, max_size=2)
    ),
    max_leaves=4,
)


def shape_of(name: str) -> Any:
    return operation(SAGEMAKER, name).input_shape


def refusal(name: str, request: Any) -> ApiError:
    with pytest.raises(ApiError) as raised:
        checked(shape_of(name), request)
    return raised.value


@pytest.mark.parametrize("name", list(REQUESTS))
def test_good_requests_pass_as_they_are(name: str) -> None:
    assert checked(shape_of(name), REQUESTS[name]) == REQUESTS[name]
    assert not ParamValidator().validate(REQUESTS[name], shape_of(name)).has_errors()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a request has something that could be something else."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    below = [place for key, item in inner for place in places(item, (*path, key))]
    return ([path] if path else []) + below


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@settings(max_examples=300)
@given(data=st.data())
def test_what_botocore_refuses_is_refused_here_too(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(REQUESTS)))
    path = data.draw(st.sampled_from(places(REQUESTS[name])))
    request = replaced(REQUESTS[name], path, data.draw(ANYTHING))
    report = ParamValidator().validate(request, shape_of(name)).generate_report()
    if any(not any(text in line for text in ONLY_BOTOCORE_MINDS) for line in report.splitlines()):
        assert refusal(name, request).code in ("ValidationException", "SerializationException")


@settings(max_examples=100)
@given(name=st.text(string.ascii_letters + string.digits + "-_. ä", max_size=70))
def test_names_are_held_against_their_pattern_and_length(name: str) -> None:
    good = len(name) <= 63 and name.isascii() and not set(name) & set("_. ")
    good = good and bool(name) and not name.startswith("-") and not name.endswith("-")
    request = {"EndpointName": name, "EndpointConfigName": "houses"}
    if good:
        assert checked(shape_of("CreateEndpoint"), request) == request
        return
    error = refusal("CreateEndpoint", request)
    assert error.code == "ValidationException"
    assert "validation error" in error.message
    assert f"Value '{name}' at 'endpointName' failed to satisfy constraint: " in error.message


@pytest.mark.parametrize(
    ("name", "request_", "message"),
    [
        (
            "CreateEndpoint",
            {"EndpointConfigName": "c"},
            "1 validation error detected: Value null at 'endpointName' failed to satisfy "
            "constraint: Member must not be null",
        ),
        (
            "CreateEndpoint",
            {"EndpointName": None, "EndpointConfigName": "a_b"},
            "2 validation errors detected: Value null at 'endpointName' failed to satisfy "
            "constraint: Member must not be null; Value 'a_b' at 'endpointConfigName' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern: "
            "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            "ListModels",
            {"MaxResults": 101},
            "1 validation error detected: Value '101' at 'maxResults' failed to satisfy "
            "constraint: Member must have value less than or equal to 100",
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": []},
            "1 validation error detected: Value '[]' at 'productionVariants' failed to satisfy "
            "constraint: Member must have length greater than or equal to 1",
        ),
        (
            "AddTags",
            {**REQUESTS["AddTags"], "Tags": [None]},
            "1 validation error detected: Value null at 'tags.1.member' failed to satisfy "
            "constraint: Member must not be null",
        ),
        (
            "CreateTrainingJob",
            training_job(HyperParameters={"num_round": None}),
            "1 validation error detected: Value '{num_round=null}' at 'hyperParameters' failed to "
            "satisfy constraint: Map value must satisfy constraint: [Member must have length less "
            "than or equal to 2500, Member must have length greater than or equal to 0, Member "
            "must satisfy regular expression pattern: .*, Member must not be null]",
        ),
        (
            "CreateModel",
            model(Environment={"1A": "x"}),
            "1 validation error detected: Value '{1A=x}' at 'primaryContainer.environment' failed "
            "to satisfy constraint: Map keys must satisfy constraint: [Member must have length "
            "less than or equal to 1024, Member must have length greater than or equal to 0, "
            "Member must satisfy regular expression pattern: [a-zA-Z_][a-zA-Z0-9_]*, Member must "
            "not be null]",
        ),
    ],
)
def test_the_texts_are_awss(name: str, request_: dict[str, Any], message: str) -> None:
    assert refusal(name, request_).message == message


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"MaxResults": "5"}, "STRING_VALUE can not be converted to an Integer"),
        ({"MaxResults": 1.5}, "NUMBER_VALUE can not be converted to an Integer"),
        ({"MaxResults": True}, "TRUE_VALUE can not be converted to an Integer"),
        ({"MaxResults": [5]}, "Start of structure or map found where not expected"),
        ({"SortBy": 1}, "NUMBER_VALUE can not be converted to a String"),
        ({"CreationTimeAfter": "never"}, "STRING_VALUE can not be converted to a Timestamp"),
        ({"CreationTimeAfter": False}, "FALSE_VALUE can not be converted to a Timestamp"),
        ([], "Start of structure or map found where not expected"),
        (1, "NUMBER_VALUE can not be converted to a Structure"),
    ],
)
def test_values_of_another_type(request_: Any, message: str) -> None:
    error = refusal("ListModels", request_)
    assert (error.code, error.message) == ("SerializationException", message)


def test_times_are_seconds_however_they_are_written() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for written in (moment.timestamp(), int(moment.timestamp()), "2026-01-02T03:04:05Z"):
        request = checked(shape_of("ListModels"), {"CreationTimeAfter": written})
        assert request == {"CreationTimeAfter": moment.timestamp()}


def test_what_aws_does_not_know_is_left_out() -> None:
    request = {"MaxResults": 5, "Colour": "red", "SortBy": None}
    assert checked(shape_of("ListModels"), request) == {"MaxResults": 5}


def test_advice_goes_after_awss_text() -> None:
    def advice(enumeration: str, value: str) -> str:
        return f" ({enumeration}: {value})"

    with pytest.raises(ApiError) as raised:
        checked(shape_of("ListModels"), {"SortOrder": "Up", "NameContains": "a b"}, advice)
    assert "[Ascending, Descending] (OrderKey: Up)" in raised.value.message
    assert raised.value.message.count("(") == 1


def test_what_is_sensitive_is_not_repeated() -> None:
    shape = operation("sagemaker-runtime", "InvokeEndpoint").input_shape
    request = {"EndpointName": "houses", "Body": b"", "CustomAttributes": "geheim-ä"}
    with pytest.raises(ApiError) as raised:
        checked(shape, request)
    assert "Value at 'customAttributes' failed" in raised.value.message
    assert "geheim" not in raised.value.message
