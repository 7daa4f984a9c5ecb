from __future__ import annotations

import time
from collections.abc import Iterator

import boto3
import pytest

from mme_hosting.aws import Aws
from mme_hosting.deploy import log_tail
from mme_hosting.deploy.log_tail import last_lines
from support.aws import REGION, aws

GROUP = "/aws/sagemaker/Endpoints/houses"


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setattr(log_tail, "_PAUSE", 0.01)
    with aws():
        yield boto3.client("logs")


def write(logs, stream: str, *lines: str, later: float) -> None:
    at = int((time.time() + later) * 1000)
    events = [{"timestamp": at, "message": line} for line in lines]
    logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


def test_the_lines_are_those_of_the_newest_container_even_if_others_write_later(logs):
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="main/i-1")
    time.sleep(0.01)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="main/i-0")
    write(logs, "main/i-0", "from before", later=-60)
    write(logs, "main/i-0", *(str(number) for number in range(12)), later=0)
    write(logs, "main/i-1", "answered", later=1)
    found = last_lines(Aws(REGION), "houses", time.time() - 30)
    assert found == tuple(str(number) for number in range(2, 12))


def test_without_a_group_there_are_no_lines(logs):
    assert last_lines(Aws(REGION), "houses", 0) == ()
