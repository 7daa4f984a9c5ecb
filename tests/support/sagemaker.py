"""SageMaker as it is on a busy day: in front of moto's server, whose jobs are all done at once.

Requests go through to moto, which checks and keeps them; on the way the answers get what moto's
lack: jobs that take a while, fail or are stopped, names that are taken, quotas and throttling.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Answer = tuple[int, dict[str, Any]]


@dataclass
class Fate:
    """How a job ends, and after how many looks at the list of the running ones."""

    looks: int = 1
    status: str = "Completed"
    secondary: str = ""
    reason: str | None = None
    metrics: dict[str, float] = field(default_factory=lambda: {"validation:rmse": 0.5})

    def describe(self) -> dict[str, Any]:
        if self.looks > 0:
            return {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
        found = [
            {"MetricName": name, "Value": value, "Timestamp": 1.7e9}
            for name, value in self.metrics.items()
        ]
        return {
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary or self.status,
            "TrainingTimeInSeconds": 61,
            "BillableTimeInSeconds": 20,
            **({"FailureReason": self.reason} if self.reason else {}),
            **({"FinalMetricDataList": found} if self.status == "Completed" else {}),
        }


class BusySageMaker:
    """What happens to the calls, and what was asked."""

    def __init__(self, moto: str) -> None:
        self._moto = moto
        self._lock = threading.Lock()
        self.fate_of: Callable[[str], Fate] = lambda name: Fate()
        """Called with a job's name when it is created."""
        self.quota: int | None = None
        """Jobs that may run at a time."""
        self.refuse: dict[str, list[Answer]] = {}
        """By operation: the answers to its next calls."""
        self.page = 100
        """Most jobs in one answer, whatever is asked for."""
        self.before_create: Callable[[str], None] = lambda name: None
        self.jobs: dict[str, Fate] = {}
        self.requests: list[dict[str, Any]] = []
        """Those of the jobs that were created."""
        self.calls: Counter[str] = Counter()
        self.most_running = 0

    @property
    def running(self) -> int:
        return sum(fate.looks > 0 for fate in self.jobs.values())

    def answer(self, operation: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        with self._lock:
            self.calls[operation] += 1
            if self.refuse.get(operation):
                return self.refuse[operation].pop(0)
            own = {
                "CreateTrainingJob": self._create,
                "DescribeTrainingJob": self._describe,
                "ListTrainingJobs": self._list,
            }
            return own[operation](body, headers)

    def _create(self, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        name = body["TrainingJobName"]
        self.before_create(name)
        if name in self.jobs:
            return refusal(
                "ResourceInUse",
                "Training job names must be unique within an AWS account and region, and a "
                f"training job with this name already exists ({name})",
            )
        if self.quota is not None and self.running >= self.quota:
            return quota_refusal(self.quota, self.running)
        status, answer = self._forward(body, headers)
        if status == 200:
            self.jobs[name] = self.fate_of(name)
            self.requests.append(body)
            self.most_running = max(self.most_running, self.running)
        return status, answer

    def _describe(self, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        name = body["TrainingJobName"]
        if name not in self.jobs:
            return refusal("ValidationException", "Requested resource not found.")
        status, answer = self._forward(body, headers)
        return status, {
            **{key: value for key, value in answer.items() if key != "FinalMetricDataList"},
            **self.jobs[name].describe(),
        }

    def _list(self, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        wanted = body.pop("StatusEquals", None)
        if wanted and "NextToken" not in body:
            for fate in self.jobs.values():
                fate.looks -= 1
        status, answer = self._forward({**body, "MaxResults": self.page}, headers)
        summaries = []
        for job in answer["TrainingJobSummaries"]:
            now = self.jobs[job["TrainingJobName"]].describe()
            job |= {key: now[key] for key in ("TrainingJobStatus", "SecondaryStatus")}
            if wanted in (None, job["TrainingJobStatus"]):
                summaries.append(job)
        return status, {**answer, "TrainingJobSummaries": summaries}

    def _forward(self, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        request = urllib.request.Request(self._moto, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


def refusal(kind: str, message: str, status: int = 400) -> Answer:
    """An error document of SageMaker's."""
    return status, {"__type": kind, "message": message}


def throttled() -> Answer:
    return refusal("ThrottlingException", "Rate exceeded")


def quota_refusal(quota: int, running: int) -> Answer:
    return refusal(
        "ResourceLimitExceeded",
        f"The account-level service limit 'ml.m5.large for training job usage' is {quota} "
        f"Instances, with current utilization of {running} Instances and a request delta of 1 "
        "Instances. Please use AWS Service Quotas to request an increase for this quota.",
    )


@contextmanager
def busy_sagemaker(moto: str) -> Iterator[BusySageMaker]:
    """Serve one in front of `moto`, an endpoint; the environment names it for SageMaker."""
    busy = BusySageMaker(moto)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            operation = self.headers["X-Amz-Target"].partition(".")[2]
            kept = ("authorization", "content-type", "x-amz-target", "x-amz-date")
            headers = {k: v for k, v in self.headers.items() if k.lower() in kept}
            status, answer = busy.answer(operation, body, headers)
            said = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", f"http://127.0.0.1:{server.server_port}")
            # Botocore's own attempts sleep; those of the engine do not here.
            patch.setenv("AWS_MAX_ATTEMPTS", "1")
            yield busy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
