"""The execution role: that SageMaker may assume it, and what it may then do."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mme_hosting.aws import AwsError
from mme_hosting.context import Context
from mme_hosting.doctor.findings import Finding, failed, ok, warning
from mme_hosting.doctor.setup import Setup
from mme_hosting.errors import HostingError
from mme_hosting.iam.policies import execution
from mme_training.execution_role import refusal, trusts_sagemaker

_NEEDED: Final = ("Models", "Training", "ListModels", "Login", "Image")
"""The statements of the role's policy without which no endpoint starts."""
_ELSEWHERE: Final = ("Key",)
"""Those that another policy than the role's may stand in for."""


def role(setup: Setup) -> Iterator[Finding]:
    """That it exists in this account, trusts SageMaker, and may what it needs."""
    context = setup.context
    try:
        arn = context.role
    except HostingError as error:
        yield failed(str(error), "mme iam trust; mme iam execution")
        return
    account, name = arn.split(":")[4], arn.rpartition("/")[2]
    if account != context.aws.account:
        yield failed(
            f"{arn} is in the account {account}, and the credentials are of "
            f"{context.aws.account}: CreateModel takes roles of its own account only"
        )
        return
    fault = _fault(context, arn, name)
    if fault:
        yield fault
        return
    yield ok(f"{arn} exists, and SageMaker may assume it")
    yield from permissions(context, setup.training)


def _fault(context: Context, arn: str, name: str) -> Finding | None:
    """Why SageMaker cannot assume it; None if it can."""
    said = f"CreateModel would say: {refusal(arn)}"
    trust = "mme iam trust > trust.json && aws iam"
    document = "file://trust.json"
    found = context.aws.find("iam", "GetRole", f"the role {name}", RoleName=name)
    if found is None:
        return failed(
            f"there is no role {name}. {said}",
            f"{trust} create-role --role-name {name} --assume-role-policy-document {document}",
        )
    if found["Role"]["Arn"] != arn:
        return failed(f"the ARN of {name} is {found['Role']['Arn']}, and not {arn}. {said}")
    if not trusts_sagemaker(found["Role"].get("AssumeRolePolicyDocument")):
        return failed(
            f"the trust policy of {name} does not let SageMaker assume it. {said}",
            f"{trust} update-assume-role-policy --role-name {name} --policy-document {document}",
        )
    return None


def permissions(context: Context, training: bool = False) -> Iterator[Finding]:
    """Try the statements of ``mme iam execution`` on the role's own policies."""
    arn, name = context.role, context.role.rpartition("/")[2]
    statements = {each["Sid"]: each for each in execution(context, training)["Statement"]}
    asked = [statements[sid] for sid in (*_NEEDED, *_ELSEWHERE) if sid in statements]
    try:
        refused = {each["Sid"]: _refused(context, arn, each) for each in asked}
    except AwsError as error:
        why = "is denied to you" if error.denied else "has failed"
        yield warning(
            f"what {name} may do is not known: to simulate it {why}. Ask somebody who may",
            _command(arn, statements["Models"]),
        )
        return
    lacking = [each for sid in _NEEDED for each in refused.get(sid, ())]
    fix = (
        "mme iam execution"
        f"{' --training' if training else ''} > execution.json && aws iam put-role-policy "
        f"--role-name {name} --policy-name mme --policy-document file://execution.json"
    )
    if lacking:
        yield failed(f"{name} may not {'; '.join(lacking)}", fix)
    elif asked:
        yield ok(f"{name} may read the models and pull the image")
    if key := [each for sid in _ELSEWHERE for each in refused.get(sid, ())]:
        yield warning(f"{name} may not {'; '.join(key)}, unless the key's own policy lets it", fix)


def _refused(context: Context, arn: str, statement: Mapping[str, Any]) -> list[str]:
    """Which of a statement's actions the role may not take, and on what."""
    refused: dict[str, dict[str, None]] = {}
    for simulation in _simulations(arn, statement):
        pages = context.aws.pages("iam", "SimulatePrincipalPolicy", f"the role {arn}", **simulation)
        for result in (each for page in pages for each in page["EvaluationResults"]):
            if result["EvalDecision"] != "allowed":
                actions = refused.setdefault(result["EvalResourceName"], {})
                actions[result["EvalActionName"]] = None
    return [f"{', '.join(actions)} on {resource}" for resource, actions in refused.items()]


def _simulations(arn: str, statement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One for each value that a condition allows: a request has one of them.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    keys = {
        key: value
        for of_operator in statement.get("Condition", {}).values()
        for key, value in of_operator.items()
    }
    choices = (value if isinstance(value, list) else [value] for value in keys.values())
    # An example in place of the star: to the role's own policies it would be a letter.
    resources = [
        f"{each[:-1]}any.tar.gz" if each.endswith("/*") and ":s3:" in each else each
        for each in statement["Resource"]
    ]
    for chosen in itertools.product(*choices):
        entries = [
            {
                "ContextKeyName": key,
                "ContextKeyValues": [value],
                "ContextKeyType": "string" if isinstance(allowed, list) else "stringList",
            }
            for (key, allowed), value in zip(keys.items(), chosen, strict=True)
        ]
        yield {
            "PolicySourceArn": arn,
            "ActionNames": statement["Action"],
            "ResourceArns": resources,
            **({"ContextEntries": entries} if entries else {}),
        }


def _command(arn: str, statement: Mapping[str, Any]) -> str:
    request = next(_simulations(arn, statement))
    words = ["aws", "iam", "simulate-principal-policy", "--policy-source-arn", arn]
    words += ["--action-names", *request["ActionNames"], "--resource-arns"]
    return shlex.join([*words, *request["ResourceArns"]])
