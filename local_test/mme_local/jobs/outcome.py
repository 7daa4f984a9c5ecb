"""What AWS says of a container that has ended with an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mme_local.jobs.layout import Layout

_KILLED: Final = 137  # 128 and SIGKILL


def failure_reason(statuses: Sequence[int], layouts: Sequence[Layout]) -> str | None:
    """FailureReason of a job whose hosts ended with these statuses; None if all are 0.

    It is of the first host that says why, or of the first that has failed. The file
    ``output/failure`` gives the text; a container that was killed and has written none is taken
    for one that ran out of memory, as AWS takes it.
    """
    failed = [index for index, status in enumerate(statuses) if status]
    if not failed:
        return None
    index = next((each for each in failed if layouts[each].failure), failed[0])
    status, text = statuses[index], layouts[index].failure
    if text is None and status == _KILLED:
        return (
            "ClientError: Please use an instance type with more memory, or reduce the size of job "
            f"data processed on an instance., exit code: {status}"
        )
    return f"AlgorithmError: {text or ''}, exit code: {status}"
