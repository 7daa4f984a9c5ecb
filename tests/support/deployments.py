"""`mme deploy` and its like, as processes of their own, against the real local SageMaker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from support.local_up import MME, Local, environment
from support.serving import until


class Deployed:
    """An endpoint that is described by a mme.yaml of its own.

    Args:
        local: where it is.
        directory: of mme.yaml.
        name: of the endpoint.
    """

    def __init__(self, local: Local, directory: Path, name: str) -> None:
        self.local = local
        self.directory = directory
        self.name = name
        directory.mkdir(exist_ok=True)
        self.sagemaker = local.client("sagemaker")
        self.describe_by()

    def describe_by(self, **settings: Any) -> None:
        """Write mme.yaml."""
        (self.directory / "mme.yaml").write_text(yaml.safe_dump({"name": self.name, **settings}))

    def start(self, verb: str, *options: str) -> subprocess.Popen[str]:
        """Start a command; its output is read by `communicate`."""
        return subprocess.Popen(
            [str(MME), verb, "--local", *options],
            cwd=self.directory,
            env=environment(self.local.run),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def mme(self, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(verb, *options)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def deploy(self, *options: str, status: int = 0) -> dict[str, Any]:
        """Run `mme deploy --json`."""
        ended = self.mme("deploy", "--json", *options)
        assert ended.returncode == status, ended.stderr
        return {**json.loads(ended.stdout), "stderr": ended.stderr}

    @property
    def described(self) -> dict[str, Any]:
        """What DescribeEndpoint answers."""
        answer: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=self.name)
        return answer

    @property
    def count(self) -> int:
        """Its instances."""
        return int(self.described["ProductionVariants"][0]["CurrentInstanceCount"])

    @property
    def status(self) -> str | None:
        """None: there is none."""
        try:
            return str(self.described["EndpointStatus"])
        except self.sagemaker.exceptions.ClientError:
            return None

    def wait_for(self, status: str) -> None:
        """Wait until it has a status."""
        until(lambda: self.status == status, 60, status)

    @property
    def alarms(self) -> dict[str, float]:
        """The thresholds of its alarms."""
        found = self.local.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{self.name}/mme/")
        return {row["AlarmName"]: row["Threshold"] for row in found["MetricAlarms"]}

    @property
    def targets(self) -> Sequence[Any]:
        """Its scalable targets."""
        found = self.local.client("application-autoscaling").describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{self.name}/variant/main"]
        )
        rows: Sequence[Any] = found["ScalableTargets"]
        return rows

    def made(self) -> set[str]:
        """The names of its configurations and models."""
        named = {"NameContains": f"{self.name}-"}
        configs = self.sagemaker.list_endpoint_configs(**named)["EndpointConfigs"]
        models = self.sagemaker.list_models(**named)["Models"]
        return {row["EndpointConfigName"] for row in configs} | {m["ModelName"] for m in models}


def operations(said: dict[str, Any]) -> list[str]:
    """What was done, by `Deployed.deploy`."""
    return [step["operation"] for step in said["steps"] if step["done"]]
