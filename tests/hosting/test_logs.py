"""Lines out of CloudWatch Logs: all of them, once, in order; and which are wanted."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from hashlib import sha256

import boto3
import pytest

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.logs import Line, Log, Wanted, clean, seconds
from mme_hosting.settings import Deployment
from support.aws import REGION, aws, reset

GROUP = "/aws/sagemaker/Endpoints/houses"
FIRST, SECOND = "main/i-1", "main/i-2"
KEY = "Chicago_IL.tar.gz"


@pytest.fixture(scope="module")
def server():
    with aws() as endpoint:
        yield endpoint


@pytest.fixture
def context(server):
    yield Context(Deployment(name="houses"), Aws(REGION))
    reset(server)


@pytest.fixture
def write(context):
    """Write lines to a stream, each so many milliseconds from now."""
    client = boto3.client("logs")
    client.create_log_group(logGroupName=GROUP)
    for stream in (FIRST, SECOND):
        client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    now = int(time.time() * 1000)

    def write(stream: str, *lines: tuple[int, str]) -> None:
        events = [{"timestamp": now + at, "message": text} for at, text in lines]
        client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)

    return write


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def line(text: str = "", **fields: object) -> Line:
    if fields:
        text = json.dumps({"event": "x", **fields})
    found = json.loads(text) if text.startswith("{") else None
    return Line("1", datetime.now(UTC), FIRST, text, found)


def test_all_pages_of_all_streams_in_order_of_time(context, write):
    for stream, odd in ((FIRST, 0), (SECOND, 1)):
        write(stream, *((at, str(at)) for at in range(-12_001 + odd, 0, 2)))
    found = Log(context, 600).read()
    assert texts(found) == [str(at) for at in range(-12_001, 0)]
    assert {each.stream for each in found} == {FIRST, SECOND}


def test_only_what_is_not_too_long_ago(context, write):
    write(FIRST, (-90_000, "old"), (-30_000, "new"))
    assert texts(Log(context, 60).read()) == ["new"]


def test_each_line_comes_once_even_if_it_is_late(context, write):
    log = Log(context, 600)
    write(FIRST, (-5000, "a"), (-4000, "b"))
    assert texts(log.read()) == ["a", "b"]
    assert log.read() == []
    write(SECOND, (-4500, "late"), (-4000, "at the same time"), (-3000, "c"))
    assert texts(log.read()) == ["late", "at the same time", "c"]
    write(FIRST, (-3000, "d"))
    assert texts(log.read()) == ["d"]
    assert log.read() == []


def test_a_clock_that_is_fast_hides_nothing(context, write):
    log = Log(context, 600)
    write(FIRST, (3_600_000, "tomorrow"))
    assert texts(log.read()) == ["tomorrow"]
    write(SECOND, (0, "now"))
    assert texts(log.read()) == ["now"]
    assert log.read() == []


def test_what_is_remembered_does_not_grow(context, write):
    log = Log(context, 3600)
    write(FIRST, *((at, "old") for at in range(-200_000, -100_000, 100)))
    assert len(log.read()) == 1000
    write(FIRST, (0, "new"))
    assert texts(log.read()) == ["new"]
    assert len(log._seen) == 1
    assert log.read() == []


def test_one_instance(context, write):
    write(FIRST, (-2, "a"))
    write(SECOND, (-1, "b"))
    assert texts(Log(context, 60, "i-2").read()) == ["b"]
    with pytest.raises(HostingError, match="no instance i-3 has written: known are i-1, i-2"):
        Log(context, 60, "i-3")


def test_neither_a_log_nor_an_endpoint(context):
    with pytest.raises(HostingError, match="no endpoint houses in us-east-1, and no log of one"):
        Log(context, 60).read()
    with pytest.raises(HostingError, match="no endpoint houses"):
        Log(context, 60, "i-1")


def test_an_endpoint_that_has_not_written(context):
    sagemaker = boto3.client("sagemaker")
    image = {"Image": "image"}
    role = "arn:aws:iam::123456789012:role/x"
    sagemaker.create_model(ModelName="m", PrimaryContainer=image, ExecutionRoleArn=role)
    variant = {
        "VariantName": "main",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="houses", EndpointConfigName="c")
    log = Log(context, 60)
    assert log.read() == []
    assert not log.exists


def test_lines_of_ours_have_fields(context, write):
    ours = '{"event": "loaded", "level": "info", "model": "7"}'
    others = ["plain", '{"no": "event"}', "[1]", "{broken", '{"event"']
    others += ['{"event": "\\ud800"}', '{"event": ' + "[" * 9999 + "]" * 9999 + "}"]
    write(FIRST, *((number, text) for number, text in enumerate([ours, *others], -50)))
    found = Log(context, 60).read()
    assert found[0].fields == json.loads(ours)
    assert [each.fields for each in found[1:]] == [None] * len(others)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ('{"event": "x", "level": "WARNING"}', "warning"),
        ('{"event": "x"}', ""),
        ("2026-01-01 10:00:00,000 [ERROR] W-9000 com.amazonaws.ml.mms: no", "error"),
        ("2026-01-01 10:00:00.000 WARN  mms: no", "warn"),
        ("no ERRORS at all", ""),
    ],
)
def test_levels(text, level):
    assert line(text).level == level
    assert Wanted(errors=True)(line(text)) is (level in ("warning", "warn", "error"))


def test_lines_of_a_model():
    wanted = Wanted(KEY)
    local = sha256(KEY.encode()).hexdigest()
    assert wanted(line(target_model=KEY))
    assert not wanted(line(target_model="Houston_TX.tar.gz"))
    assert wanted(line(model=local))
    assert wanted(line(f"worker of {local} ended"))
    assert wanted(line(f"cannot fetch {KEY}"))
    assert not wanted(line("mme ready"))
    assert not wanted(line(pid=7))
    assert not wanted(line(model={"id": local}))


def test_the_id_of_a_model_is_learned_from_a_line_with_both():
    wanted = Wanted(KEY)
    loaded = line(model="c0ffee", event="loaded")
    assert not wanted(loaded)
    wanted.learn(line(model="facade", target_model="Houston_TX.tar.gz"))
    wanted.learn(line(model="c0ffee", target_model=KEY))
    assert wanted(loaded)
    assert wanted(line("Worker for c0ffee died"))
    assert not wanted(line(model="facade"))


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("10m", 600), ("2h", 7200), ("7d", 604_800)]
)
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "10", "m", "0m", "-1m", "1.5h", "1w", "1m2s", "9" * 5000 + "d"]
)
def test_what_is_no_duration(text):
    with pytest.raises(HostingError, match="is no time: write 30s, 10m, 2h or 7d"):
        seconds(text)


def test_text_that_steers_a_terminal_is_shown():
    assert clean("\x1b]0;title\x07\x1b[2J") == "\\x1b]0;title\\x07\\x1b[2J"
    assert clean("a\r\nb\x9b1m\u202e") == "a\\r\\nb\\x9b1m\\u202e"
    assert clean("Zürich\t模型 🏠") == "Zürich\t模型 🏠"
