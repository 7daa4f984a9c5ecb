"""``/opt/ml`` of a training job, as SageMaker lays it out.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mme_local.containers.hosts import Hosts
from mme_local.jobs.request import Plan

ML: Final = "/opt/ml"
_GROUP: Final = "homogeneousCluster"
_FAILURE_CHARACTERS: Final = 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """The tree of one host of a job."""

    root: Path

    @property
    def model(self) -> Path:
        """Directory that becomes ``model.tar.gz``."""
        return self.root / "model"

    @property
    def output_data(self) -> Path:
        """Directory that becomes ``output.tar.gz``."""
        return self.root / "output/data"

    def channel(self, name: str) -> Path:
        """Directory of a channel's data."""
        return self.root / "input/data" / name

    def at(self, path: str) -> Path:
        """Where a path of the container's below ``/opt/ml`` is on this machine."""
        return self.root / posixpath.relpath(posixpath.normpath(path), ML)

    @property
    def failure(self) -> str | None:
        """What the container has written of its failure, as much as SageMaker shows."""
        try:
            # A container wrote it: no link is followed, and no pipe waited for.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with open(os.open(self.root / "output/failure", flags), "rb") as file:  # noqa: PTH123
                written = file.read(4 * _FAILURE_CHARACTERS).decode(errors="replace")
        except OSError:
            return None
        return written[:_FAILURE_CHARACTERS].strip() or None


def write(layout: Layout, plan: Plan, hosts: Hosts, number: int, ml: str) -> None:
    """Make the directories and SageMaker's own files.

    Args:
        layout: of the host.
        plan: of the job.
        hosts: of the job.
        number: of this host, from 0.
        ml: what the container itself calls its ``/opt/ml``.
    """
    config = layout.root / "input/config"
    for directory in (config, layout.root / "input/data", layout.model, layout.output_data):
        directory.mkdir(parents=True, exist_ok=True)
    _write(config / "hyperparameters.json", dict(plan.hyperparameters))
    _write(
        config / "inputdataconfig.json",
        {channel.name: channel.describe() for channel in plan.channels},
    )
    _write(config / "resourceconfig.json", _resources(plan, hosts, number))
    if plan.checkpoints:
        local = f"{ml}{posixpath.normpath(plan.checkpoint_path).removeprefix(ML)}"
        described = {"S3Uri": str(plan.checkpoints), "LocalPath": local}
        _write(config / "checkpointconfig.json", described)
        layout.at(plan.checkpoint_path).mkdir(parents=True, exist_ok=True)


def _resources(plan: Plan, hosts: Hosts, number: int) -> dict[str, Any]:
    return {
        "current_host": hosts.names[number],
        "current_instance_type": plan.instance_type,
        "current_group_name": _GROUP,
        "hosts": list(hosts.names),
        "instance_groups": [
            {
                "instance_group_name": _GROUP,
                "instance_type": plan.instance_type,
                "hosts": list(hosts.names),
            }
        ],
        "network_interface_name": hosts.interface,
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))
