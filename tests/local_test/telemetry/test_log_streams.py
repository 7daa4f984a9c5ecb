from __future__ import annotations

import asyncio
import threading

import pytest

from mme_local.aws.clients import Clients
from mme_local.telemetry.log_streams import LogStreams

pytestmark = pytest.mark.anyio


def read(clients: Clients, group: str = "group", stream: str = "stream") -> list[str]:
    events = clients.client("logs").get_log_events(
        logGroupName=group, logStreamName=stream, startFromHead=True
    )
    return [event["message"] for event in events["events"]]


async def test_lines_come_in_order(clients: Clients) -> None:
    streams = LogStreams(clients)
    stream = streams.open("group", "stream")
    lines = [f"line {number}" for number in range(500)]
    for line in lines[:400]:
        stream.write(line + "\n")
    await streams.flush()
    for line in lines[400:]:
        stream.write(line)
    await streams.flush()
    assert read(clients) == lines


async def test_lines_of_many_threads_all_come(clients: Clients) -> None:
    streams = LogStreams(clients)
    stream = streams.open("group", "stream")

    def write(of: int) -> None:
        for number in range(100):
            stream.write(f"{of} {number}")

    threads = [threading.Thread(target=write, args=(of,)) for of in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await streams.flush()
    assert sorted(read(clients)) == sorted(f"{of} {n}" for of in range(5) for n in range(100))


async def test_lines_are_sent_twice_a_second_and_at_the_end(clients: Clients) -> None:
    streams = LogStreams(clients)
    streams.start()
    stream = streams.open("group", "stream")
    stream.write("first")
    await asyncio.sleep(1.5)
    assert read(clients) == ["first"]
    stream.write("last")
    await streams.close()
    assert read(clients) == ["first", "last"]


async def test_a_group_that_is_there_already_is_used(clients: Clients) -> None:
    clients.client("logs").create_log_group(logGroupName="group")
    streams = LogStreams(clients)
    streams.open("group", "a/i-1").write("one")
    streams.open("group", "a/i-2").write("two")
    await streams.flush()
    assert read(clients, stream="a/i-1") == ["one"]
    assert read(clients, stream="a/i-2") == ["two"]


async def test_long_and_empty_lines_fit_awss_limits(clients: Clients) -> None:
    streams = LogStreams(clients)
    stream = streams.open("group", "stream")
    stream.write("")
    stream.write("ä" * 300_000)
    for _ in range(10):
        stream.write("x" * 200_000)  # several calls
    await streams.flush()
    lines = read(clients)
    assert len(lines) == 12
    assert lines[0] == " "
    assert len(lines[1].encode()) <= 256 << 10


async def test_a_stream_that_is_released_has_sent_everything(clients: Clients) -> None:
    streams = LogStreams(clients)
    stream = streams.open("group", "stream")
    stream.write("last words")
    await streams.release(stream)
    assert read(clients) == ["last words"]


async def test_an_aws_that_does_not_answer_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    streams = LogStreams(Clients("http://127.0.0.1:9", "us-east-1"))
    streams.open("group", "stream").write("lost")
    await streams.flush()
    assert "could not be sent" in caplog.text
