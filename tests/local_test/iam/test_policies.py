from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_local.iam.policies import decide

ACTION = "sagemaker:InvokeEndpoint"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/houses"
CONTEXT = {"sagemaker:targetmodel": "company_a/Chicago_IL.tar.gz"}


def statement(effect: str = "Allow", **rest: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": ACTION, "Resource": "*", **rest}


def verdict(*statements: dict[str, Any], context: Any = CONTEXT) -> str:
    return decide([{"Statement": list(statements)}], ACTION, ARN, context)


def test_nothing_is_allowed_by_itself() -> None:
    assert verdict() == "implicit deny"


def test_only_allow_allows() -> None:
    assert verdict(statement("deny")) == "implicit deny"
    assert verdict({"Action": "*", "Resource": "*"}) == "implicit deny"


def test_a_deny_counts_for_more_than_an_allow() -> None:
    assert verdict(statement(), statement("Deny")) == "deny"
    assert verdict(statement("Deny"), statement()) == "deny"


def test_a_single_statement_need_not_be_a_list() -> None:
    assert decide([{"Statement": statement()}], ACTION, ARN, {}) == "allow"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("*", True),
        ("sagemaker:*", True),
        ("SageMaker:invoke*", True),
        ("sagemaker:Invoke?ndpoint", True),
        (["s3:GetObject", "sagemaker:InvokeEndpoint"], True),
        ("sagemaker:Describe*", False),
        ("s3:*", False),
    ],
)
def test_actions(action: Any, expected: bool) -> None:
    assert (verdict(statement(Action=action)) == "allow") is expected
    without = {"Effect": "Allow", "NotAction": action, "Resource": "*"}
    assert (verdict(without) == "allow") is not expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (ARN, True),
        ("arn:aws:sagemaker:*:*:endpoint/hous*", True),
        ("arn:aws:sagemaker:us-east-1:123456789012:endpoint/other", False),
        ("arn:aws:sagemaker:us-east-1:123456789012:Endpoint/houses", False),
        ("arn:aws:s3:::*", False),
    ],
)
def test_resources(resource: str, expected: bool) -> None:
    assert (verdict(statement(Resource=resource)) == "allow") is expected
    without = {"Effect": "Allow", "Action": ACTION, "NotResource": resource}
    assert (verdict(without) == "allow") is not expected


KEY = "sagemaker:TargetModel"


@pytest.mark.parametrize(
    ("condition", "with_key", "without_key"),
    [
        ({"StringLike": {KEY: ["company_a/*"]}}, True, False),
        ({"StringLike": {KEY: "company_?/Chicago_IL.tar.gz"}}, True, False),
        ({"StringLike": {KEY: ["company_b/*"]}}, False, False),
        ({"StringLike": {"SAGEMAKER:targetmodel": "company_a/*"}}, True, False),
        ({"StringLike": {KEY: "company_[a]/*"}}, False, False),
        ({"StringEquals": {KEY: "company_a/Chicago_IL.tar.gz"}}, True, False),
        ({"StringEquals": {KEY: "company_a/*"}}, False, False),
        ({"StringEqualsIgnoreCase": {KEY: "COMPANY_A/chicago_il.tar.gz"}}, True, False),
        ({"StringNotEquals": {KEY: "company_a/Chicago_IL.tar.gz"}}, False, True),
        ({"StringNotLike": {KEY: "company_b/*"}}, True, True),
        ({"StringLikeIfExists": {KEY: "company_b/*"}}, False, True),
        ({"StringEqualsIfExists": {KEY: "company_a/Chicago_IL.tar.gz"}}, True, True),
        ({"ForAnyValue:StringLike": {KEY: ["company_b/*", "company_a/*"]}}, True, False),
        ({"ForAllValues:StringLike": {KEY: ["company_a/*"]}}, True, True),
        ({"Null": {KEY: "true"}}, False, True),
        ({"Null": {KEY: []}}, True, False),
        ({"StringLike": {KEY: "company_a/*"}, "StringEquals": {"aws:x": "y"}}, False, False),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False, False),
    ],
)
def test_conditions(condition: dict[str, Any], with_key: bool, without_key: bool) -> None:
    allowing = statement(Condition=condition)
    assert (verdict(allowing) == "allow") is with_key
    assert (verdict(allowing, context={}) == "allow") is without_key


