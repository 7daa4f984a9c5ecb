"""The course of a training job, in AWS's statuses and AWS's words.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SecondaryStatusTransition.html
"""

from __future__ import annotations

import time
from typing import Any, Final

from mme_local.control.records import JobStatus, TrainingJob
from mme_local.events import Events

STARTING: Final = "Starting"
DOWNLOADING: Final = "Downloading"
TRAINING: Final = "Training"
UPLOADING: Final = "Uploading"
STOPPING: Final = "Stopping"

LAUNCHING: Final = "Launching requested ML instances"
PREPARING: Final = "Preparing the instances for training"
DOWNLOADING_DATA: Final = "Downloading input data"
DOWNLOADING_IMAGE: Final = "Downloading the training image"
IN_PROGRESS: Final = "Training image download completed. Training in progress."
UPLOADING_MODEL: Final = "Uploading generated training model"
STOPPING_JOB: Final = "Stopping the training job"

_ENDS: Final[dict[str, tuple[JobStatus, str]]] = {
    "Completed": ("Completed", "Training job completed"),
    "Failed": ("Failed", "Training job failed"),
    "Stopped": ("Stopped", "Training job stopped"),
    "MaxRuntimeExceeded": ("Stopped", "Training job runtime exceeded MaxRuntimeInSeconds provided"),
}


class Course:
    """Moves the record of one job, and says so to those who listen.

    Args:
        job: the record.
        events: takes an event for each move.
    """

    def __init__(self, job: TrainingJob, events: Events) -> None:
        self._job = job
        self._events = events

    def move(self, secondary: str, message: str) -> None:
        """Go on to a secondary status; within the same one only the message is another."""
        job, now = self._job, time.time()
        if job.transitions and job.transitions[-1]["Status"] == secondary:
            job.transitions[-1]["StatusMessage"] = message
            return
        self._end_last(now)
        job.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
        job.secondary = secondary
        self._emit()

    def stopping(self) -> None:
        """Somebody has asked for the end."""
        self._job.status = "Stopping"
        self.move(STOPPING, STOPPING_JOB)

    def end(self, secondary: str, reason: str | None = None) -> None:
        """It is over: Completed, Failed with a reason, Stopped or MaxRuntimeExceeded."""
        job = self._job
        job.status, message = _ENDS[secondary]
        job.failure_reason = reason
        job.ended = time.time()
        self.move(secondary, message)
        self._end_last(time.time())
        job.ended_event.set()

    def _end_last(self, now: float) -> None:
        if self._job.transitions:
            last: dict[str, Any] = self._job.transitions[-1]
            last.setdefault("EndTime", now)

    def _emit(self) -> None:
        job = self._job
        self._events.emit("training job", name=job.name, status=job.status, secondary=job.secondary)
