"""Names of resources as AWS writes them: ``arn:aws:sagemaker:REGION:ACCOUNT:model/houses``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mme_local.settings import ACCOUNT

MODEL: Final = "model"
ENDPOINT_CONFIG: Final = "endpoint-config"
ENDPOINT: Final = "endpoint"
TRAINING_JOB: Final = "training-job"


@dataclass(frozen=True)
class Arns:
    """Makes and reads the ARNs of one region.

    AWS lowers the letters of most names there; this does not, so that an ARN leads back to its
    resource.
    """

    region: str

    def of(self, kind: str, name: str) -> str:
        """The ARN of a resource."""
        return f"{self._prefix}{kind}/{name}"

    def read(self, arn: str) -> tuple[str, str] | None:
        """The kind and the name in an ARN; None for one of elsewhere."""
        if not arn.startswith(self._prefix):
            return None
        kind, _, name = arn.removeprefix(self._prefix).partition("/")
        return kind, name

    @property
    def _prefix(self) -> str:
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:"
