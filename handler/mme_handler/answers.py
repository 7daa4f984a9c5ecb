"""What a model's own code answers with, made fit for HTTP.

MMS passes on whatever a worker says: a status that is none ends the connection or keeps the client
waiting, and the end of a line in a header begins another header. So every answer of a model's code
is made here, and what HTTP cannot carry is a `ModelError` that names it.
"""

from __future__ import annotations

import json
import math
import operator
import re
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from mme_handler.errors import ModelError

JSON: Final = "application/json"

_LONGEST_PHRASE: Final = 200
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# They are about the connection or the length of the body, which MMS says itself.
_OF_THE_SERVER: Final = frozenset(
    (
        *("connection", "content-length", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)


class Answer(NamedTuple):
    """What a model's own code answers one request with; `content_type` may be empty."""

    status: int
    phrase: str
    content_type: str
    body: bytes
    headers: dict[str, str]
    """Further headers that the code has set."""


def make(who: str, context: Any, body: bytes, content_type: str | None, default: str) -> Answer:
    """The answer with this body and with what has been set in the context.

    Args:
        who: what of the model has answered, for messages.
        context: MMS's, after the call.
        body: the body.
        content_type: what has been returned with the body: it comes before one that is set.
        default: the content type if none is set either.

    Raises:
        ModelError: HTTP cannot carry what has been set.
    """
    given, phrase = context.get_response_status(0)
    status = http_status(HTTPStatus.OK if given is None else given)
    if status is None:
        raise ModelError(f"{who} of the model set {given!r:.80}, which is no HTTP status")
    headers = {}
    for name, value in context.get_response_headers(0).items():
        if value is None:
            continue
        if not _TOKEN.fullmatch(str(name)):
            raise ModelError(
                f"{who} of the model set a header named {name!r:.80}, which HTTP does not allow"
            )
        if str(name).lower() == "content-type":
            default = _value(who, str(name), value)
        elif str(name).lower() not in _OF_THE_SERVER:
            headers[str(name)] = _value(who, str(name), value)
    content_type = _value(who, "content-type", default if content_type is None else content_type)
    return Answer(status, _clean(phrase) or _phrase(status), content_type, body, headers)


def http_status(status: object, least: int = 200) -> int | None:
    """The status as an integer, if it is one from `least` to 599."""
    try:
        number = operator.index(status)  # type: ignore[arg-type]
    except Exception:
        return None
    return number if least <= number <= 599 else None


def error_status(status: object) -> int:
    """The status of an error: as it is if it is that of one, else 500."""
    return http_status(status, 400) or int(HTTPStatus.INTERNAL_SERVER_ERROR)


def encode(value: Any, said: str) -> tuple[bytes, str]:
    """The bytes of bytes, text, or what JSON can express; and their type, empty if not JSON.

    As MMS writes them, but for NaN and infinity, which are null.

    Args:
        value: what to encode.
        said: where it is from, for messages, such as ``handle of the model returned``.

    Raises:
        ModelError: it cannot be encoded.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), ""
    if isinstance(value, str):
        try:
            return value.encode(), ""
        except UnicodeEncodeError as error:
            raise ModelError(f"{said} text, which UTF-8 cannot express: {error}") from error
    try:
        try:
            text = json.dumps(value, indent=2, allow_nan=False)
        except ValueError:
            text = json.dumps(_finite(value), indent=2)
        return text.encode(), JSON
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{said} {kind(value)}, which is neither bytes nor text nor JSON: {error}"
        ) from error


def kind(value: object) -> str:
    """What a value is, for messages."""
    return "None" if value is None else type(value).__name__


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _value(who: str, name: str, value: object) -> str:
    """The value of a header, in the characters that HTTP has."""
    text = str(value).strip(" \t")
    if _CONTROL.search(text):
        raise ModelError(
            f"{who} of the model set {name!r:.80} to {text!r:.80}, which has a control character"
        )
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


def _clean(phrase: object) -> str:
    """A reason phrase that HTTP allows: one short line of ASCII."""
    line = " ".join(str(phrase or "").split()).encode("ascii", "replace").decode()
    return _CONTROL.sub("", line)[:_LONGEST_PHRASE]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error" if status >= HTTPStatus.BAD_REQUEST else "OK"
