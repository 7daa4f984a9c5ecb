"""The log tail, against moto's CloudWatch Logs behind real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mme_local.aws.clients import Clients
from mme_local.page.logs import LogTail
from support.aws import REGION, aws, reset

GROUP = "/aws/sagemaker/Endpoints/houses"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture
def clients(endpoint: str) -> Iterator[Clients]:
    clients = Clients(endpoint, REGION)
    clients.client("logs").create_log_group(logGroupName=GROUP)
    yield clients
    reset(endpoint)


class Writer:
    def __init__(self, clients: Clients, now: float) -> None:
        self._client, self._milliseconds = clients.client("logs"), int(now * 1000)
        self._streams: set[str] = set()

    def __call__(self, stream: str, *messages: str) -> None:
        if stream not in self._streams:
            self._client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
            self._streams.add(stream)
        events = []
        for message in messages:
            self._milliseconds += 1
            events.append({"timestamp": self._milliseconds, "message": message})
        self._client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


@pytest.fixture
def write(clients: Clients) -> Writer:

    return Writer(clients, time.time() - 60)


def tail(clients: Clients, stream: str, after: str | None = None) -> tuple[list[str], str]:
    answer: dict[str, Any] = asyncio.run(LogTail(clients).tail(GROUP, stream, after))
    return [event["message"] for event in answer["events"]], answer["next"]


def test_each_line_comes_once(clients: Clients, write: Writer) -> None:
    write("AllTraffic/i-1", "one", "two")
    lines, after = tail(clients, "AllTraffic/i-1")
    assert lines == ["one", "two"]
    assert tail(clients, "AllTraffic/i-1", after)[0] == []
    write("AllTraffic/i-1", "three")
    lines, after = tail(clients, "AllTraffic/i-1", after)
    assert lines == ["three"]
    assert tail(clients, "AllTraffic/i-1", after)[0] == []


def test_streams_of_a_prefix_are_one_log_by_time(clients: Clients, write: Writer) -> None:
    write("AllTraffic/i-1", "one")
    write("AllTraffic/i-2", "two")
    write("AllTraffic/i-1", "three")
    write("Shadow/i-3", "another's")
    lines, after = tail(clients, "AllTraffic/")
    assert lines == ["one", "two", "three"]
    write("AllTraffic/i-4", "of one that started")
    write("AllTraffic/i-2", "four")
    assert tail(clients, "AllTraffic/", after)[0] == ["of one that started", "four"]


def test_all_streams_of_a_group(clients: Clients, write: Writer) -> None:
    write("AllTraffic/i-1", "one")
    write("Shadow/i-3", "two")
    assert tail(clients, "")[0] == ["one", "two"]


def test_a_log_that_begins_later(clients: Clients, write: Writer) -> None:
    lines, after = tail(clients, "AllTraffic/")
    assert lines == []
    write("AllTraffic/i-1", "one")
    assert tail(clients, "AllTraffic/", after)[0] == ["one"]


def test_of_a_long_log_the_end(clients: Clients, write: Writer) -> None:
    write("AllTraffic/i-1", *(f"line {number}" for number in range(700)))
    lines, after = tail(clients, "AllTraffic/i-1")
    assert (len(lines), lines[0], lines[-1]) == (500, "line 200", "line 699")
    assert tail(clients, "AllTraffic/i-1", after)[0] == []


def test_a_group_that_is_not_there(clients: Clients) -> None:
    answer = asyncio.run(LogTail(clients).tail("/aws/sagemaker/Endpoints/none", "AllTraffic", None))
    assert answer["events"] == []


@pytest.mark.parametrize("after", ["", "nonsense", "W10=", "eyJhIjogMX0=", "ä"])
def test_a_place_that_is_none_begins_anew(clients: Clients, write: Writer, after: str) -> None:
    write("AllTraffic/i-1", "one")
    assert tail(clients, "AllTraffic/i-1", after)[0] == ["one"]
