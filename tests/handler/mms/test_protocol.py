"""The wire codec against frames built as MMS's own encoder builds them."""

from __future__ import annotations

import contextlib
import struct
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_handler.mms import protocol
from mme_handler.mms.protocol import IncompleteError, InvokeRequest, LoadRequest, ProtocolError

END = b"\xff\xff\xff\xff"

LOAD_FRAME = (
    b"L"
    b"\x00\x00\x00\x01m"
    b"\x00\x00\x00\x06/a/b c"
    b"\x00\x00\x00\x02"  # batch size
    b"\x00\x00\x00\x01h"
    b"\xff\xff\xff\xff"  # no GPU
    b"\x00\x00\x00\x04out7"
)
INVOKE_FRAME = (
    b"I"
    b"\x00\x00\x00\x02r1"
    b"\x00\x00\x00\x0cContent-Type\x00\x00\x00\x08text/csv"
    b"\x00\x00\x00\x06Accept\x00\x00\x00\x00" + END + b"\x00\x00\x00\x04body"
    b"\x00\x00\x00\x08text/csv"
    b"\x00\x00\x00\x041,2\n" + END + END
)


def integer(value: int) -> bytes:
    return struct.pack("!i", value)


def string(value: str) -> bytes:
    encoded = value.encode()
    return integer(len(encoded)) + encoded


def encode_load(request: LoadRequest) -> bytes:
    """What MMS's ModelRequestEncoder writes for a load."""
    return b"".join(
        (
            b"L",
            string(request.model_name),
            string(request.model_path),
            integer(request.batch_size),
            string(request.handler),
            integer(request.gpu),
            string(request.stream_id),
        )
    )


def encode_invocations(
    requests: list[InvokeRequest], other: dict[str, bytes] | None = None
) -> bytes:
    """What MMS's ModelRequestEncoder writes for invocations; `other` parameters come first."""
    frame = b"I"
    for request in requests:
        frame += string(request.request_id)
        for name, value in request.headers.items():
            frame += string(name) + string(value)
        frame += END
        for name, value in {**(other or {}), "body": request.body}.items():
            frame += string(name) + string(request.content_type) + integer(len(value)) + value
        frame += END
    return frame + END


