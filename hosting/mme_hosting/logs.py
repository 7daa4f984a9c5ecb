"""What the containers of an endpoint have written, from CloudWatch Logs.

https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from mme_hosting.aws import AwsError
from mme_hosting.context import Context
from mme_hosting.errors import HostingError

POLL_SECONDS: Final = 2.0
"""To wait between two looks."""

_LATE_MS: Final = 60_000  # a line may be seen so long after one that is newer
_SEVERE: Final = frozenset({"error", "critical", "fatal"})
_WORST: Final = frozenset({*_SEVERE, "warning", "warn"})
_LEVEL: Final = re.compile(r"\b(FATAL|CRITICAL|ERROR|WARN|WARNING|INFO|DEBUG)\b")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d{1,9})([smhd])")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log.

    `fields` are those of a line of ours, which is an object in JSON; of any other line the text
    alone is known.
    """

    id: str
    at: datetime
    stream: str
    """``VARIANT/INSTANCE``."""
    text: str
    fields: Mapping[str, Any] | None

    @property
    def level(self) -> str:
        """In lower case; empty if the line does not say."""
        if self.fields is not None:
            return str(self.fields.get("level", "")).lower()
        found = _LEVEL.search(self.text[:200])
        return found[1].lower() if found else ""


@dataclass
class Wanted:
    """Which lines are wanted.

    Args:
        target: a target model; None for all lines.
        errors: only what went wrong: warnings, which refused requests are, and errors.

    The container knows a model by an id. Lines that name the target model too say which that is;
    until one has come, it is what the local SageMaker makes of the name.
    """

    target: str | None = None
    errors: bool = False
    _ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.target:
            self._ids.add(hashlib.sha256(self.target.encode()).hexdigest())

    def learn(self, line: Line) -> None:
        """Note the id of the target model, if the line has both."""
        fields = line.fields or {}
        if self.target and fields.get("target_model") == self.target and "model" in fields:
            self._ids.add(str(fields["model"]))

    def __call__(self, line: Line) -> bool:
        """Whether a line is wanted."""
        if self.errors and line.level not in _WORST:
            return False
        if self.target is None:
            return True
        if line.fields is not None and "target_model" in line.fields:
            return bool(line.fields["target_model"] == self.target)
        if line.fields is not None and "model" in line.fields:
            return str(line.fields["model"]) in self._ids
        return self.target in line.text or any(each in line.text for each in self._ids)


def seconds(duration: str) -> int:
    """Of ``90s``, ``10m``, ``2h`` or ``1d``.

    Raises:
        HostingError: it is none of them.
    """
    found = _DURATION.fullmatch(duration.strip())
    if not found or not int(found[1]):
        raise HostingError(f"{duration!r} is no time: write 30s, 10m, 2h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def clean(text: str) -> str:
    """Text that does nothing to a terminal: what would steer it is shown as an escape."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class Log:
    """The log of an endpoint.

    Args:
        context: the endpoint.
        since: seconds to look back.
        instance: only of this instance, by its id.

    Raises:
        HostingError: there is no such endpoint, or no such instance.
    """

    def __init__(self, context: Context, since: int, instance: str | None = None) -> None:
        self._aws = context.aws
        self._name = context.name
        self._region = context.aws.region
        self._what = f"the log of the endpoint {context.name}"
        self._from = int((time.time() - since) * 1000)
        self._seen: dict[str, int] = {}
        self._streams = self._streams_of(instance) if instance else []
        self.exists = True
        """Whether a container has written anything yet."""

    @property
    def group(self) -> str:
        """Its name in CloudWatch Logs."""
        return f"/aws/sagemaker/Endpoints/{self._name}"

    def read(self) -> list[Line]:
        """What has come since the last time, oldest first: each line once, also if it is late.

        It may be so by a minute. Blocks while pages are fetched.

        Raises:
            HostingError: AWS refuses, or there is neither log nor endpoint.
        """
        request: dict[str, Any] = {"logGroupName": self.group, "startTime": max(self._from, 0)}
        if self._streams:
            request["logStreamNames"] = self._streams
        found = []
        try:
            for page in self._aws.pages("logs", "FilterLogEvents", self._what, **request):
                found += [each for each in page["events"] if each["eventId"] not in self._seen]
        except AwsError as error:
            if not error.absent:
                raise
            self._require_endpoint()
            self.exists = False
            return []
        self.exists = True
        found.sort(key=lambda event: int(event["timestamp"]))  # of several streams; stable
        self._remember(found)
        return [_line(event) for event in found]

    def _remember(self, found: list[dict[str, Any]]) -> None:
        self._seen.update((each["eventId"], int(each["timestamp"])) for each in found)
        if found:
            newest = min(int(found[-1]["timestamp"]), int(time.time() * 1000))  # clocks differ
            self._from = max(self._from, newest - _LATE_MS)
            self._seen = {key: at for key, at in self._seen.items() if at >= self._from}

    def _require_endpoint(self) -> None:
        what = f"the endpoint {self._name}"
        if not self._aws.find("sagemaker", "DescribeEndpoint", what, EndpointName=self._name):
            raise HostingError(
                f"there is no endpoint {self._name} in {self._region}, and no log of one"
            )

    def _streams_of(self, instance: str) -> list[str]:
        names: list[str] = []
        try:
            for page in self._aws.pages(
                "logs", "DescribeLogStreams", self._what, logGroupName=self.group
            ):
                names += [each["logStreamName"] for each in page["logStreams"]]
        except AwsError as error:
            if not error.absent:
                raise
            self._require_endpoint()
        found = [name for name in names if instance in name.split("/")]
        if not found:
            known = ", ".join(sorted({name.split("/")[1] for name in names if "/" in name}))
            raise HostingError(f"no instance {instance} has written: known are {known or 'none'}")
        return found


def _line(event: Mapping[str, Any]) -> Line:
    text = str(event["message"]).rstrip("\n")
    return Line(
        id=str(event["eventId"]),
        at=datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
        stream=str(event["logStreamName"]),
        text=text,
        fields=_fields(text),
    )


def _fields(text: str) -> dict[str, Any] | None:
    """The fields of a line of ours."""
    if not text.startswith("{"):
        return None
    try:
        content = orjson.loads(text)  # refuses what is nested too deep
    except ValueError:
        return None
    return content if isinstance(content, dict) and "event" in content else None
