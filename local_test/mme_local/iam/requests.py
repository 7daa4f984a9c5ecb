"""Requests to the services of AWS, as far as IAM is about them: by whom, and which operation.

The services that are asked here speak AWS's JSON protocol or its query protocol; S3 has its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

_CREDENTIAL: Final = re.compile(r"([^/\s=]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_IN_HEADER: Final = "Credential="
_IN_ADDRESS: Final = "X-Amz-Credential"
_OLDER: Final = re.compile(r"AWS ([^/\s:=]+):")  # signature version 2, of S3 only
_IN_OLDER_ADDRESS: Final = "AWSAccessKeyId"  # boto3's default
_ANY_REGION: Final = "us-east-1"  # that version does not say it
_PREFIXES: Final = {"monitoring": "cloudwatch", "tagging": "tag"}
"""Where IAM has another name for a service than its signatures."""


@dataclass(frozen=True, slots=True)
class Signer:
    """What a request is signed with, and for."""

    key: str
    region: str
    service: str
    """As it is signed for: ``monitoring``."""

    @property
    def prefix(self) -> str:
        """Of the service's actions in IAM: ``cloudwatch``."""
        return _PREFIXES.get(self.service, self.service)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a service, and what it is called with."""

    name: str
    members: Mapping[str, Any]


def signer(environ: Mapping[str, Any]) -> Signer | None:
    """By whom a request is, from its header or, of a presigned URL, its address; None: unsigned."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if signed := _OLDER.match(header):
        return Signer(signed[1], _ANY_REGION, "s3")
    _, found, scope = header.partition(_IN_HEADER)
    if not found:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if older := query.get(_IN_OLDER_ADDRESS):
            return Signer(older[0], _ANY_REGION, "s3")
        scope = query.get(_IN_ADDRESS, [""])[0]
    parsed = _CREDENTIAL.match(scope)
    if parsed is None:
        return None
    key, region, service = parsed.groups()
    return Signer(key, region, service.lower())


def operation(environ: dict[str, Any]) -> Operation | None:
    """What a request asks for; None for a protocol that is not known here, or two at once."""
    target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    form = {name: values[0] for name, values in form_of(environ).items()}
    if target:
        if "Action" in form:  # whoever answers takes this one
            return None
        try:
            members = orjson.loads(body(environ) or b"{}")
        except orjson.JSONDecodeError:  # moto says what is wrong
            members = {}
        return Operation(target, members if isinstance(members, dict) else {})
    return Operation(form["Action"], form) if "Action" in form else None


def form_of(environ: dict[str, Any]) -> dict[str, list[str]]:
    """The members of a request in the query protocol, by their dotted names."""
    form = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form |= parse_qs(body(environ).decode(errors="replace"), keep_blank_values=True)
    return form


def listed(members: Mapping[str, Any], name: str) -> list[Any]:
    """A list of a request, which the query protocol has as ``Name.member.1`` and so on."""
    if name in members:
        value = members[name]
        return value if isinstance(value, list) else [value]
    numbers = (
        key.rpartition(".")[2]
        for key in members
        if key.startswith(f"{name}.member.") and key.count(".") == name.count(".") + 2
    )
    found = sorted(int(number) for number in numbers if number.isdecimal())
    return [members[f"{name}.member.{number}"] for number in found]


def body(environ: dict[str, Any]) -> bytes:
    """The body, which whoever answers the request can read again."""
    chunked = environ.get("wsgi.input_terminated")
    length = -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
    read: bytes = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(read)
    return read