class Reply:
    """What MMS's ModelResponseDecoder reads, field by field."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.code = self._integer()
        self.message = self._bytes().decode()
        self.predictions = []
        while (length := self._integer()) != -1:
            request_id = self._take(length).decode()
            content_type = self._bytes().decode()
            status = self._integer()
            phrase = self._bytes().decode()
            pairs = range(self._integer())
            headers = {self._bytes().decode(): self._bytes().decode() for _ in pairs}
            answer = (status, phrase, content_type, self._bytes(), headers)
            self.predictions.append((request_id, *answer))
        assert not self._data, "bytes behind the reply"

    def _take(self, length: int) -> bytes:
        assert 0 <= length <= len(self._data)
        value, self._data = self._data[:length], self._data[length:]
        return value

    def _integer(self) -> int:
        return struct.unpack("!i", self._take(4))[0]

    def _bytes(self) -> bytes:
        return self._take(self._integer())


texts = st.text(st.characters(codec="utf-8"), max_size=30)
int32 = st.integers(-(2**31), 2**31 - 1)
loads = st.builds(LoadRequest, texts, texts, int32, texts, int32, texts)
# MMS's own header names; what `parse` makes lower case stays what it is.
headers = st.dictionaries(texts.map(str.lower).filter(lambda t: t == t.lower()), texts, max_size=4)


@st.composite
def invocations(draw: st.DrawFn) -> InvokeRequest:
    fields = draw(headers)
    return InvokeRequest(
        draw(texts), fields, fields.get("content-type", ""), draw(st.binary(max_size=200))
    )


def test_golden_load():
    assert protocol.parse(LOAD_FRAME) == LoadRequest("m", "/a/b c", 2, "h", -1, "out7")


def test_golden_invocation():
    headers = {"content-type": "text/csv", "accept": ""}
    assert protocol.parse(INVOKE_FRAME) == [InvokeRequest("r1", headers, "text/csv", b"1,2\n")]


def test_the_encoders_of_these_tests_are_right():
    assert encode_load(protocol.parse(LOAD_FRAME)) == LOAD_FRAME
    request = InvokeRequest("r1", {"Content-Type": "text/csv", "Accept": ""}, "text/csv", b"1,2\n")
    assert encode_invocations([request]) == INVOKE_FRAME


def test_golden_load_reply():
    assert protocol.load_reply(200, f"{protocol.LOADED_MESSAGE}7") == (
        b"\x00\x00\x00\xc8\x00\x00\x00\x0eloaded [PID]:7" + END
    )


def test_golden_invoke_reply():
    assert protocol.invoke_reply(("r1", 415, "No", "text/csv", b"x", {})) == (
        b"\x00\x00\x00\xc8\x00\x00\x00\x00"
        b"\x00\x00\x00\x02r1\x00\x00\x00\x08text/csv\x00\x00\x01\x9f\x00\x00\x00\x02No"
        b"\x00\x00\x00\x00\x00\x00\x00\x01x" + END
    )


@given(loads)
def test_load_round_trip(request):
    assert protocol.parse(encode_load(request)) == request


@given(st.lists(invocations(), max_size=4))
def test_invocations_round_trip(requests):
    assert protocol.parse(encode_invocations(requests)) == requests
    assert protocol.parse(bytearray(encode_invocations(requests))) == requests


@given(invocations(), st.dictionaries(texts.filter(lambda t: t != "body"), st.binary(), max_size=3))
def test_other_parameters_are_passed_over(request, other):
    assert protocol.parse(encode_invocations([request], other)) == [request]


def test_no_body():
    frame = b"I" + string("r") + END + END + END
    assert protocol.parse(frame) == [InvokeRequest("r", {}, "", b"")]


def test_text_that_is_no_utf8():
    frame = b"I" + integer(1) + b"\xff" + END + END + END
    assert protocol.parse(frame)[0].request_id == "\ufffd"


@given(
    st.one_of(loads.map(encode_load), st.lists(invocations(), max_size=3).map(encode_invocations))
)
def test_every_truncation_is_incomplete(frame):
    for length in range(len(frame)):
        with pytest.raises(IncompleteError):
            protocol.parse(frame[:length])


@given(
    st.one_of(loads.map(encode_load), st.lists(invocations(), max_size=3).map(encode_invocations)),
    st.binary(min_size=1),
)
def test_bytes_behind_the_message(frame, behind):
    with pytest.raises(ProtocolError, match=f"{len(behind)} bytes behind"):
        protocol.parse(frame + behind)


@given(st.integers(0, 255).filter(lambda byte: byte not in b"LI"), st.binary())
def test_unknown_command(command, rest):
    with pytest.raises(ProtocolError, match="unknown command"):
        protocol.parse(bytes([command]) + rest)


@given(st.binary(max_size=400), st.sampled_from([b"", b"L", b"I"]))
def test_arbitrary_bytes(data, command):
    started = time.perf_counter()
    with contextlib.suppress(IncompleteError, ProtocolError):
        protocol.parse(command + data)
    assert time.perf_counter() - started < 2


@given(
    st.one_of(loads.map(encode_load), invocations().map(lambda i: encode_invocations([i]))),
    st.data(),
)
def test_one_byte_changed(frame, data):
    changed = bytearray(frame)
    changed[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(IncompleteError, ProtocolError):
        protocol.parse(changed)


@pytest.mark.parametrize("frame", [LOAD_FRAME, INVOKE_FRAME], ids=["load", "invocation"])
def test_negative_length(frame):
    with pytest.raises(ProtocolError, match="negative length -2"):
        protocol.parse(frame[:1] + integer(-2) + frame[5:])


def test_a_huge_length_allocates_nothing():
    tracemalloc.start()
    try:
        for command in (b"L", b"I"):
            with pytest.raises(IncompleteError):
                protocol.parse(command + integer(2**31 - 1) + b"x" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_megabyte_of_empty_headers_is_read_in_linear_time():
    frame = b"I" + string("r") + (string("") + string("")) * 125_000 + END + END + END
    started = time.perf_counter()
    assert protocol.parse(frame) == [InvokeRequest("r", {"": ""}, "", b"")]
    assert time.perf_counter() - started < 5


@given(int32, texts)
def test_load_reply_reads_back(status, message):
    reply = Reply(protocol.load_reply(status, message))
    assert (reply.code, reply.message, reply.predictions) == (status, message, [])


predictions = st.tuples(
    texts, int32, texts, texts, st.binary(), st.dictionaries(texts, texts, max_size=3)
)


@given(predictions)
def test_invoke_reply_reads_back(prediction):
    reply = Reply(protocol.invoke_reply(prediction))
    assert (reply.code, reply.message, reply.predictions) == (200, "", [prediction])


@given(st.lists(predictions, max_size=4))
def test_batch_reply_reads_back(several):
    assert Reply(protocol.batch_reply(several)).predictions == several


@given(predictions)
def test_a_batch_of_one_is_an_invocation(prediction):
    assert protocol.batch_reply([prediction]) == protocol.invoke_reply(prediction)


@given(*[st.text(max_size=20)] * 5, st.binary(max_size=20))
def test_no_text_is_refused(request_id, phrase, content_type, name, value, body):
    """Not even one that UTF-8 cannot express."""
    reply = Reply(
        protocol.invoke_reply((request_id, 200, phrase, content_type, body, {name: value}))
    )
    texts = [text.encode("utf-8", "backslashreplace").decode() for text in (phrase, content_type)]
    assert reply.predictions[0][2:4] == tuple(texts)
    assert Reply(protocol.load_reply(500, phrase)).message == texts[0]
