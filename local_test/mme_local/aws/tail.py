"""Lines of CloudWatch Logs, as they come: of an endpoint, or of a training job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mme_local.errors import LocalError

ENDPOINTS: Final = "/aws/sagemaker/Endpoints/"
JOBS: Final = "/aws/sagemaker/TrainingJobs"

_PERIOD: Final = 0.5


def tail(logs: Any, name: str, follow: bool) -> Iterator[tuple[str, str]]:
    """Yield the stream and the text of each line that an endpoint or a training job has written.

    Args:
        logs: client of CloudWatch Logs.
        name: of the endpoint or the job.
        follow: wait for more, for ever.

    Raises:
        LocalError: there is none of that name that has written something.
    """
    query = _query(logs, name)
    prefix = query.get("logStreamNamePrefix", "")
    seen: set[str] = set()
    while True:
        for page in logs.get_paginator("filter_log_events").paginate(**query):
            for event in page["events"]:
                stream = event["logStreamName"]
                # moto answers with all streams, whatever the prefix.
                if event["eventId"] not in seen and stream.startswith(prefix):
                    seen.add(event["eventId"])
                    yield stream, event["message"]
        if not follow:
            return
        time.sleep(_PERIOD)


def _query(logs: Any, name: str) -> dict[str, str]:
    groups = logs.describe_log_groups(logGroupNamePrefix=f"{ENDPOINTS}{name}")["logGroups"]
    if any(group["logGroupName"] == f"{ENDPOINTS}{name}" for group in groups):
        return {"logGroupName": f"{ENDPOINTS}{name}"}
    if logs.describe_log_groups(logGroupNamePrefix=JOBS)["logGroups"]:
        query = {"logGroupName": JOBS, "logStreamNamePrefix": f"{name}/"}
        if logs.describe_log_streams(**query)["logStreams"]:
            return query
    raise LocalError(
        f"no endpoint and no training job named {name} has written a line: mme local status lists "
        "those that there are"
    )


def tail_file(file: Path, follow: bool) -> Iterator[str]:
    """Yield the lines of a file, and those that are added to it if `follow`.

    Raises:
        LocalError: there is no such file: the local SageMaker runs in a terminal of its own.
    """
    if not file.exists():
        raise LocalError("it runs in the foreground: what it says is on its own terminal")
    with file.open(errors="replace") as lines:
        while True:
            for line in lines:
                yield line.rstrip("\n")
            if not follow:
                return
            time.sleep(_PERIOD)
