from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mme_local.platform.container import (
    ContainerClient,
    ContainerGoneError,
    ContainerTimeoutError,
)

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n"


@asynccontextmanager
async def server(serve: Callable[..., object]) -> AsyncIterator[ContainerClient]:
    """A server that treats each connection so, and a client of it."""
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = ContainerClient(f"http://127.0.0.1:{port}")
    try:
        yield client
    finally:
        await client.close()
        listening.close()
        await listening.wait_closed()


async def test_an_answer_that_trickles_is_not_waited_for_for_ever() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for _ in range(10):
            await asyncio.sleep(0.1)
            writer.write(b"x")
        writer.close()

    async with server(trickle) as client:
        with pytest.raises(ContainerTimeoutError, match=r"no answer in 0\.3 s"):
            await client.invoke("a", b"1", {}, 0.3)


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"half", b"no HTTP\r\n\r\n"])
async def test_a_connection_that_breaks_is_a_container_that_has_gone(sent: bytes) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async with server(leave) as client:
        with pytest.raises(ContainerGoneError):
            await client.invoke("a", b"1", {}, 5)
        assert not await client.healthy(multi_model=True)


async def test_nobody_who_listens() -> None:
    client = ContainerClient("http://127.0.0.1:9")
    with pytest.raises(ContainerGoneError):
        await client.load("a", "/opt/ml/models/a/model", "a.tar.gz", 5)
    assert not await client.healthy(multi_model=False)
    await client.close()


async def test_a_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async with server(once) as client:
        for _ in range(3):
            answer = await client.invoke(None, b"1", {}, 5)
            assert (answer.ok, answer.text) == (True, "ok")
            await asyncio.sleep(0.05)
    assert connections == 3
