"""A training job laid out as SageMaker lays it out, run as SageMaker runs it: a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

MME = Path(sys.executable).with_name("mme")

HYPERPARAMETERS = {
    "objective": "reg:squarederror",
    "max_depth": "5",
    "eta": "0.2",
    "gamma": "4",
    "min_child_weight": "6",
    "subsample": "0.8",
    "num_round": "25",
    "seed": "2019",
}


class TrainingJob:
    """The tree of one job; `run` trains, the rest is what it read or left."""

    def __init__(
        self, root: Path, hyperparameters: Mapping[str, Any] | None = None, **channels: str | None
    ) -> None:
        self.root = root
        self.config = root / "input/config"
        self.model = root / "model"
        for directory in (self.config, self.model, root / "output"):
            directory.mkdir(parents=True, exist_ok=True)
        self.write("hyperparameters.json", HYPERPARAMETERS | dict(hyperparameters or {}))
        self.write("resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
        self.set_channels(**(channels or {"train": "text/csv", "validation": "text/csv"}))

    def write(self, name: str, content: Any) -> None:
        """Write one of SageMaker's files."""
        (self.config / name).write_text(json.dumps(content))

    def set_channels(self, **channels: str | None) -> None:
        """Declare channels, by name, with their content types."""
        described: dict[str, Any] = {}
        for name, content_type in channels.items():
            self.channel(name).mkdir(parents=True, exist_ok=True)
            described[name] = {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
                **({"ContentType": content_type} if content_type else {}),
            }
        self.write("inputdataconfig.json", described)

    def channel(self, name: str) -> Path:
        """Directory of a channel."""
        return self.root / "input/data" / name

    def put(self, channel: str, name: str, rows: pd.DataFrame) -> Path:
        """Write rows as CSV, without a header."""
        path = self.channel(channel) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(path, header=False, index=False)
        return path

    @property
    def failure(self) -> str | None:
        """What the job says of its failure."""
        path = self.root / "output/failure"
        return path.read_text() if path.exists() else None

    def command(self) -> list[str]:
        """What is run."""
        return [str(MME), "train", "--root", str(self.root)]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment that it is run in."""
        return {**os.environ, "PYTHONUNBUFFERED": "1", **more}

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Train, to the end."""
        return subprocess.run(
            self.command(),
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> subprocess.Popen[str]:
        """Begin to train."""
        return subprocess.Popen(
            self.command(),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
