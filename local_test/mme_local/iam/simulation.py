"""SimulatePrincipalPolicy and SimulateCustomPolicy, which moto does not have.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from mme_local.iam.guard import backend, policies
from mme_local.iam.policies import Context, decide
from mme_local.iam.requests import form_of, listed, signer
from mme_local.settings import ACCOUNT

_OPERATIONS: Final = ("SimulatePrincipalPolicy", "SimulateCustomPolicy")
_DECISIONS: Final = {"allow": "allowed", "deny": "explicitDeny", "implicit deny": "implicitDeny"}
_NOT_HERE: Final = ("PermissionsBoundaryPolicyInputList", "ResourcePolicy")
_NAMESPACE: Final = "https://iam.amazonaws.com/doc/2010-05-08/"


class _WrongError(Exception):
    """A simulation that cannot be made: IAM's code, and why."""


def answer(environ: dict[str, Any]) -> Response | None:
    """What a request to simulate is answered; None for any other request."""
    signed = signer(environ)
    if signed is None or signed.service != "iam":
        return None
    form = {name: values[0] for name, values in form_of(environ).items()}
    operation = form.get("Action", "")
    if operation not in _OPERATIONS:
        return None
    try:
        results = "".join(_results(form))
    except _WrongError as error:
        code, text = error.args
        status = HTTPStatus.NOT_FOUND if code == "NoSuchEntity" else HTTPStatus.BAD_REQUEST
        wrong = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(text)}</Message>"
        return _xml(f"<ErrorResponse>{wrong}</Error></ErrorResponse>", status)
    return _xml(
        f'<{operation}Response xmlns="{_NAMESPACE}"><{operation}Result><EvaluationResults>{results}'
        f"</EvaluationResults><IsTruncated>false</IsTruncated></{operation}Result>"
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    )


def _xml(body: str, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status, content_type="text/xml")


def _results(form: Mapping[str, str]) -> Iterator[str]:
    """An element for each action and resource."""
    if wrong := [name for name in form if name.startswith(_NOT_HERE)]:
        raise _WrongError("InvalidInput", f"{wrong[0]} is not supported by the local SageMaker.")
    documents = [*_principal(form), *map(_parsed, listed(form, "PolicyInputList"))]
    context = _context(form)
    for action in listed(form, "ActionNames"):
        for resource in listed(form, "ResourceArns") or ["*"]:
            decision = _DECISIONS[decide(documents, action, resource, context)]
            yield (
                f"<member><EvalActionName>{escape(action)}</EvalActionName>"
                f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
                f"<EvalDecision>{decision}</EvalDecision><MatchedStatements/>"
                "<MissingContextValues/></member>"
            )


def _principal(form: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The policies of the user, group or role that is named, if one is."""
    arn = form.get("PolicySourceArn")
    if arn is None:
        return []
    of: Any = (*backend().users.values(), *backend().groups.values(), *backend().get_roles())
    found = next((each for each in of if each.arn == arn), None)
    if found is None:
        if not arn.startswith(f"arn:aws:iam::{ACCOUNT}:"):
            raise _WrongError(
                "InvalidInput",
                f"Invalid Entity Arn: {arn} does not clearly define entity type and name.",
            )
        raise _WrongError("NoSuchEntity", f"The entity with ARN {arn} cannot be found.")
    return policies(found)


def _context(form: Mapping[str, str]) -> Context:
    """ContextEntries: the keys of conditions, and their values."""
    numbers = (name.split(".")[2] for name in form if name.startswith("ContextEntries.member."))
    entries = (f"ContextEntries.member.{number}" for number in sorted(set(numbers)))
    return {
        form[f"{entry}.ContextKeyName"].lower(): tuple(listed(form, f"{entry}.ContextKeyValues"))
        for entry in entries
        if f"{entry}.ContextKeyName" in form
    }


def _parsed(document: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(document)
    except json.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise _WrongError("InvalidInput", "A policy of PolicyInputList is no JSON object.")
    return parsed