ROLE = "arn:aws:iam::123456789012:role/mme/app"


@pytest.mark.parametrize(
    ("condition", "with_key", "without_key"),
    [
        ({"ArnLike": {"k": "arn:aws:iam::*:role/mme/*"}}, True, False),
        ({"ArnEquals": {"k": "arn:aws:iam::123456789012:role/mme/a??"}}, True, False),
        ({"ArnLike": {"k": ["arn:aws:iam::1*", ROLE]}}, True, False),
        ({"ArnLike": {"k": "arn:aws:*:role/mme/app"}}, False, False),  # a star is within a part
        ({"ArnLike": {"k": "*"}}, False, False),
        ({"ArnNotLike": {"k": "arn:aws:iam::*:role/mme/*"}}, False, True),
        ({"ArnNotEquals": {"k": "arn:aws:iam::*:user/*"}}, True, True),
        ({"ArnLikeIfExists": {"k": "arn:aws:iam::*:user/*"}}, False, True),
    ],
)
def test_conditions_on_arns(condition: dict[str, Any], with_key: bool, without_key: bool) -> None:
    allowing = statement(Condition=condition)
    assert (verdict(allowing, context={"k": ROLE}) == "allow") is with_key
    assert (verdict(allowing, context={}) == "allow") is without_key


@pytest.mark.parametrize("wanted", ["true", True, ["true"], "True"])
def test_conditions_on_truth(wanted: Any) -> None:
    for operator, without in (("Bool", False), ("BoolIfExists", True)):
        allowing = statement(Condition={operator: {"k": wanted}})
        for context, expected in (({"k": "true"}, True), ({"k": "false"}, False), ({}, without)):
            assert (verdict(allowing, context=context) == "allow") is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("ForAllValues:StringEquals", {"a": True, "ab": True, "ac": False, "c": False, "": True}),
        ("ForAnyValue:StringEquals", {"a": True, "ab": True, "ac": True, "c": False, "": False}),
        ("ForAllValues:StringNotEquals", {"a": False, "ac": False, "c": True, "": True}),
        ("ForAnyValue:StringNotEquals", {"a": False, "ac": True, "c": True, "": False}),
    ],
)
def test_keys_of_several_values(operator: str, expected: dict[str, bool]) -> None:
    """Letters are the values; what is wanted is a or b."""
    allowing = statement(Condition={operator: {"k": ["a", "b"]}})
    for values, allowed in expected.items():
        context: Any = {"k": tuple(values)} if values else {}
        assert (verdict(allowing, context=context) == "allow") is allowed, values


def test_a_deny_with_a_condition_that_is_not_understood_denies() -> None:
    denying = statement("Deny", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    assert verdict(statement(), denying) == "deny"


def test_hostile_patterns_take_no_time() -> None:
    condition = {"StringLike": {KEY: "*a" * 12 + "b"}}
    context = {KEY.lower(): "a" * 1000}
    assert verdict(statement(Condition=condition), context=context) == "implicit deny"
    assert verdict(statement(Resource="*" * 5000)) == "allow"


@given(st.text("ab*?", max_size=6), st.text("ab*?", max_size=8))
def test_wildcards_are_those_of_a_shell(pattern: str, value: str) -> None:
    condition = {"StringLike": {KEY: pattern}}
    allowed = verdict(statement(Condition=condition), context={KEY.lower(): value}) == "allow"
    assert allowed == fnmatchcase(value, pattern)
