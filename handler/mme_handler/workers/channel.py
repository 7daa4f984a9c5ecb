"""Messages between the server and its processes: JSON objects, with file descriptors beside them.

A Unix stream socket carries each message as a length, a count of descriptors, and the JSON.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
from collections import deque
from typing import Any, Final

import orjson

Message = dict[str, Any]

_HEADER: Final = struct.Struct("!IB")
_READ_SIZE: Final = 1 << 16
_MOST_DESCRIPTORS: Final = 8


class Channel:
    """One end of the conversation. Several threads may send; one receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._lock = threading.Lock()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel, and the socket to build its other end from in another process."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(near), far

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end; the other meets the end of file."""
        self._socket.close()
        while self._descriptors:
            socket.close(self._descriptors.popleft())

    def send(self, message: Message, *descriptors: int) -> None:
        """Send a message, and copies of `descriptors` with it.

        Raises:
            OSError: the other end is gone.
        """
        body = orjson.dumps(message)
        data = memoryview(_HEADER.pack(len(body), len(descriptors)) + body)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        with self._lock:
            sent = self._socket.sendmsg([data], rights if descriptors else [])
            if sent < len(data):
                self._socket.sendall(data[sent:])

    def receive(self) -> list[tuple[Message, list[int]]]:
        """Wait for data and return the messages it completes, each with its descriptors.

        Raises:
            EOFError: the other end is gone.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _READ_SIZE, _MOST_DESCRIPTORS)
        except ConnectionError:
            raise EOFError from None
        if not data:
            raise EOFError
        self._received += data
        for descriptor in descriptors:  # what a model's code starts must not hold them open
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        return self._complete()

    def _complete(self) -> list[tuple[Message, list[int]]]:
        messages = []
        while len(self._received) >= _HEADER.size:
            length, count = _HEADER.unpack_from(self._received)
            end = _HEADER.size + length
            if len(self._received) < end:
                break
            message = orjson.loads(bytes(self._received[_HEADER.size : end]))
            del self._received[:end]
            messages.append((message, [self._descriptors.popleft() for _ in range(count)]))
        return messages
