"""Lines of CloudWatch Logs, and of a file, as they come."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import suppress

import pytest

from mme_local.aws.tail import tail, tail_file
from mme_local.errors import LocalError


def write(logs, group: str, stream: str, *lines: str) -> None:
    for create, named in (
        (logs.create_log_group, {"logGroupName": group}),
        (logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
    ):
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            create(**named)
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": line} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


@pytest.fixture(scope="module")
def logs(running):
    client = running[1].client("logs")
    write(client, "/aws/sagemaker/Endpoints/houses", "AllTraffic/i-1", "one", "two")
    write(client, "/aws/sagemaker/Endpoints/houses-2", "AllTraffic/i-1", "other")
    write(client, "/aws/sagemaker/TrainingJobs", "job/algo-1-1", "trained")
    write(client, "/aws/sagemaker/TrainingJobs", "job-2/algo-1-1", "other")
    return client


def test_an_endpoints_lines(logs):
    found = list(tail(logs, "houses", follow=False))
    assert found == [("AllTraffic/i-1", "one"), ("AllTraffic/i-1", "two")]


def test_a_jobs_lines(logs):
    assert list(tail(logs, "job", follow=False)) == [("job/algo-1-1", "trained")]


@pytest.mark.parametrize("name", ["house", "jo", "nowhere"])
def test_what_is_not_there(logs, name):
    with pytest.raises(LocalError, match=f"named {name} has written"):
        list(tail(logs, name, follow=False))


def test_lines_that_come_later_each_once(logs):
    write(logs, "/aws/sagemaker/Endpoints/later", "AllTraffic/i-1", "a")
    lines = tail(logs, "later", follow=True)
    assert next(lines)[1] == "a"
    write(logs, "/aws/sagemaker/Endpoints/later", "AllTraffic/i-2", "b", "b")
    assert [next(lines)[1], next(lines)[1]] == ["b", "b"]


def test_a_file(tmp_path):
    file = tmp_path / "up.log"
    with pytest.raises(LocalError, match="runs in the foreground"):
        next(tail_file(file, follow=True))
    file.write_text("a\nb\n")
    assert list(tail_file(file, follow=False)) == ["a", "b"]

    def more() -> None:
        with file.open("a") as output:
            output.write("c\n")

    lines = tail_file(file, follow=True)
    assert list(itertools.islice(lines, 2)) == ["a", "b"]
    threading.Timer(0.1, more).start()
    assert next(lines) == "c"
