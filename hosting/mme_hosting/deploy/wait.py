"""Waiting for an endpoint: SageMaker works on it, whoever looks."""

from __future__ import annotations

import time
from typing import Final, Protocol

from mme_hosting.aws import Aws
from mme_hosting.deploy.present import IN_PROGRESS, Endpoint, find_endpoint

_FIRST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 10.0
_GROWTH: Final = 1.5


class Progress(Protocol):
    """Who is told of what goes on."""

    def say(self, text: str) -> None:
        """Take a line."""

    def wait(self, status: str, seconds: float) -> None:
        """Take an endpoint's status while it lasts, and for how long it has been waited."""


def settled(aws: Aws, name: str, progress: Progress) -> Endpoint | None:
    """The endpoint once nothing is under way at it; None once it is gone.

    There is no limit: SageMaker has its own, and ends each change one way or the other.

    Raises:
        AwsError: it cannot be described.
    """
    started, pause = time.monotonic(), _FIRST_SECONDS
    while True:
        endpoint = find_endpoint(aws, name)
        if endpoint is None or endpoint.status not in {*IN_PROGRESS, "Deleting"}:
            return endpoint
        end = time.monotonic() + pause
        while (now := time.monotonic()) < end:  # a person sees the seconds pass
            progress.wait(endpoint.status, now - started)
            time.sleep(min(1.0, end - now))
        pause = min(pause * _GROWTH, _LONGEST_SECONDS)
