"""The last that containers have written, where an endpoint fails."""

from __future__ import annotations

import time
from typing import Final

from mme_hosting.aws import Aws, AwsError

GROUP: Final = "/aws/sagemaker/Endpoints/"
_LINES: Final = 10
_ATTEMPTS: Final = 4  # a container's last lines come a little after its end
_PAUSE: Final = 1.0


def last_lines(aws: Aws, endpoint: str, since: float) -> tuple[str, ...]:
    """Lines of the stream that was written to last; none where they cannot be read.

    Args:
        aws: the account.
        endpoint: its name.
        since: seconds since the epoch; what is older belongs to something else.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        try:
            found = _read(aws, GROUP + endpoint, int(since * 1000))
        except AwsError:
            return ()
        if found:
            return found
    return ()


def _read(aws: Aws, group: str, since: int) -> tuple[str, ...]:
    what = f"the log group {group}"
    streams = aws.find(
        "logs",
        "DescribeLogStreams",
        what,
        logGroupName=group,
        orderBy="LastEventTime",
        descending=True,
        limit=1,
    )
    if not streams or not streams["logStreams"]:
        return ()
    events = aws.call(
        "logs",
        "GetLogEvents",
        what,
        logGroupName=group,
        logStreamName=streams["logStreams"][0]["logStreamName"],
        startTime=since,
        startFromHead=False,
        limit=_LINES,
    )
    return tuple(event["message"].rstrip() for event in events["events"])
