from __future__ import annotations

from typing import Any

import pytest

from mme_training.execution_role import trusts_sagemaker

SERVICE = "sagemaker.amazonaws.com"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(**members: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": SERVICE},
        "Action": "sts:AssumeRole",
        **members,
    }


@pytest.mark.parametrize(
    "document",
    [
        policy(statement()),
        {"Statement": statement()},
        policy(statement(Action=["sts:TagSession", "sts:AssumeRole"])),
        policy(statement(Action="sts:*")),
        policy(statement(Principal={"Service": ["lambda.amazonaws.com", SERVICE]})),
        policy(statement(Principal="*")),
        policy(statement(Principal={"AWS": "arn:aws:iam::1:root"}), statement()),
    ],
)
def test_policies_that_let_sagemaker_assume_the_role(document: dict[str, Any]) -> None:
    assert trusts_sagemaker(document)


@pytest.mark.parametrize(
    "document",
    [
        {},
        policy(),
        policy(statement(Principal={"Service": "lambda.amazonaws.com"})),
        policy(statement(Principal={"AWS": "*"})),
        policy(statement(Action="sts:TagSession")),
        policy(statement(Effect="Deny")),
        policy(statement(), statement(Effect="Deny")),
        [],
        "{",
        {"Statement": ["*"]},
    ],
)
def test_policies_that_do_not(document: Any) -> None:
    assert not trusts_sagemaker(document)
