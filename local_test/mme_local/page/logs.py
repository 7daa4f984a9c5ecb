"""Tails logs out of CloudWatch Logs, of all streams whose names begin alike."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import orjson
from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients

_MOST_LINES: Final = 500
_MOST_STREAMS: Final = 20


class LogTail:
    """Reads what is new in a log, without a memory of who has read what.

    Args:
        clients: of the AWS that the logs are in.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def tail(self, group: str, stream: str, after: str | None) -> dict[str, Any]:
        """The lines after those that `after` stands for; without it, the last ones there are.

        Args:
            group: the log group, as ``/aws/sagemaker/Endpoints/houses``.
            stream: how the names of the streams begin: an instance's, or all of a variant's. Empty
                for all of the group.
            after: the ``next`` of the last answer.

        Returns:
            ``events``, each with its ``timestamp`` in milliseconds and its ``message``, by time,
            and ``next``. A log that is not there has no events yet.
        """
        return await asyncio.to_thread(self._tail, group, stream, _places(after))

    def _tail(self, group: str, stream: str, places: Mapping[str, str]) -> dict[str, Any]:
        client = self._clients.client("logs")
        events: list[dict[str, Any]] = []
        reached = dict(places)
        for name in self._streams(group, stream):
            # Forward tokens are CloudWatch Logs' own way of asking for what came since.
            place = {"nextToken": places[name]} if name in places else {}
            answer = client.get_log_events(
                logGroupName=group,
                logStreamName=name,
                limit=_MOST_LINES,
                startFromHead=bool(place),
                **place,
            )
            events += answer["events"]
            reached[name] = answer["nextForwardToken"]
        events.sort(key=lambda event: event["timestamp"])
        shown = [{key: event[key] for key in ("timestamp", "message")} for event in events]
        return {"events": shown, "next": base64.urlsafe_b64encode(orjson.dumps(reached)).decode()}

    def _streams(self, group: str, prefix: str) -> list[str]:
        client = self._clients.client("logs")
        try:
            named = {"logStreamNamePrefix": prefix} if prefix else {}
            answer = client.describe_log_streams(logGroupName=group, limit=_MOST_STREAMS, **named)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []
            raise
        return [stream["logStreamName"] for stream in answer["logStreams"]]


def _places(after: str | None) -> dict[str, str]:
    """The token of each stream; an `after` that is none of ours begins anew."""
    try:
        places = orjson.loads(base64.urlsafe_b64decode(after or ""))
    except (binascii.Error, ValueError):
        return {}
    if not isinstance(places, dict):
        return {}
    return {name: token for name, token in places.items() if isinstance(token, str)}
