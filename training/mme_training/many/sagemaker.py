"""The engine that trains each segment by a SageMaker training job: N at a time, found by name.

SageMaker allows few calls a second to an account, so a thousand jobs must not be asked for one by
one: a look at all running jobs is one ListTrainingJobs, and each job that has left that list is
described once. Rows are read and uploaded when their job's turn comes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from mme_training.errors import UserError
from mme_training.many.sagemaker_api import Aws, JobExistsError, LostError, QuotaError
from mme_training.many.sagemaker_errors import explain, quota_is_hopeless
from mme_training.many.sagemaker_jobs import (
    MOST_ATTEMPTS,
    Event,
    Note,
    Progress,
    data_prefix,
    job_name,
    request,
)
from mme_training.many.sagemaker_options import SageMakerOptions
from mme_training.many.task import read_segment
from mme_training.many.work import Plan, Record, Segment
from mme_training.split import Split, split

LEAST_ROWS: Final = 3
LONGEST_WAIT: Final = 300.0
"""Seconds between two requests for a job while others use up the quota."""
MOST_REFUSALS: Final = 24
"""How often a quota that others use up is tried before giving up: for about two hours."""
LOWERED_FOR: Final = 20
"""For how many looks at the jobs a lowered limit holds."""

_UNDER_WAY: Final = ("InProgress", "Stopping")


@dataclass(slots=True)
class _Task:
    """One segment on its way."""

    segment: Segment
    fingerprint: str
    attempt: int = 1
    """The number of its newest job, counted over all runs."""
    tries: int = 0
    """Jobs that this run has made or waited for."""


class SageMakerEngine:
    """Trains segments by training jobs; an `Engine` of `mme_training.many.work`.

    Args:
        options: where and on what the jobs run.
        on_event: is told what becomes known of jobs, in the caller's thread.
        pause: sleeps for so many seconds.
    """

    def __init__(
        self,
        options: SageMakerOptions,
        on_event: Callable[[Event], None] = lambda event: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.options = options
        self._on_event = on_event
        self._pause = pause

    def run(
        self,
        plan: Plan,
        segments: Sequence[Segment],
        fingerprints: Mapping[str, str],
        on_done: Callable[[Record], None],
    ) -> None:
        """Train each of `segments`.

        A job that an earlier run made for the same segment and fingerprint is taken up: waited for,
        or recorded if it has completed. A failed one is tried again under a new name.

        Without `wait`, returns once as many jobs run as may; segments whose jobs have not ended get
        no record. An interruption, and an error that stops the run, leave the jobs running.

        Raises:
            UserError: AWS refuses what all jobs need, such as the role; nobody can wait for the
                quota; `plan.extra` is given, which a job cannot put into its archive.
            AlgorithmError: AWS does not answer, or throttles for minutes.
        """
        if plan.extra:
            raise UserError(
                "a training job packs its own archive, without the files "
                f"{', '.join(sorted(plan.extra))}: train without them, or with another engine"
            )
        run = _Run(self.options, plan, on_done, self._on_event, self._pause)
        try:
            run.take_up(segments, fingerprints)
            run.go_on()
        except BaseException:
            run.leave()
            raise


class _Run:
    """The state of one run; all in one thread."""

    def __init__(
        self,
        options: SageMakerOptions,
        plan: Plan,
        on_done: Callable[[Record], None],
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
    ) -> None:
        self._options, self._plan = options, plan
        self._on_done, self._on_event, self._pause = on_done, on_event, pause
        self._aws = Aws(options.region, pause)
        self._waiting: deque[_Task] = deque()
        self._running: dict[str, _Task] = {}
        self._lowered: int | None = None
        self._lowered_for = 0
        self._refusals = 0

    def take_up(self, segments: Sequence[Segment], fingerprints: Mapping[str, str]) -> None:
        """Find out which segments have jobs already, and record those that have completed."""
        known = {
            job["TrainingJobName"]: job["TrainingJobStatus"]
            for job in self._aws.list_jobs(f"{self._options.job_prefix}-")
        }
        ended = []
        for segment in segments:
            task = _Task(segment, fingerprints[segment.name])
            names = [self._name(task, number) for number in range(1, MOST_ATTEMPTS + 1)]
            task.attempt = max((n for n, name in enumerate(names, 1) if name in known), default=0)
            if not task.attempt:
                task.attempt = 1
                self._waiting.append(task)
            elif known[self._name(task)] in _UNDER_WAY:
                self._watch(task)
            else:
                ended.append(task)
        if self._running or ended:
            self._note(
                f"of an earlier run, {len(self._running)} jobs are under way and {len(ended)} have "
                "ended"
            )
        for task in ended:
            self._end(task, self._aws.describe_job(self._name(task)))

    def go_on(self) -> None:
        """Start jobs and look at them until none is left, or without `wait` none can be started."""
        while True:
            self._start_jobs()
            if not self._options.wait:
                return self._leave_to_next_run()
            if not (self._waiting or self._running):
                return None
            self._pause(self._interval())
            self._look()

    def leave(self) -> None:
        """Say what an interruption leaves behind."""
        if self._running:
            self._note(
                f"{len(self._running)} jobs go on in SageMaker: the same command takes them up "
                f"again; aws sagemaker stop-training-job stops one of them"
            )

    def _leave_to_next_run(self) -> None:
        if self._running or self._waiting:
            self._note(
                f"{len(self._running)} jobs are under way, {len(self._waiting)} are left to start: "
                "run the same command again for their results and for the rest"
            )

    # Starting

    def _start_jobs(self) -> None:
        while self._waiting and self._may_start():
            task = self._waiting.popleft()
            try:
                self._start(task)
            except QuotaError as full:
                self._waiting.appendleft(task)
                self._lower(full)
                return

    def _may_start(self) -> bool:
        limits = [n for n in (self._options.limit, self._lowered) if n is not None]
        return not limits or len(self._running) < min(limits)

    def _start(self, task: _Task) -> None:
        try:
            parts = split(self._rows(task.segment), self._plan.seed)
        except UserError as error:  # Of this segment's rows: it costs no other.
            self._fail(task, str(error))
            return
        data = data_prefix(self._options, task.segment, task.fingerprint)
        for name, part in parts._asdict().items():
            self._aws.upload(part, f"{data}/{name}/{name}.parquet", self._options.kms_key)
        try:
            self._aws.create_job(request(self._options, self._plan, self._name(task), data))
        except JobExistsError:
            # Made by an attempt whose answer was lost, or by another run meanwhile.
            self._note(f"the job {self._name(task)} exists already, and is taken up")
        self._refusals = 0
        self._watch(task)

    def _rows(self, segment: Segment) -> pd.DataFrame:
        # SageMaker's convention: the label is the first column. Parquet, unlike CSV, keeps the
        # names of the features and every bit of the numbers.
        rows = read_segment(self._plan, segment)[[self._plan.label, *self._plan.features]]
        if len(rows) < LEAST_ROWS:
            raise UserError(
                f"{len(rows)} row{'s'[: len(rows) > 1]} cannot be split into rows to learn from, "
                f"to stop by and to judge by: {LEAST_ROWS} are the least"
            )
        return rows

    def _watch(self, task: _Task) -> None:
        task.tries += 1
        name = self._name(task)
        self._running[name] = task
        self._on_event(Progress(task.segment.name, name, "Starting"))

    def _lower(self, full: QuotaError) -> None:
        if quota_is_hopeless(full.error):
            raise explain(full.error, "CreateTrainingJob", self._options.instance_type)
        if not self._options.wait:
            return
        self._lowered, self._lowered_for = max(len(self._running), 1), LOWERED_FOR
        if self._running:
            self._note(f"the quota allows no more than {len(self._running)} jobs at a time for now")
            return
        self._refusals += 1
        if self._refusals >= MOST_REFUSALS:
            raise explain(full.error, "CreateTrainingJob", self._options.instance_type)
        self._note("others use up the quota: waiting until a job can be started")

    def _interval(self) -> float:
        if self._running or not self._refusals:
            return self._options.poll
        return max(self._options.poll, min(self._options.poll * 2.0**self._refusals, LONGEST_WAIT))

    # Looking

    def _look(self) -> None:
        self._lowered_for -= 1
        if self._lowered_for < 0:
            self._lowered = None
        if not self._running:
            return
        alive = {
            job["TrainingJobName"]: job
            for job in self._aws.list_jobs(f"{self._options.job_prefix}-", "InProgress")
        }
        for name, task in list(self._running.items()):
            if name in alive:
                self._tell(task, alive[name])
                continue
            job = self._aws.describe_job(name)
            if job and job["TrainingJobStatus"] in _UNDER_WAY:  # Stopping, or not yet listed.
                self._tell(task, job)
            else:
                del self._running[name]
                self._end(task, job)

    def _tell(self, task: _Task, job: Mapping[str, Any]) -> None:
        status = job.get("SecondaryStatus") or job["TrainingJobStatus"]
        name = job["TrainingJobName"]
        self._on_event(Progress(task.segment.name, name, status, job.get("CreationTime")))

    # Ending

    def _end(self, task: _Task, job: Mapping[str, Any] | None) -> None:
        status = job["TrainingJobStatus"] if job else "Deleted"
        if job and status == "Completed":
            self._complete(task, job)
            return
        if job and status in _UNDER_WAY:  # Since it was listed.
            self._watch(task)
            return
        reason = _reason(job, self._options)
        seconds = _seconds(job or {})
        self._on_event(
            Progress(task.segment.name, self._name(task), status, seconds=seconds, reason=reason)
        )
        if self._may_retry(task, job):
            task.attempt += 1
            self._waiting.append(task)
        else:
            self._fail(task, reason, seconds)

    def _may_retry(self, task: _Task, job: Mapping[str, Any] | None) -> bool:
        if task.attempt >= MOST_ATTEMPTS:
            return False
        if not self._options.wait:  # No run sees its own jobs end: those of all runs count.
            return task.attempt <= self._options.retries and not _is_hopeless(job)
        # What failed in an earlier run is tried anew, as the user has asked for this run.
        return not task.tries or (task.tries <= self._options.retries and not _is_hopeless(job))

    def _complete(self, task: _Task, job: Mapping[str, Any]) -> None:
        name, seconds = self._name(task), _seconds(job)
        artifact = str(job["ModelArtifacts"]["S3ModelArtifacts"])
        metrics = {
            metric["MetricName"].replace(":", "-", 1): float(metric["Value"])
            for metric in job.get("FinalMetricDataList", ())
        }
        self._on_event(
            Progress(task.segment.name, name, "Completed", seconds=seconds, metrics=metrics)
        )
        try:
            path = self._publish(task, artifact)
        except LostError as lost:  # to the rule of a bucket that removes what is old, for example
            if task.attempt >= MOST_ATTEMPTS or task.tries > self._options.retries:
                self._fail(task, str(lost), seconds)
            else:
                task.attempt += 1
                self._waiting.append(task)
            return
        known = {"path": path, "size": self._aws.size(artifact), "version": self._options.version}
        self._on_done(self._record(task, metrics=metrics, seconds=seconds, **known))

    def _publish(self, task: _Task, artifact: str) -> str:
        """Copy the archive to where the endpoint looks, and return where it is then."""
        if not self._options.models_prefix:
            return artifact
        target = f"{self._options.models_prefix.rstrip('/')}/{task.segment.name}.tar.gz"
        if self._aws.copy(artifact, target, self._name(task), self._options.kms_key):
            return target
        self._note(f"{target} exists and is not overwritten: the new model stays at {artifact}")
        return artifact

    def _fail(self, task: _Task, reason: str, seconds: float = 0.0) -> None:
        self._on_done(self._record(task, error=reason, seconds=seconds))

    def _record(self, task: _Task, **known: Any) -> Record:
        parts = _sizes(task.segment.rows)
        return Record(
            segment=task.segment.name,
            fingerprint=task.fingerprint,
            train_rows=len(parts.train),
            validation_rows=len(parts.validation),
            test_rows=len(parts.test),
            attempts=task.attempt,
            **known,
        )

    def _name(self, task: _Task, attempt: int | None = None) -> str:
        number = attempt or task.attempt
        return job_name(self._options.job_prefix, task.segment.name, task.fingerprint, number)

    def _note(self, text: str) -> None:
        self._on_event(Note(text))


def _sizes(rows: int) -> Split:
    return split(pd.DataFrame(index=pd.RangeIndex(rows)), 0)


def _seconds(job: Mapping[str, Any]) -> float:
    return float(job.get("TrainingTimeInSeconds") or job.get("BillableTimeInSeconds") or 0)


def _reason(job: Mapping[str, Any] | None, options: SageMakerOptions) -> str:
    if not job:
        return "the job was deleted before it ended"
    if reason := job.get("FailureReason"):
        return str(reason)
    match job.get("SecondaryStatus"):
        case "MaxRuntimeExceeded":
            return f"stopped by SageMaker after {options.max_runtime} s: raise max_runtime"
        case "MaxWaitTimeExceeded":
            return (
                "stopped by SageMaker: no spot instance in time; raise max_wait, or do without spot"
            )
        case _:
            return f"{job['TrainingJobStatus']}, and SageMaker gives no reason"


def _is_hopeless(job: Mapping[str, Any] | None) -> bool:
    """Whether the next attempt would end as this one did."""
    if not job:
        return False
    mistake = str(job.get("FailureReason", "")).startswith("ClientError")
    return mistake or job.get("SecondaryStatus") == "MaxRuntimeExceeded"
