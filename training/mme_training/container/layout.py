"""Where a training job finds and leaves its files.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FAILURE_CHARACTERS = 1024
"""As many of the failure file's characters does SageMaker show as FailureReason."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The tree that SageMaker mounts, by default at ``/opt/ml``."""

    root: Path = Path("/opt/ml")

    @property
    def config(self) -> Path:
        """Directory of SageMaker's own JSON files."""
        return self.root / "input/config"

    @property
    def model(self) -> Path:
        """Directory whose content becomes ``model.tar.gz``."""
        return self.root / "model"

    @property
    def output(self) -> Path:
        """Directory of what else is kept."""
        return self.root / "output"

    @property
    def failure(self) -> Path:
        """File that says why a job failed."""
        return self.output / "failure"

    @property
    def code(self) -> Path:
        """Directory that the user's own code runs in."""
        return self.root / "code"

    def channel(self, name: str) -> Path:
        """Directory, or in rare cases the file, of a channel's data."""
        return self.root / "input/data" / name

    def output_data(self, host: str | None) -> Path:
        """Directory whose content becomes ``output.tar.gz``; `host` where there are several."""
        return self.output / "data" / (host or "")
