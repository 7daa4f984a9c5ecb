"""Messages between processes: whole, in order, with their descriptors, however they arrive."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_handler.workers.channel import Channel

MESSAGES = [{"do": "load", "key": 1}, {}, {"text": "é" * 40, "list": [1, None, 2.5]}]


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, Channel]]:
    near, far = socket.socketpair()
    channel = Channel(far)
    with near:
        yield near, channel
    channel.close()


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    near, far = Channel.pair()
    other = Channel(far)
    yield near, other
    near.close()
    other.close()


def frame(message: dict, descriptors: int = 0) -> bytes:
    body = orjson.dumps(message)
    return struct.pack("!IB", len(body), descriptors) + body


def receive(channel: Channel, count: int) -> list[dict]:
    messages: list[dict] = []
    while len(messages) < count:
        messages += [message for message, _ in channel.receive()]
    return messages


def test_split_at_every_byte(raw):
    near, channel = raw
    data = b"".join(map(frame, MESSAGES))
    for cut in range(1, len(data)):
        near.sendall(data[:cut])
        messages = [message for message, _ in channel.receive()]
        near.sendall(data[cut:])
        messages += [message for message, _ in channel.receive()]
        assert messages == MESSAGES, cut


def test_byte_by_byte(raw):
    near, channel = raw
    messages = []
    for byte in b"".join(map(frame, MESSAGES)):
        near.sendall(bytes([byte]))
        messages += channel.receive()
    assert messages == [(message, []) for message in MESSAGES]


def test_several_at_once(raw):
    near, channel = raw
    near.sendall(b"".join(map(frame, MESSAGES)))
    assert channel.receive() == [(message, []) for message in MESSAGES]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.text(max_size=9), json_values), max_size=5))
def test_any_messages_in_order(messages):
    near, far = Channel.pair()
    other = Channel(far)
    with contextlib.closing(near), contextlib.closing(other):
        for message in messages:
            near.send(message)
        assert receive(other, len(messages)) == messages


def test_descriptors_travel(channels):
    near, other = channels
    pipes = [os.pipe() for _ in range(3)]
    near.send({"n": 0}, pipes[0][1], pipes[1][1])
    near.send({"n": 1})
    near.send({"n": 2}, pipes[2][1])
    for _, writer in pipes:
        os.close(writer)
    received = []
    while len(received) < 3:
        received += other.receive()
    assert [len(descriptors) for _, descriptors in received] == [2, 0, 1]
    for (reader, _), writer in zip(pipes, [d for _, ds in received for d in ds], strict=True):
        os.write(writer, b"here")
        os.close(writer)
        assert os.read(reader, 10) == b"here"
        os.close(reader)


def test_descriptors_are_not_inherited_by_programs_that_are_started(channels):
    """What a model's code starts must not hold a connection of MMS open."""
    near, other = channels
    reader, writer = os.pipe()
    near.send({}, writer)
    ((_, (copy,)),) = other.receive()
    inheritable = os.get_inheritable(copy)
    for descriptor in (reader, writer, copy):
        os.close(descriptor)
    assert not inheritable


def test_a_descriptor_of_a_message_that_comes_in_pieces(raw):
    near, channel = raw
    reader, writer = os.pipe()
    data = frame({"do": "load"}, 1)
    socket.send_fds(near, [data[:3]], [writer])
    assert channel.receive() == []
    near.sendall(data[3:])
    ((message, (copy,)),) = channel.receive()
    assert message == {"do": "load"}
    for descriptor in (reader, writer, copy):
        os.close(descriptor)


def test_descriptors_that_nobody_took_are_closed():
    near, far = Channel.pair()
    other = Channel(far)
    reader, writer = os.pipe()
    # A message that does not arrive whole: its descriptor stays with the channel.
    socket.send_fds(near._socket, [frame({"do": "load"}, 1)[:-1]], [writer])
    os.close(writer)
    assert other.receive() == []
    other.close()
    near.close()
    assert os.read(reader, 1) == b""  # the last writing end is closed
    os.close(reader)


def test_the_end(channels):
    near, other = channels
    near.send({"last": True})
    near.close()
    assert other.receive() == [({"last": True}, [])]
    with pytest.raises(EOFError):
        other.receive()


def test_an_end_within_a_message(raw):
    near, channel = raw
    near.sendall(frame({"a": 1})[:-1])
    assert channel.receive() == []
    near.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        channel.receive()


def test_sending_to_nobody(channels):
    near, other = channels
    other.close()
    with pytest.raises(OSError):
        near.send({"a": 1})


def test_an_end_with_unread_data():
    """The other end is closed with data unread: the kernel resets the connection."""
    near, far = Channel.pair()
    near.send({"a": 1})
    far.close()
    with pytest.raises(EOFError):
        near.receive()
    near.close()


def test_large_message(channels):
    near, other = channels
    message = {"text": "x" * (1 << 20), "n": 1}
    reader, writer = os.pipe()
    thread = threading.Thread(target=near.send, args=(message, writer))
    thread.start()
    received: list = []
    while not received:
        received += other.receive()
    thread.join(10)
    ((got, (copy,)),) = received
    assert got == message
    for descriptor in (reader, writer, copy):
        os.close(descriptor)


def test_threads_send_at_once(channels):
    near, other = channels
    threads, each = 8, 50

    def send(thread: int) -> None:
        for number in range(each):
            near.send({"thread": thread, "number": number, "fill": "y" * (number * 97 % 5000)})

    workers = [threading.Thread(target=send, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    messages = receive(other, threads * each)
    for worker in workers:
        worker.join(10)
    for thread in range(threads):
        numbers = [m["number"] for m in messages if m["thread"] == thread]
        assert numbers == list(range(each))


def test_wait_on_it(channels):
    near, other = channels
    assert other.fileno() == other._socket.fileno()
    near.send({})
    assert other.receive() == [({}, [])]
