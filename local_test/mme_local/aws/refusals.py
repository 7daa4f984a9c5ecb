"""How the services of AWS say that something is not there, in the protocol of the request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson

from mme_local.iam.requests import signer
from mme_local.settings import ADDRESS

Respond = Callable[..., Any]
"""WSGI's ``start_response``."""

_LIST: Final = "https://docs.getmoto.org/en/latest/docs/services"
_OWN_NAMES: Final = ".localhost"  # as of buckets: houses.s3.localhost
_ACTION: Final = re.compile(r"The (\w+) action has not been implemented")
_IN_QUERY_MODE: Final = "HTTP_X_AMZN_QUERY_MODE"  # JSON, with the query protocol's codes


def service_of(environ: dict[str, Any]) -> str:
    """The service that a request is signed for; empty for one that is not signed."""
    signed = signer(environ)
    return signed.service if signed else ""


def elsewhere(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
    """SageMaker's requests, which are not for this address."""
    text = (
        "SageMaker and its runtime are not at this address but at that of "
        "AWS_ENDPOINT_URL_SAGEMAKER and AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME, as mme local exec has "
        "them; SageMaker's other services, as its feature store, are not here at all"
    )
    return _refuse(environ, respond, "400 BAD REQUEST", "UnknownOperationException", text)


def from_a_page(environ: dict[str, Any]) -> bool:
    """Whether a browser sends this for a page of elsewhere, or under a name that is not ours.

    Clients of AWS name no origin. A page's form could else write to S3 without being asked back.
    """
    host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
    known = host in (ADDRESS, "localhost") or host.endswith(_OWN_NAMES)
    return not known or "HTTP_ORIGIN" in environ


def forbidden(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
    """Refuse what a page of elsewhere has sent."""
    text = "only programs on this machine are answered, at 127.0.0.1 or localhost"
    return _refuse(environ, respond, "403 FORBIDDEN", "AccessDenied", text)


def denied(environ: dict[str, Any], respond: Respond, text: str) -> Iterable[bytes]:
    """Refuse what a caller's policies do not allow."""
    older = service_of(environ) == "s3" or _is_query(environ) or _IN_QUERY_MODE in environ
    code = "AccessDenied" if older else "AccessDeniedException"
    return _refuse(environ, respond, "403 FORBIDDEN", code, text)


def no_operation(
    environ: dict[str, Any], respond: Respond, error: NotImplementedError
) -> Iterable[bytes]:
    """An operation that moto does not have; `error` is how moto says so."""
    operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    if not operation and (named := _ACTION.search(str(error))):
        operation = "".join(word.capitalize() for word in named[1].split("_"))
    asked = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}"
    return _not_there(environ, respond, f"{operation or asked} of ")


def no_service(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
    """A service that moto does not have."""
    return _not_there(environ, respond, "the service ")


def _not_there(environ: dict[str, Any], respond: Respond, what: str) -> Iterable[bytes]:
    service = service_of(environ) or "this service"
    text = f"moto, which is AWS here, does not have {what}{service}. What it has: {_LIST}"
    return _refuse(environ, respond, "501 NOT IMPLEMENTED", "NotImplemented", text)


def _is_query(environ: dict[str, Any]) -> bool:
    return str(environ.get("CONTENT_TYPE", "")).startswith("application/x-www-form-urlencoded")


def _refuse(
    environ: dict[str, Any], respond: Respond, status: str, code: str, text: str
) -> Iterable[bytes]:
    error = f"<Error><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
    if service_of(environ) == "s3":
        kind, body = "application/xml", error.encode()
    elif _is_query(environ):
        kind, body = "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()
    else:
        kind = "application/x-amz-json-1.1"
        body = orjson.dumps({"__type": code, "message": text})
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("x-amzn-ErrorType", code),
    ]
    respond(status, headers)
    return [body]
