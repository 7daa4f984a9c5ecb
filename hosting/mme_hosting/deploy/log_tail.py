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
    """Lines of the newest container's stream; none where they cannot be read.

    It is not the stream that was written to last: those that serve go on writing while a new one
    fails, and CloudWatch Logs is late with the times of last events.

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
        except AwsError as error:
            if not error.absent:  # the group comes with the first line
                return ()
            found = ()
        if found:
            return found
    return ()


def _read(aws: Aws, group: str, since: int) -> tuple[str, ...]:
    what = f"the log group {group}"
    pages = aws.pages("logs", "DescribeLogStreams", what, logGroupName=group)
    streams = [stream for page in pages for stream in page["logStreams"]]
    if not streams:
        return ()
    newest = max(streams, key=lambda stream: int(stream["creationTime"]))
    events = aws.call(
        "logs",
        "GetLogEvents",
        what,
        logGroupName=group,
        logStreamName=newest["logStreamName"],
        startTime=since,
        startFromHead=False,
        limit=_LINES,
    )
    return tuple(event["message"].rstrip() for event in events["events"])
