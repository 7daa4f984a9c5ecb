"""The binary protocol between MMS and its workers, as bytes in and bytes out.

Knows no sockets and no models. Integers are big-endian int32; a string or a body is its length and
its bytes; a list ends with -1. The format is that of MMS's ``ModelRequestEncoder`` and
``ModelResponseDecoder`` (multi-model-server 1.1.11). MMS sends one request at a time on a
connection and waits for its reply.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

_INT: Final = struct.Struct("!i")
_integer_at: Final = _INT.unpack_from
_END_OF_LIST: Final = -1
_END: Final = _INT.pack(_END_OF_LIST)
_LOAD: Final = ord("L")
_PREDICT: Final = ord("I")

LOADED_MESSAGE: Final = "loaded [PID]:"  # MMS reads the process id behind the colon


class ProtocolError(ValueError):
    """The bytes are not this protocol: the connection cannot be used any more."""


class IncompleteError(Exception):
    """The message has not arrived whole; read more and parse again."""


class LoadRequest(NamedTuple):
    """MMS asks for a model; `stream_id` names the two output files that it opens afterwards."""

    model_name: str
    model_path: str
    batch_size: int
    handler: str
    gpu: int
    stream_id: str


class InvokeRequest(NamedTuple):
    """One invocation: header names are lower case; `body` is the bytes the client sent."""

    request_id: str
    headers: dict[str, str]
    content_type: str
    body: bytes


def parse(data: bytes | bytearray) -> LoadRequest | list[InvokeRequest]:
    """Parse the one message that `data` holds.

    Raises:
        IncompleteError: more bytes are to come.
        ProtocolError: an unknown command, a negative length, or bytes behind the message.
    """
    if not data:
        raise IncompleteError
    message: LoadRequest | list[InvokeRequest]
    try:
        if data[0] == _PREDICT:
            message, position = _invocations(data)
        elif data[0] == _LOAD:
            message, position = _load(data)
        else:
            raise ProtocolError(f"unknown command {bytes(data[:1])!r}")
    except struct.error:  # a length that has not arrived
        raise IncompleteError from None
    if position > len(data):
        raise IncompleteError
    if position < len(data):
        raise ProtocolError(f"{len(data) - position} bytes behind the message")
    return message


def _length(data: bytes | bytearray, position: int) -> int:
    length: int = _integer_at(data, position)[0]
    if length < 0:
        raise ProtocolError(f"negative length {length}")
    return length


def _load(data: bytes | bytearray) -> tuple[LoadRequest, int]:
    position = 1

    def string() -> str:
        nonlocal position
        start = position + 4
        position = start + _length(data, position)
        return data[start:position].decode("utf-8", "replace")

    def integer() -> int:
        nonlocal position
        position += 4
        return int(_integer_at(data, position - 4)[0])

    request = LoadRequest(string(), string(), integer(), string(), integer(), string())
    return request, position


def _invocations(data: bytes | bytearray) -> tuple[list[InvokeRequest], int]:
    # Written out, for it runs for every request: a length is read, and what it measures cut off.
    # A slice may come out short; then no length can be read behind it.
    requests = []
    position = 1
    while _integer_at(data, position)[0] != _END_OF_LIST:
        end = position + 4 + _length(data, position)
        request_id = data[position + 4 : end].decode("utf-8", "replace")
        position = end
        headers = {}
        while (length := _integer_at(data, position)[0]) != _END_OF_LIST:
            value = position + 4 + length
            name = data[position + 4 : value].decode("utf-8", "replace").lower()
            value_length = _integer_at(data, value)[0]
            if length < 0 or value_length < 0:
                raise ProtocolError(f"negative length {min(length, value_length)}")
            position = value + 4 + value_length
            headers[name] = data[value + 4 : position].decode("utf-8", "replace")
        position += 4
        body = b""
        while _integer_at(data, position)[0] != _END_OF_LIST:
            # A parameter: its name, the request's content type once more, and its bytes.
            content_type = position + 4 + _length(data, position)
            value = content_type + 4 + _length(data, content_type)
            name_bytes = data[position + 4 : content_type]
            position = value + 4 + _length(data, value)
            if name_bytes == b"body":
                body = bytes(data[value + 4 : position])
        position += 4
        requests.append(InvokeRequest(request_id, headers, headers.get("content-type", ""), body))
    return requests, position + 4


def load_reply(status: int, message: str) -> bytes:
    """The answer to a `LoadRequest`; 200 needs `LOADED_MESSAGE` and a process id as its message."""
    return _INT.pack(status) + _string(message) + _END


Prediction = tuple[str, int, str, str, bytes, Mapping[str, str]]
"""The answer to one invocation: request id, status, phrase, content type, body, more headers."""


def invoke_reply(prediction: Prediction) -> bytes:
    """The answer to one invocation."""
    return b"".join((_HEAD, _prediction(*prediction), _END))


def batch_reply(predictions: list[Prediction]) -> bytes:
    """The answer to several invocations that came in one message."""
    return b"".join((_HEAD, *(_prediction(*prediction) for prediction in predictions), _END))


# The status of the message as a whole, and no text with it: what MMS tells the client is in each
# prediction. MMS's decoder reads a prediction's status without checking that it has arrived, so
# what comes before it is kept short enough to be in the first piece of any reply.
_HEAD: Final = _INT.pack(200) + _INT.pack(0)


def _prediction(
    request_id: str,
    status: int,
    phrase: str,
    content_type: str,
    body: bytes,
    headers: Mapping[str, str],
) -> bytes:
    head = _prediction_head(status, phrase, content_type)
    more = _headers(headers) if headers else _NO_HEADERS
    return b"".join((_string(request_id), head, more, _INT.pack(len(body)), body))


_NO_HEADERS: Final = _INT.pack(0)


def _headers(headers: Mapping[str, str]) -> bytes:
    pairs = (_string(name) + _string(value) for name, value in headers.items())
    return _INT.pack(len(headers)) + b"".join(pairs)


@lru_cache(maxsize=1000)
def _prediction_head(status: int, phrase: str, content_type: str) -> bytes:
    return _string(content_type) + _INT.pack(status) + _string(phrase)


def _string(value: str) -> bytes:
    encoded = value.encode("utf-8", "backslashreplace")  # a lone surrogate is no UTF-8
    return _INT.pack(len(encoded)) + encoded
