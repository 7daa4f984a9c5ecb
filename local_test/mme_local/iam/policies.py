"""IAM policies as documents: whether they allow an action on a resource, in a context.

What is evaluated: Effect, Action and NotAction, Resource and NotResource, with wildcards, and
conditions on strings, ARNs, truth values and the absence of a key. A statement with another
condition operator does not match if it allows, and does if it denies: what is not understood gives
nobody anything.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

Decision = Literal["allow", "deny", "implicit deny"]
Context = Mapping[str, str | tuple[str, ...]]
"""Condition keys in lower case, and the value of each, or its values."""

_OPERATOR: Final = re.compile(
    r"(?:(?P<set>ForAnyValue|ForAllValues):)?"
    r"(?:Bool|(?P<of>String|Arn)(?P<not>Not)?(?P<how>Equals|EqualsIgnoreCase|Like))"
    r"(?P<exists>IfExists)?"
)
_ARN_PARTS: Final = 5  # colons in an ARN; what follows the last is one part


def decide(
    documents: Iterable[Mapping[str, Any]], action: str, resource: str, context: Context
) -> Decision:
    """What policies say together: an explicit deny counts for more than any allow.

    Args:
        documents: the policies.
        action: as ``sagemaker:InvokeEndpoint``.
        resource: an ARN.
        context: of the request.
    """
    allowed = False
    for document in documents:
        for statement in _list(document.get("Statement", [])):
            denies = statement.get("Effect") == "Deny"
            if not (_acts(statement, action) and _concerns(statement, resource)):
                continue
            if not _holds(statement.get("Condition", {}), context, otherwise=denies):
                continue
            if denies:
                return "deny"
            allowed |= statement.get("Effect") == "Allow"
    return "allow" if allowed else "implicit deny"


def _acts(statement: Mapping[str, Any], action: str) -> bool:
    if "Action" in statement:
        return any(_like(each, action, fold=True) for each in _list(statement["Action"]))
    others = _list(statement.get("NotAction", []))
    return bool(others) and not any(_like(each, action, fold=True) for each in others)


def _concerns(statement: Mapping[str, Any], resource: str) -> bool:
    if "Resource" in statement:
        return any(_like(each, resource) for each in _list(statement["Resource"]))
    others = _list(statement.get("NotResource", []))
    return bool(others) and not any(_like(each, resource) for each in others)


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Context, otherwise: bool) -> bool:
    """Whether all conditions hold; `otherwise` is for those that are not understood."""
    for operator, keys in conditions.items():
        for key, wanted in keys.items():
            if not _condition(operator, context.get(key.lower()), _list(wanted), otherwise):
                return False
    return True


def _condition(
    operator: str, value: str | tuple[str, ...] | None, wanted: list[Any], otherwise: bool
) -> bool:
    texts = [_text(each) for each in wanted]
    if operator == "Null":
        return (value is None) == ("true" in map(str.lower, texts))
    parsed = _OPERATOR.fullmatch(operator)
    if parsed is None:
        return otherwise
    if value is None:
        # AWS: a key that is not there fails a condition, but not a negated one.
        any_value = parsed["set"] == "ForAnyValue"
        negated = parsed["not"] and not any_value
        return bool(parsed["exists"] or parsed["set"] == "ForAllValues" or negated)
    met = (
        _compare(parsed["of"], parsed["how"], one, texts) != bool(parsed["not"])
        for one in _list(value)
    )
    return all(met) if parsed["set"] == "ForAllValues" else any(met)


def _compare(of: str | None, how: str | None, value: str, wanted: list[str]) -> bool:
    if of == "Arn":  # with either operator wildcards count
        return any(_like_arn(pattern, value) for pattern in wanted)
    if how == "Like":
        return any(_like(pattern, value) for pattern in wanted)
    if how in (None, "EqualsIgnoreCase"):  # truth values have no other comparison
        return value.lower() in {each.lower() for each in wanted}
    return value in wanted


def _like_arn(pattern: str, value: str) -> bool:
    """Whether an ARN is like a pattern, each of its parts by itself."""
    patterns, values = pattern.split(":", _ARN_PARTS), value.split(":", _ARN_PARTS)
    return len(patterns) == len(values) and all(map(_like, patterns, values))


def _text(value: Any) -> str:
    """A value of a policy, in which truth need not be in quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _like(pattern: str, value: str, fold: bool = False) -> bool:
    """Whether a value is like a pattern: ``*`` is any number of characters, ``?`` is one.

    A regular expression would take exponential time for some patterns; this goes back to the last
    star only, which is enough.
    """
    if fold:
        pattern, value = pattern.lower(), value.lower()
    at = position = 0
    star, resume = -1, 0
    while position < len(value):
        # A star first: the value may have one too, at which the pattern's is no plain letter.
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", value[position]):
            at += 1
            position += 1
        elif star >= 0:
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
