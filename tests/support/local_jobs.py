"""Training jobs of the local SageMaker, and what they leave in moto's server."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mme_local.aws.clients import Clients
from mme_local.containers.embedded import EmbeddedRuntime
from mme_local.containers.hosts import JobRuntime
from mme_local.control.records import TrainingJob
from mme_local.events import Events
from mme_local.jobs.runner import JobRunner
from mme_local.settings import ROLE_ARN, LocalSettings
from mme_training.houses import HYPERPARAMETERS, make_houses, write_csv
from mme_training.split import split
from support.aws import REGION

BUCKET = "houses"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass
class LogSink:
    """A stream of CloudWatch Logs that is sent when it is closed."""

    clients: Clients
    group: str
    stream: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    def write(self, line: str) -> None:
        self.lines.append({"timestamp": int(time.time() * 1000), "message": line or " "})

    async def close(self) -> None:
        await asyncio.to_thread(self._send)

    def _send(self) -> None:
        logs = self.clients.client("logs")
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=self.group)
        names = {"logGroupName": self.group, "logStreamName": self.stream}
        logs.create_log_stream(**names)
        if self.lines:
            logs.put_log_events(**names, logEvents=self.lines)


@dataclass
class MetricSink:
    """CloudWatch's metrics, sent by `flush`."""

    clients: Clients
    data: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def put(
        self, namespace: str, name: str, dimensions: Mapping[str, str], value: float, unit: str
    ) -> None:
        described = [{"Name": key, "Value": text} for key, text in dimensions.items()]
        self.data.setdefault(namespace, []).append(
            {"MetricName": name, "Dimensions": described, "Value": value, "Unit": unit}
        )

    def flush(self) -> None:
        for namespace, data in self.data.items():
            for start in range(0, len(data), 100):
                self.clients.client("cloudwatch").put_metric_data(
                    Namespace=namespace, MetricData=data[start : start + 100]
                )


class Jobs:
    """Runs training jobs on one runtime, and looks at what they leave in AWS."""

    def __init__(self, clients: Clients, run: Path) -> None:
        self.clients = clients
        self.settings = LocalSettings(run=run)
        self.events = Events()
        self.metrics = MetricSink(clients)
        self.runner: JobRunner
        self.runtime: JobRuntime

    def put_houses(self, prefix: str, rows: int = 200) -> None:
        """Upload a city's houses as ``<prefix>/train/train.csv`` and ``validation/..``."""
        for name, part in split(make_houses(prefix, rows), 1)._asdict().items():
            body = io.StringIO()
            write_csv(part, body)
            self.put(f"{prefix}/{name}/{name}.csv", body.getvalue())

    def put(self, key: str, body: str | bytes) -> None:
        self.clients.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.clients.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, prefix: str = "") -> list[str]:
        found = self.clients.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for each in found.get("Contents", ())]

    def archive(self, uri: str) -> list[str]:
        """The names in an archive."""
        with tarfile.open(fileobj=io.BytesIO(self.get(uri))) as tar:
            return tar.getnames()

    def logs(self, job: str) -> dict[str, list[str]]:
        """The lines of a job, by stream, as the SageMaker SDK looks for them."""
        logs = self.clients.client("logs")
        streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{job}/")
        return {
            name: [
                event["message"]
                for event in logs.get_log_events(
                    logGroupName=GROUP, logStreamName=name, startFromHead=True
                )["events"]
            ]
            for name in (stream["logStreamName"] for stream in streams["logStreams"])
        }

    def run(
        self,
        work: Callable[[JobRunner], Awaitable[Any]],
        runtime: Callable[[], JobRuntime] | None = None,
        at_once: int | None = None,
    ) -> Any:
        """Run `work` with a runner, on a loop of its own."""

        def log_streams(group: str, stream: str) -> LogSink:
            return LogSink(self.clients, group, stream)

        async def main() -> Any:
            make = runtime or (lambda: EmbeddedRuntime(self.settings.run, self.settings.image))
            self.runtime = make()
            self.runner = JobRunner(
                self.runtime,
                self.clients,
                self.settings,
                self.events,
                log_streams,
                self.metrics,
                at_once,
            )
            try:
                return await asyncio.wait_for(work(self.runner), 240)
            finally:
                await self.runner.close()
                await self.runtime.close()

        return asyncio.run(main())

    def train(self, *jobs: TrainingJob, **rest: Any) -> None:
        """Run jobs to their ends."""

        async def work(runner: JobRunner) -> None:
            for job in jobs:
                await runner.start(job)
            await asyncio.gather(*(job.ended_event.wait() for job in jobs))

        self.run(work, **rest)


def channel(name: str, uri: str, **rest: Any) -> dict[str, Any]:
    """One of InputDataConfig; `rest` goes to its S3DataSource if it has a member of that name."""
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": "FullyReplicated",
    }
    source |= {key: rest.pop(key) for key in list(rest) if key in source}
    return {
        "ChannelName": name,
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": source},
        **rest,
    }


def make_job(name: str, city: str = "Chicago_IL", **request: Any) -> TrainingJob:
    """A job that trains on a city's houses, unless the request says otherwise."""
    hyperparameters = {**HYPERPARAMETERS, **request.pop("hyperparameters", {})}
    instances = request.pop("instances", 1)
    environment = request.pop("environment", {})
    root = f"s3://{BUCKET}/{city}"
    return TrainingJob(
        name=name,
        arn=f"arn:aws:sagemaker:{REGION}:123456789012:training-job/{name}",
        request={
            "TrainingJobName": name,
            "RoleArn": ROLE_ARN,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": hyperparameters,
            "Environment": environment,
            "InputDataConfig": [
                channel("train", f"{root}/train/"),
                channel("validation", f"{root}/validation/"),
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": instances,
                "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            **request,
        },
    )
